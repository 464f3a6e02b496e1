package frame

import (
	"encoding/binary"
	"fmt"
	"io"
)

// RawSize is the length of the raw frame of n bytes of content, 1 to MaxContent.
func RawSize(n int) int {
	return rawHeaderSize + rawBlocks(n)*blockHeaderSize + n
}

// RawTotal is the length of all raw frames of size bytes of content.
func RawTotal(size int64) int64 {
	full, rest := size/MaxContent, int(size%MaxContent)
	total := full * MaxSize
	if rest > 0 {
		total += int64(RawSize(rest))
	}
	return total
}

// RawOffset is where byte off of the content lies in a raw frame.
func RawOffset(off int) int {
	return rawHeaderSize + (off/BlockSize+1)*blockHeaderSize + off
}

// RawBlockStart is where block i of a raw frame starts; for block 0 that is the
// start of the frame, as its header goes with the first block.
func RawBlockStart(i int) int {
	if i == 0 {
		return 0
	}
	return rawHeaderSize + i*(blockHeaderSize+BlockSize)
}

func rawBlocks(n int) int { return (n + BlockSize - 1) / BlockSize }

// AppendRaw appends the raw frame of content, 1 to MaxContent bytes.
func AppendRaw(dst, content []byte) []byte {
	n := len(content)
	dst = appendRawHeader(dst, n)
	for i := range rawBlocks(n) {
		dst = appendBlockHeader(dst, n, i)
		dst = append(dst, content[i*BlockSize:min(n, (i+1)*BlockSize)]...)
	}
	return dst
}

// FillRaw appends to dst the raw frame of the next n bytes of r, read straight
// into their place. dst must have room for RawSize(n) more bytes.
func FillRaw(dst []byte, r io.Reader, n int) ([]byte, error) {
	dst = appendRawHeader(dst, n)
	for i := range rawBlocks(n) {
		dst = appendBlockHeader(dst, n, i)
		start := len(dst)
		dst = dst[:start+min(n-i*BlockSize, BlockSize)]
		if _, err := io.ReadFull(r, dst[start:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return dst[:start], err
		}
	}
	return dst, nil
}

// RawBlocks checks that data is blocks first to the end of data of the raw frame of
// n bytes of content, the frame's header included when first is 0, and hands the
// content of each block to yield. data must end where a block does.
func RawBlocks(data []byte, n, first int, yield func([]byte)) error {
	if n < 1 || n > MaxContent {
		return fmt.Errorf("%w: raw content of %d bytes", ErrFrame, n)
	}
	var want [rawHeaderSize]byte
	if first == 0 {
		head := appendRawHeader(want[:0], n)
		if len(data) < len(head) || string(data[:len(head)]) != string(head) {
			return fmt.Errorf("%w: header of a raw frame of %d bytes expected", ErrFrame, n)
		}
		data = data[len(head):]
	}
	for i := first; len(data) > 0; i++ {
		size := min(n-i*BlockSize, BlockSize)
		if size <= 0 || len(data) < blockHeaderSize+size {
			return fmt.Errorf("%w: raw block %d of a frame of %d bytes is cut off", ErrFrame, i, n)
		}
		head := appendBlockHeader(want[:0], n, i)
		if string(data[:blockHeaderSize]) != string(head) {
			return fmt.Errorf("%w: header of raw block %d expected", ErrFrame, i)
		}
		yield(data[blockHeaderSize : blockHeaderSize+size])
		data = data[blockHeaderSize+size:]
	}
	return nil
}

// RawContent checks that data is the raw frame of n bytes and appends its content
// to dst. dst may be data[:0]: the content is then moved together in place.
func RawContent(dst, data []byte, n int) ([]byte, error) {
	if n < 1 || n > MaxContent || len(data) != RawSize(n) {
		return dst, fmt.Errorf("%w: %d bytes for a raw frame of %d", ErrFrame, len(data), n)
	}
	err := RawBlocks(data, n, 0, func(b []byte) { dst = append(dst, b...) })
	return dst, err
}

// appendRawHeader: single segment, content size in four bytes, nothing else.
func appendRawHeader(dst []byte, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = append(dst, 0xA0)
	return binary.LittleEndian.AppendUint32(dst, uint32(n))
}

// appendBlockHeader appends the header of block i of the raw frame of n bytes.
func appendBlockHeader(dst []byte, n, i int) []byte {
	size := min(n-i*BlockSize, BlockSize)
	head := uint32(size) << 3
	if (i+1)*BlockSize >= n {
		head |= 1
	}
	return append(dst, byte(head), byte(head>>8), byte(head>>16))
}
