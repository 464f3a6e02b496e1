package deb

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on what is read of a control file, in bytes.
const (
	maxLine  = 1 << 20
	maxField = 32 << 20 // the checksums of a Release file are one field
)

// ErrControl is wrapped by every error about the form of a control file.
var ErrControl = errors.New("malformed control file")

// Paragraph is a block of fields: their values by lower-case name. Lines of one value
// are joined by "\n", the space that continues a line taken off.
type Paragraph map[string]string

// Reader reads the paragraphs of a control file, see deb822(5).
type Reader struct {
	lines *bufio.Reader
	keep  map[string]bool
	line  int
}

// NewReader reads from r; of the fields only those named are kept, or all when none
// is.
func NewReader(r io.Reader, fields ...string) *Reader {
	out := &Reader{lines: bufio.NewReaderSize(r, 64<<10)}
	if len(fields) > 0 {
		out.keep = map[string]bool{}
	}
	for _, f := range fields {
		out.keep[strings.ToLower(f)] = true
	}
	return out
}

// Next is the next paragraph, or io.EOF. Its fields must be well formed even where
// they are not kept; one that comes twice is an error.
func (r *Reader) Next() (Paragraph, error) {
	b := builder{reader: r, p: Paragraph{}, seen: map[string]bool{}}
	for {
		line, err := r.readLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		atEnd := err != nil
		if blank := len(bytes.TrimRight(line, " \t\r")) == 0; !blank {
			if err := b.add(line); err != nil {
				return nil, err
			}
		} else if len(b.seen) > 0 {
			atEnd = true
		}
		if atEnd {
			b.flush()
			if len(b.seen) == 0 {
				return nil, io.EOF
			}
			return b.p, nil
		}
	}
}

// builder makes a paragraph out of its lines.
type builder struct {
	reader *Reader
	p      Paragraph
	seen   map[string]bool
	// name is the field under way, value what there is of it.
	name  string
	value strings.Builder
}

func (b *builder) kept() bool { return b.reader.keep == nil || b.reader.keep[b.name] }

// flush ends the field under way.
func (b *builder) flush() {
	if b.name != "" && b.kept() {
		b.p[b.name] = b.value.String()
	}
	b.value.Reset()
}

// add takes a line that is not blank.
func (b *builder) add(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		if b.name == "" {
			return b.reader.errorf("a line is continued before the first field")
		}
		if b.value.Len()+len(line) > maxField {
			return b.reader.errorf("field %q is longer than %d bytes", b.name, maxField)
		}
		if b.kept() {
			b.value.WriteByte('\n')
			b.value.Write(bytes.TrimRight(line[1:], " \t\r"))
		}
		return nil
	}
	b.flush()
	name, text, err := b.reader.field(line)
	if err != nil {
		return err
	}
	if b.seen[name] {
		return b.reader.errorf("field %q comes twice", name)
	}
	b.name, b.seen[name] = name, true
	if b.kept() {
		b.value.WriteString(text)
	}
	return nil
}

// field splits the first line of a field.
func (r *Reader) field(line []byte) (name, value string, err error) {
	head, rest, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(head) == 0 || head[0] == '#' || head[0] == '-' {
		return "", "", r.errorf("want a field, NAME: VALUE")
	}
	for _, c := range head {
		if c <= ' ' || c >= 0x7f {
			return "", "", r.errorf("a field's name has a byte %#x", c)
		}
	}
	return strings.ToLower(string(head)), string(bytes.TrimSpace(rest)), nil
}

// readLine is a line without its end, valid until the next call. io.EOF comes with the
// last one, which may be empty.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	line, err := r.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > maxLine {
				return nil, r.errorf("a line is longer than %d bytes", maxLine)
			}
			line, err = r.lines.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, r.errorf("a line has a byte 0")
	}
	return bytes.TrimSuffix(line, []byte{'\n'}), err
}

func (r *Reader) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %w: %s", r.line, ErrControl, fmt.Sprintf(format, args...))
}
