package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Block types of RFC 8878, 3.1.1.2.2.
const (
	blockRaw = iota
	blockRLE
	blockCompressed
)

// nextFunc returns the next n bytes of a frame; they must stay readable until the
// following call.
type nextFunc func(n int) ([]byte, error)

// Check reports whether data is exactly one frame of format v1 that states n bytes
// of content. The blocks are walked, not decoded.
func Check(data []byte, n int) error {
	rest := data
	got, err := walk(func(n int) ([]byte, error) {
		if len(rest) < n {
			return nil, io.ErrUnexpectedEOF
		}
		b := rest[:n]
		rest = rest[n:]
		return b, nil
	})
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return fmt.Errorf("%w: %d bytes behind the frame", ErrFrame, len(rest))
	case got != n:
		return fmt.Errorf("%w: it states %d bytes of content, want %d", ErrFrame, got, n)
	case len(data) > RawSize(n):
		return fmt.Errorf("%w: %d bytes for %d of content", ErrFrame, len(data), n)
	}
	return nil
}

// Read appends the next frame of r to dst, whose capacity is what bounds it, and
// returns it with the number of bytes of content it states. The blocks are walked,
// not decoded. At the end of r before the first byte the error is io.EOF.
func Read(dst []byte, r io.Reader) (data []byte, n int, err error) {
	start := len(dst)
	n, err = walk(func(n int) ([]byte, error) {
		at := len(dst)
		if cap(dst)-at < n {
			return nil, fmt.Errorf("%w: longer than its content", ErrFrame)
		}
		dst = dst[:at+n]
		if _, err := io.ReadFull(r, dst[at:]); err != nil {
			if err == io.EOF && at > start {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		return dst[at:], nil
	})
	if err != nil {
		return dst[:start], 0, err
	}
	if size := len(dst) - start; size > RawSize(n) {
		return dst[:start], 0, fmt.Errorf("%w: %d bytes for %d of content", ErrFrame, size, n)
	}
	return dst, n, nil
}

// walk goes over one frame and returns the size of content it states.
func walk(next nextFunc) (int, error) {
	n, err := walkHeader(next)
	if err != nil {
		return 0, err
	}
	stored := 0
	for blocks := 0; ; blocks++ {
		b, err := next(blockHeaderSize)
		if err != nil {
			return 0, err
		}
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size, last := int(head>>3), head&1 == 1
		// A block of up to BlockSize each; small ones are legal, a frame of empty
		// ones is a waste of time that no encoder makes.
		if size > BlockSize || blocks > n {
			return 0, fmt.Errorf("%w: block %d of %d bytes", ErrFrame, blocks, size)
		}
		switch head >> 1 & 3 {
		case blockRaw:
			stored += size
		case blockRLE:
			stored += size
			size = 1
		case blockCompressed:
		default:
			return 0, fmt.Errorf("%w: reserved block type", ErrFrame)
		}
		if stored > n {
			return 0, fmt.Errorf("%w: more content than the %d bytes stated", ErrFrame, n)
		}
		if _, err := next(size); err != nil {
			return 0, noEOF(err)
		}
		if last {
			return n, nil
		}
	}
}

// walkHeader reads the frame header: content size stated, single segment, neither
// dictionary nor checksum.
func walkHeader(next nextFunc) (int, error) {
	b, err := next(5)
	if err != nil {
		return 0, err
	}
	if binary.LittleEndian.Uint32(b) != magic {
		return 0, fmt.Errorf("%w: magic number %x", ErrFrame, b[:4])
	}
	const single, flags = 0x20, 0x3F
	fcs := b[4] >> 6
	if b[4]&flags != single || fcs == 3 {
		return 0, fmt.Errorf("%w: descriptor %#02x", ErrFrame, b[4])
	}
	b, err = next(1 << fcs)
	if err != nil {
		return 0, noEOF(err)
	}
	var n uint32
	switch fcs {
	case 0:
		n = uint32(b[0])
	case 1:
		n = uint32(binary.LittleEndian.Uint16(b)) + 256
	default:
		n = binary.LittleEndian.Uint32(b)
	}
	if n < 1 || n > MaxContent {
		return 0, fmt.Errorf("%w: %d bytes of content", ErrFrame, n)
	}
	return int(n), nil
}

// noEOF makes an end of file within a frame an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
