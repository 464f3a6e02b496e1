package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive/frame"
)

// pieceSize is the room of a piece: the longest frame with the header before it.
const pieceSize = frame.MaxSize + 4<<10

// readAhead is the buffer before a stored form that is read block by block.
const readAhead = 256 << 10

// piece is a run of whole frames on their way into a volume. It lies in mem as far
// from its start as in the file from a multiple of directAlign.
type piece struct {
	mem    []byte // aligned
	buf    []byte
	frames []packedFrame // those of blobs that are still to be hashed
}

func newPiece() *piece { return &piece{mem: alignedBytes(directAlign + pieceSize)} }

// reset empties the piece, which is to lie at offset at in the file.
func (p *piece) reset(at int64) {
	skip := int(at % directAlign)
	p.buf, p.frames = p.mem[skip:skip], p.frames[:0]
}

// packedFrame is a frame of a blob within a piece.
type packedFrame struct {
	start, end int // in the piece
	content    int
	check      *blobCheck // of a blob that is whole in its volume
	sum        hash.Hash  // of the frames of a part, for a cutBlob
}

// packer produces the frames of a volume in order.
type packer struct {
	*volumeWriter
	free <-chan *piece
	out  chan<- *piece
	cur  *piece
	at   int64 // in the file, of the next piece
	info []frame.Info
}

func (p *packer) run(ctx context.Context) error {
	pad := 0
	for _, it := range p.layout.items {
		if err := p.item(ctx, it, pad); err != nil {
			return err
		}
		pad = padding(it.size)
	}
	if err := p.raw(ctx, make([]byte, pad+tarEnd)); err != nil {
		return err
	}
	return p.table(ctx)
}

// item produces the frames of one entry, pad bytes of padding before its header.
func (p *packer) item(ctx context.Context, it *item, pad int) error {
	head, err := tarHeader(it.name, it.size)
	if err != nil {
		return err
	}
	if err := p.raw(ctx, append(make([]byte, pad, pad+len(head)), head...)); err != nil {
		return err
	}
	switch {
	case it.part != nil:
		if err := p.part(ctx, it.part); err != nil {
			return fmt.Errorf("packing blob %s: %w", it.part.Digest, err)
		}
		return nil
	case it.encoded != nil:
		for i, f := range it.encoded {
			if err := p.room(ctx, len(f)); err != nil {
				return err
			}
			p.cur.buf = append(p.cur.buf, f...)
			p.framed(len(f), frame.ContentSize(it.size, int64(i)), packedFrame{})
		}
		return nil
	}
	for rest := it.data; len(rest) > 0; {
		n := min(len(rest), frame.MaxContent)
		if err := p.raw(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// raw produces the raw frame of content.
func (p *packer) raw(ctx context.Context, content []byte) error {
	if err := p.room(ctx, frame.RawSize(len(content))); err != nil {
		return err
	}
	p.cur.buf = frame.AppendRaw(p.cur.buf, content)
	p.framed(frame.RawSize(len(content)), len(content), packedFrame{})
	return nil
}

// part produces the frames of a blob's part from its stored form.
func (p *packer) part(ctx context.Context, b *part) (err error) {
	if b.count == 0 {
		return nil
	}
	r, err := p.src.OpenStored(ctx, b.Blob)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	skip := b.start
	if b.Encoding == EncodingRaw {
		skip = b.first * frame.MaxContent
	}
	if err := skipTo(r, skip); err != nil {
		return err
	}
	check := packedFrame{}
	if c, cut := p.cuts[b.Digest]; cut {
		check.sum = c.packed[b.number-1]
	} else if *b.whole == 1 && !p.opts.Verified(b.Digest) {
		check.check = newBlobCheck(b.Blob)
	}
	if b.Encoding == EncodingZstd {
		r := bufio.NewReaderSize(r, readAhead)
		return p.frames(ctx, b, check, func(dst []byte, n int) ([]byte, error) { return nextStored(dst, r, n) })
	}
	return p.frames(ctx, b, check, func(dst []byte, n int) ([]byte, error) { return frame.FillRaw(dst, r, n) })
}

// frames produces the frames of a part, each appended to the piece by next.
func (p *packer) frames(ctx context.Context, b *part, check packedFrame, next func(dst []byte, n int) ([]byte, error)) error {
	var encoded int64
	for i := b.first; i < b.first+b.count; i++ {
		n := frame.ContentSize(b.Size, i)
		if err := p.room(ctx, frame.RawSize(n)); err != nil {
			return err
		}
		start := len(p.cur.buf)
		buf, err := next(p.cur.buf, n)
		if err != nil {
			return fmt.Errorf("reading its stored form: %w", noEOF(err))
		}
		p.cur.buf = buf
		p.framed(len(buf)-start, n, check)
		encoded += int64(len(buf) - start)
	}
	if encoded != b.encoded {
		return fmt.Errorf("reading its stored form: frames of %d bytes in place of %d", encoded, b.encoded)
	}
	return nil
}

// nextStored appends the next frame of a stored form, of n bytes of content.
func nextStored(dst []byte, r io.Reader, n int) ([]byte, error) {
	out, got, err := frame.Read(dst, r)
	if err == nil && got != n {
		err = fmt.Errorf("%w: %d bytes of content in place of %d", frame.ErrFrame, got, n)
	}
	return out, err
}

// framed notes the frame of size bytes at the end of the piece, and what f says is to
// be hashed of it.
func (p *packer) framed(size, content int, f packedFrame) {
	p.info = append(p.info, frame.Info{Size: uint32(size), Content: uint32(content)})
	if f.check != nil || f.sum != nil {
		f.start, f.end, f.content = len(p.cur.buf)-size, len(p.cur.buf), content
		p.cur.frames = append(p.cur.frames, f)
	}
}

// table produces the seek table and hands out the last piece.
func (p *packer) table(ctx context.Context) error {
	table := frame.AppendTable(nil, p.info)
	for len(table) > 0 {
		n := min(len(table), frame.MaxContent)
		if err := p.room(ctx, n); err != nil {
			return err
		}
		p.cur.buf = append(p.cur.buf, table[:n]...)
		table = table[n:]
	}
	return p.flush(ctx)
}

// room makes sure that the piece takes n more bytes.
func (p *packer) room(ctx context.Context, n int) error {
	if p.cur != nil {
		if cap(p.cur.buf)-len(p.cur.buf) >= n {
			return nil
		}
		if err := p.flush(ctx); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case p.cur = <-p.free:
		p.cur.reset(p.at)
		return nil
	}
}

// flush hands the piece on.
func (p *packer) flush(ctx context.Context) error {
	p.at += int64(len(p.cur.buf))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case p.out <- p.cur:
		p.cur = nil
		return nil
	}
}

// blobCheck hashes the content of a blob.
type blobCheck struct {
	blob Blob
	hash hash.Hash
	left int64
}

func newBlobCheck(b Blob) *blobCheck {
	return &blobCheck{blob: b, hash: sha256.New(), left: b.Size}
}

// write hashes content and, behind the last of it, compares.
func (c *blobCheck) write(content []byte) error {
	if _, err := c.hash.Write(content); err != nil {
		return err
	}
	if c.left -= int64(len(content)); c.left > 0 {
		return nil
	}
	if got := digest.NewDigest(digest.SHA256, c.hash); got != c.blob.Digest {
		return &DamagedError{Entry: blobName(c.blob.Digest), Want: c.blob.Digest, Got: got, Err: ErrDigest}
	}
	return nil
}

// checker is the stage that hashes the blobs which nobody has hashed yet.
type checker struct {
	dec *frame.Decoder
	buf []byte
}

func (c *checker) piece(p *piece) error {
	for _, f := range p.frames {
		data := p.buf[f.start:f.end]
		if f.sum != nil {
			if _, err := f.sum.Write(data); err != nil {
				return err
			}
			continue
		}
		if err := c.frame(data, f.content, f.check); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) frame(data []byte, content int, check *blobCheck) error {
	var err error
	if check.blob.Encoding == EncodingRaw {
		bad := frame.RawBlocks(data, content, 0, func(b []byte) { err = errors.Join(err, check.write(b)) })
		return errors.Join(bad, err)
	}
	if c.buf == nil {
		c.buf = make([]byte, 0, frame.MaxContent)
	}
	out, err := c.dec.Decode(c.buf, data, content)
	if err != nil {
		return &DamagedError{Entry: blobName(check.blob.Digest), Err: err}
	}
	return check.write(out)
}

// skipTo moves r from its start to offset n.
func skipTo(r io.Reader, n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return noEOF(err)
}
