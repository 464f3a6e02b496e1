package archive

import (
	"bufio"
	"fmt"
	"io"

	"naru/pkg/archive/frame"
)

// entryReader reads the entries at the start of a volume one after the other,
// without the seek table. It trusts nothing: no more is allocated than frames that
// were really there decode to.
type entryReader struct {
	r   *bufio.Reader
	dec *frame.Decoder
	buf []byte // of one frame
	pad int    // before the next header
}

func newEntryReader(r io.Reader, dec *frame.Decoder) *entryReader {
	return &entryReader{r: bufio.NewReaderSize(r, 8<<10), dec: dec}
}

// header reads the header of the next entry.
func (e *entryReader) header() (name string, size int64, err error) {
	raw, n, err := frame.Read(make([]byte, 0, frame.RawSize(tarBlock-1+maxTarHeader)), e.r)
	if err != nil {
		return "", 0, noEOF(err)
	}
	content, err := frame.RawContent(raw[:0], raw, n)
	if err != nil {
		return "", 0, err
	}
	if content, err = cutPadding(content, e.pad); err != nil {
		return "", 0, err
	}
	return parseTarHeader(content)
}

// read reads the next entry, which must have this name, at most limit bytes and,
// but for contents.json, raw frames.
func (e *entryReader) read(want string, limit int64) ([]byte, error) {
	name, size, err := e.header()
	if err != nil {
		return nil, err
	}
	if name != want {
		return nil, fmt.Errorf("%w: entry %q in place of %q", ErrOrder, name, want)
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrTooLarge)
	}
	var data []byte
	for i := range frame.Count(size) {
		n := frame.ContentSize(size, i)
		e.buf = grow(e.buf[:0], frame.RawSize(n))
		raw, got, err := frame.Read(e.buf, e.r)
		if err != nil {
			return nil, noEOF(err)
		}
		if got != n {
			return nil, fmt.Errorf("%w: %d bytes of content in place of %d", frame.ErrFrame, got, n)
		}
		if data = grow(data, n); want == ContentsName {
			data, err = e.dec.Decode(data, raw, n)
		} else {
			data, err = frame.RawContent(data, raw, n)
		}
		if err != nil {
			return nil, err
		}
	}
	e.pad = padding(size)
	return data, nil
}

// grow returns b with room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, max(len(b)+n, min(2*cap(b), len(b)+4*n))), b...)
}
