package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"
)

// OpenBlob opens a blob; the error wraps fs.ErrNotExist where the bundle has none
// of that digest. What it returns is an io.WriterTo too, has the methods Size() int64
// and Verify(context.Context) error, is for one goroutine, and obeys ctx until it is
// closed.
//
// Nothing that is read is content of another digest: a read from start to end is
// hashed, fails before the last bytes are handed out, and makes the blob a verified
// one when they are; a read elsewhere, of a blob that is not verified, hashes all of
// it first. That a blob is verified spares the latter only.
// An open raw blob takes half a MiB of memory, a zstd one up to 4 MiB.
func (r *Reader) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	loc, err := r.locateBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	return &blobReader{ctx: ctx, r: r, loc: loc}, nil
}

// locateBlob finds a blob and checks the headers before its parts, as a table of
// contents may lie about them.
func (r *Reader) locateBlob(ctx context.Context, d digest.Digest) (*location, error) {
	loc, ok := r.layout.Load().blobs[d]
	if !ok {
		return nil, fmt.Errorf("opening blob %s: %w", d, fs.ErrNotExist)
	}
	if loc.checkHeaders() == nil {
		return loc, nil
	}
	if err := r.scan(ctx); err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", d, err)
	}
	loc = r.layout.Load().blobs[d]
	if err := loc.checkHeaders(); err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", d, err)
	}
	return loc, nil
}

func (l *location) checkHeaders() error {
	for _, p := range l.parts {
		if err := p.vol.checkHeader(p.entry); err != nil {
			return p.vol.damaged(p.entry.name, err)
		}
	}
	return nil
}

// volumePaths names the volumes that hold a blob, for errors.
func (l *location) volumePaths() string {
	paths := make([]string, len(l.parts))
	for i, p := range l.parts {
		paths[i] = p.vol.path
	}
	return strings.Join(paths, ", ")
}

// memory is the buffers that reading a blob takes, from the reader's pools.
type memory struct {
	r       *Reader
	in, out *[]byte // out for zstd blobs only
}

func (r *Reader) memory(l *location) *memory {
	if l.blob.Encoding == EncodingRaw {
		return &memory{r: r, in: r.small.Get().(*[]byte)}
	}
	return &memory{r: r, in: r.large.Get().(*[]byte), out: r.large.Get().(*[]byte)}
}

func (m *memory) decoded() []byte {
	if m.out == nil {
		return nil
	}
	return *m.out
}

func (m *memory) free() {
	if m.out == nil {
		m.r.small.Put(m.in)
		return
	}
	m.freeIn()
	m.r.large.Put(m.out)
}

// freeIn gives back what only decoding needs.
func (m *memory) freeIn() {
	if m.in != nil {
		m.r.large.Put(m.in)
		m.in = nil
	}
}

// blobReader reads a blob.
type blobReader struct {
	// ctx is kept because an io.Reader cannot take one: it is that of OpenBlob,
	// whose work the reads are.
	ctx context.Context
	r   *Reader
	loc *location
	mem *memory

	pos    int64
	hash   hash.Hash // of the bytes before hashed
	hashed int64
	unit   []byte // content of the unit in memory
	start  int64  // of it in the blob
	free   bool   // whether it may be handed out in any order
	err    error  // that ended it for good
}

// Size is the size of the blob in bytes.
func (b *blobReader) Size() int64 { return b.loc.blob.Size }

// Verify hashes all of the blob unless it is verified, so that ranges of it cost no
// more than reading them from then on. Callers that want the same blob at a time
// share one run, which goes on when ctx ends or b is closed: asking again finds it
// further on, or done. Only closing the Reader ends it.
func (b *blobReader) Verify(ctx context.Context) error {
	if err := b.r.verifyBlob(ctx, b.loc); err != nil {
		return fmt.Errorf("verifying blob %s: %w", b.loc.blob.Digest, err)
	}
	return nil
}

func (b *blobReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, b.err
	}
	unit, err := b.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, unit)
	b.pos += int64(n)
	return n, nil
}

// WriteTo implements io.WriterTo.
func (b *blobReader) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		unit, err := b.next()
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(unit)
		written += int64(n)
		b.pos += int64(n)
		if err == nil && n < len(unit) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
}

// Seek implements io.Seeker. It reads nothing.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += b.loc.blob.Size
	default:
		return 0, fmt.Errorf("seeking in blob: whence %d: %w", whence, fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, fmt.Errorf("seeking in blob: offset %d: %w", offset, fs.ErrInvalid)
	}
	if offset != b.pos && !b.free {
		b.unit = nil // read before the blob was verified: to be handed out in order only
	}
	b.pos = offset
	return offset, nil
}

// Close gives the memory back. Closing again does nothing.
func (b *blobReader) Close() error {
	b.release()
	b.err = errClosed
	return nil
}

func (b *blobReader) release() {
	if b.mem != nil {
		b.mem.free()
		b.mem, b.unit = nil, nil
	}
}

// next returns the rest of the unit that pos lies in.
func (b *blobReader) next() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	if b.pos >= b.loc.blob.Size {
		b.release()
		return nil, io.EOF
	}
	if b.pos < b.start || b.pos >= b.start+int64(len(b.unit)) {
		if err := b.load(); err != nil {
			return nil, err
		}
	}
	return b.unit[b.pos-b.start:], nil
}

// load reads the unit that pos lies in, and makes sure that it may be handed out. A
// read that goes on from the start is hashed whatever is known of the blob.
func (b *blobReader) load() error {
	b.unit = nil
	u, err := b.loc.unitAt(b.pos)
	if err != nil {
		return b.fail(err)
	}
	if b.hash == nil || b.pos == 0 {
		b.hash, b.hashed = sha256.New(), 0
	}
	sequential := b.pos == b.hashed
	if !sequential {
		if !b.r.Verified(b.loc.blob.Digest) {
			b.release()
		}
		if err := b.r.verifyBlob(b.ctx, b.loc); err != nil {
			return b.fail(err)
		}
	}
	b.free = b.r.Verified(b.loc.blob.Digest) // before the bytes are read
	content, err := b.read(&u)
	if err != nil {
		return b.fail(err)
	}
	if sequential {
		if err := b.hashNext(content); err != nil {
			return b.fail(err)
		}
	}
	b.unit, b.start = content, u.start
	return nil
}

// hashNext hashes the next unit of a read from the start and, with the last, compares.
func (b *blobReader) hashNext(content []byte) error {
	if _, err := b.hash.Write(content); err != nil {
		return err
	}
	b.hashed += int64(len(content))
	if b.hashed < b.loc.blob.Size {
		return nil
	}
	return b.r.compare(b.loc, b.hash)
}

// read loads a unit into the reader's memory.
func (b *blobReader) read(u *unit) ([]byte, error) {
	if u.raw {
		if b.mem == nil {
			b.mem = b.r.memory(b.loc)
		}
		return u.load(b.r.dec, *b.mem.in, nil)
	}
	if b.mem == nil {
		b.mem = &memory{r: b.r, out: b.r.large.Get().(*[]byte)}
	}
	b.mem.in = b.r.large.Get().(*[]byte)
	defer b.mem.freeIn()
	return u.load(b.r.dec, *b.mem.in, *b.mem.out)
}

// fail ends the reader, unless it was only interrupted.
func (b *blobReader) fail(err error) error {
	if b.ctx.Err() == nil {
		b.err = fmt.Errorf("reading blob %s: %w", b.loc.blob.Digest, err)
		return b.err
	}
	return err
}
