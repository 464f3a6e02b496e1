package frame

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	// MaxFrames is the most frames that a volume has.
	MaxFrames = 1 << 20

	tableHeaderSize = 8
	tableEntrySize  = 8
	tableFooterSize = 9
	skippableMagic  = 0x184D2A5E
	seekableMagic   = 0x8F92EAB1
	// minSize is the length of the shortest frame: a header of six bytes and a
	// block of one.
	minSize = 10
)

// Info is the length of a frame and of its content, in bytes.
type Info struct{ Size, Content uint32 }

// TableSize is the length of the seek table of n frames with the skippable frame
// around it.
func TableSize(n int64) int64 {
	return tableHeaderSize + n*tableEntrySize + tableFooterSize
}

// AppendTable appends the seek table of frames, without checksums.
func AppendTable(dst []byte, frames []Info) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, skippableMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(frames)*tableEntrySize+tableFooterSize))
	for _, f := range frames {
		dst = binary.LittleEndian.AppendUint32(dst, f.Size)
		dst = binary.LittleEndian.AppendUint32(dst, f.Content)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(frames)))
	dst = append(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, seekableMagic)
}

// Table is a parsed seek table.
type Table struct {
	starts  []int64 // where each frame starts, and where the last ends
	content []uint32
}

// Len is the number of frames.
func (t *Table) Len() int { return len(t.content) }

// Frame says where frame i starts in the file, how long it is and how much content
// it states, in bytes.
func (t *Table) Frame(i int) (start int64, size, content int) {
	return t.starts[i], int(t.starts[i+1] - t.starts[i]), int(t.content[i])
}

// End is where the last frame ends and the table starts.
func (t *Table) End() int64 { return t.starts[len(t.content)] }

// ReadTable reads the seek table at the end of r, a file of size bytes, and refuses
// one that does not cover the file to the byte with frames of format v1, or that
// has more than limit frames.
func ReadTable(r io.ReaderAt, size int64, limit int) (*Table, error) {
	if size < tableHeaderSize+tableFooterSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTable, size)
	}
	var foot [tableFooterSize]byte
	if err := readAt(r, foot[:], size-tableFooterSize); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(foot[5:]) != seekableMagic || foot[4] != 0 {
		return nil, fmt.Errorf("%w: the file does not end with one", ErrTable)
	}
	n := int64(binary.LittleEndian.Uint32(foot[:]))
	if n > int64(min(limit, MaxFrames)) || TableSize(n)+n*minSize > size {
		return nil, fmt.Errorf("%w: %d frames in a file of %d bytes", ErrTable, n, size)
	}
	raw := make([]byte, TableSize(n))
	if err := readAt(r, raw, size-int64(len(raw))); err != nil {
		return nil, err
	}
	return parseTable(raw, size-int64(len(raw)))
}

// parseTable parses a table, its skippable frame included, that stands behind
// frames of end bytes together.
func parseTable(raw []byte, end int64) (*Table, error) {
	if len(raw) < tableHeaderSize+tableFooterSize || len(raw) > math.MaxInt32 {
		return nil, fmt.Errorf("%w: %d bytes", ErrTable, len(raw))
	}
	body := raw[tableHeaderSize : len(raw)-tableFooterSize]
	foot := raw[len(raw)-tableFooterSize:]
	n := len(body) / tableEntrySize
	if binary.LittleEndian.Uint32(raw) != skippableMagic ||
		binary.LittleEndian.Uint32(raw[4:]) != uint32(len(raw)-tableHeaderSize) ||
		len(body)%tableEntrySize != 0 || binary.LittleEndian.Uint32(foot) != uint32(n) ||
		foot[4] != 0 || binary.LittleEndian.Uint32(foot[5:]) != seekableMagic {
		return nil, fmt.Errorf("%w: header or footer", ErrTable)
	}
	t := &Table{starts: make([]int64, n+1), content: make([]uint32, n)}
	for i := range n {
		size := binary.LittleEndian.Uint32(body[i*tableEntrySize:])
		content := binary.LittleEndian.Uint32(body[i*tableEntrySize+4:])
		if content < 1 || content > MaxContent || size < minSize || int(size) > RawSize(int(content)) {
			return nil, fmt.Errorf("%w: frame %d of %d bytes with %d of content", ErrTable, i, size, content)
		}
		t.starts[i+1] = t.starts[i] + int64(size)
		t.content[i] = content
	}
	if t.starts[n] != end {
		return nil, fmt.Errorf("%w: frames of %d bytes in place of %d", ErrTable, t.starts[n], end)
	}
	return t, nil
}

func readAt(r io.ReaderAt, b []byte, off int64) error {
	if n, err := r.ReadAt(b, off); n < len(b) {
		return fmt.Errorf("reading the seek table: %w", noEOF(err))
	}
	return nil
}
