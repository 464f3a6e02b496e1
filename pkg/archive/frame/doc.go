// Package frame knows the bytes a volume is made of: the two kinds of zstd frame
// of format v1 and the seek table behind them.
//
// Everything here parses hostile input: nothing is allocated by a length field
// that was not checked against a bound first, and every exported parser is a
// fuzz target. The formats are RFC 8878 (frames) and the Zstandard seekable
// format (the table in a trailing skippable frame).
//
// A frame of format v1 holds 1 to MaxContent bytes of content, states that number
// in its header, is a single segment, has no dictionary and no checksum, and is
// never longer than the raw frame of the same content. A raw frame is the one
// that stores its content: a header of nine bytes and blocks of BlockSize, so that
// where a byte of content lies is arithmetic.
package frame

import "errors"

const (
	// MaxContent is the most content, in bytes, that a frame holds. Every frame of
	// an entry but its last holds exactly that much.
	MaxContent = 4 << 20
	// BlockSize is the content, in bytes, of every block of a raw frame but the last.
	BlockSize = 128 << 10
	// MaxSize is the length of the longest frame.
	MaxSize = rawHeaderSize + MaxContent/BlockSize*blockHeaderSize + MaxContent

	rawHeaderSize   = 9
	blockHeaderSize = 3
	magic           = 0xFD2FB528
)

// Errors of this package; each wraps more detail.
var (
	// ErrFrame says that bytes are not a frame of format v1.
	ErrFrame = errors.New("not a frame of format v1")
	// ErrTable says that a file does not end with a seek table that describes it.
	ErrTable = errors.New("no valid seek table")
)

// Count is the number of frames that size bytes of content take: none for none, and
// for a size below 0. It is right for every int64.
func Count(size int64) int64 {
	if size <= 0 {
		return 0
	}
	return (size-1)/MaxContent + 1
}

// ContentSize is the content, in bytes, of frame i of size bytes of content.
func ContentSize(size int64, i int64) int {
	return int(min(size-i*MaxContent, MaxContent))
}
