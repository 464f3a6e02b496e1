package rpm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxOpen bounds unpacked metadata, in bytes. The filelists of a whole distribution
// stay under 1 GiB.
const maxOpen = 4 << 30

// Decompress unpacks metadata as its first bytes tell: gzip, xz, zstd, or not
// packed. More than 4 GiB, or than limit bytes where that is positive, is an error.
func Decompress(r io.Reader, limit int64) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && len(head) == 0 {
		return nil, fmt.Errorf("unpacking metadata: %w", err)
	}
	if limit <= 0 || limit > maxOpen {
		limit = maxOpen
	}
	var open io.Reader
	closer := func() {}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		open, err = gzip.NewReader(br)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		open, err = xz.NewReader(br)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		z, err = zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err == nil {
			open, closer = z, z.Close
		}
	case bytes.HasPrefix(head, []byte("BZh")):
		return nil, fmt.Errorf("unpacking metadata: bzip2 is not read")
	default:
		open, err = br, nil
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking metadata: %w", err)
	}
	return &limited{r: open, left: limit, limit: limit, close: closer}, nil
}

// limited fails when more than limit bytes come.
type limited struct {
	r           io.Reader
	left, limit int64
	close       func()
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return 0, fmt.Errorf("unpacking metadata: more than %d bytes", l.limit)
	}
	return n, err
}

func (l *limited) Close() error {
	l.close()
	return nil
}
