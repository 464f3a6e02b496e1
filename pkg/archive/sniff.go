package archive

import "bytes"

// SniffSize is how many bytes from the start of a blob Sniff looks at.
const SniffSize = 32

// Sniff reports whether content that starts with head is compressed already, so
// that compressing it again would cost time and save nothing: gzip, zstd, xz,
// bzip2, lz4, zip, 7z, Debian and RPM packages.
func Sniff(head []byte) bool {
	for _, magic := range []string{
		"\x1f\x8b\x08",           // gzip
		"\x28\xb5\x2f\xfd",       // zstd
		"\xfd7zXZ\x00",           // xz
		"\x04\x22\x4d\x18",       // lz4
		"PK\x03\x04",             // zip
		"7z\xbc\xaf\x27\x1c",     // 7z
		"!<arch>\ndebian-binary", // deb
		"\xed\xab\xee\xdb",       // rpm
		"\x89LZO\x00\r\n\x1a\n",  // lzop
		"\xff\x06\x00\x00sNaPpY", // snappy
		"\x89PNG\r\n\x1a\n",      // png
		"\xff\xd8\xff",           // jpeg
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	const bzip2Block = "1AY&SY"
	return bytes.HasPrefix(head, []byte("BZh")) && len(head) >= 4+len(bzip2Block) &&
		string(head[4:4+len(bzip2Block)]) == bzip2Block
}
