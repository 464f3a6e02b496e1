package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// surplus bounds, in bytes, how much is read of content beyond its expected size
// for the sake of naming its digest.
const surplus = 64 << 20

// writebackStep, in bytes, is how much of a blob comes before the disk is asked to begin
// with it: it then works while the rest comes, and the sync at the end is short.
const writebackStep = 8 << 20

// partial is content that is being put together.
type partial struct {
	s     *Store
	want  Expected
	fetch Fetch
	meter *meter
	f     *os.File
	hash  hash.Hash // of the first size bytes
	size  int64     // of what came; of that, no more than want.Size is in f
	sent  int64     // of what is in f, what the disk was asked to begin with
	// stitched says that what is there came by more than one fetch.
	stitched bool
	// cut says that the content is longer than size, which is more than wanted.
	cut bool
}

// download fetches content into the partial blob name, which nobody else touches,
// or into a temporary file if that is empty, and makes a blob of it.
func (s *Store) download(ctx context.Context, want Expected, name string, fetch Fetch, m *meter) (digest.Digest, int64, error) {
	p := &partial{s: s, want: want, fetch: fetch, meter: m, hash: sha256.New()}
	if err := p.open(ctx, name); err != nil {
		return "", 0, err
	}
	if err := p.complete(ctx); err != nil {
		if closeErr := p.abandon(err); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
		return "", 0, err
	}
	d := p.digest()
	if err := s.publish(p.f, s.blobPath(d)); err != nil {
		return "", 0, err
	}
	s.setFresh(d, true)
	return d, p.size, p.removeSum()
}

// complete fetches until the content is whole and what was expected.
func (p *partial) complete(ctx context.Context) error {
	for again := true; ; again = false {
		if err := p.fill(ctx); err != nil {
			return err
		}
		err := p.check()
		if err == nil || !p.stitched || !again {
			return err
		}
		// What was there before may have been the beginning of something else.
		if err := p.reset(); err != nil {
			return err
		}
	}
}

// fill fetches until the content is whole.
func (p *partial) fill(ctx context.Context) error {
	st := stall{left: p.s.opts.Stalls, wait: p.s.opts.StallWait, high: p.size}
	for p.want.Size < 0 || p.size < p.want.Size {
		err := p.pull(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && p.want.Size < 0, p.want.Size >= 0 && p.size >= p.want.Size:
			return nil
		case err != nil && !p.temporary(err):
			return err
		}
		again, waitErr := st.after(ctx, p.size, p.s.opts)
		if waitErr != nil {
			return waitErr
		}
		if again {
			continue
		}
		if err == nil {
			return nil // the source means it: check speaks of a content that is too short
		}
		return fmt.Errorf("giving up at byte %d: %w", p.size, err)
	}
	return nil
}

func (p *partial) temporary(err error) bool {
	var body *bodyError
	return errors.As(err, &body) || p.s.opts.Temporary(err)
}

// pull fetches once and takes what comes. A nil error says that the body ended
// properly, which is not to say that it was whole.
func (p *partial) pull(ctx context.Context) error {
	if p.want.Digest == "" && p.want.Key == "" {
		if err := p.reset(); err != nil {
			return err
		}
	}
	body, err := p.request(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // nothing was written to it
	p.stitched = p.size > 0
	buf := p.s.buffer()
	defer p.s.buffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if writeErr := p.add((*buf)[:n]); writeErr != nil {
			return writeErr
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case p.cut, errors.Is(err, io.EOF):
			return nil
		case err != nil:
			p.cut = p.want.Size >= 0 && p.size > p.want.Size
			return &bodyError{err}
		}
	}
}

// request opens the content where the partial ends, or at its start if the source
// does not agree to go on; then the partial starts over, too.
func (p *partial) request(ctx context.Context) (io.ReadCloser, error) {
	body, at, err := p.fetch(ctx, p.size)
	if p.size > 0 && ctx.Err() == nil {
		refused := err != nil && !p.temporary(err)
		elsewhere := err == nil && at != p.size && at != 0
		if elsewhere {
			_ = body.Close() // nothing was read
		}
		if refused || elsewhere {
			body, at, err = p.fetch(ctx, 0)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case at == p.size:
		return body, nil
	case at == 0:
		if err := p.reset(); err != nil {
			return nil, errors.Join(err, body.Close())
		}
		return body, nil
	}
	_ = body.Close() // nothing was read
	return nil, fmt.Errorf("asking for byte %d on, offered byte %d on: %w", p.size, at, ErrOffset)
}

// add takes the next bytes of the content. Beyond the expected size they are hashed
// only, and beyond surplus the content counts as cut.
func (p *partial) add(data []byte) error {
	keep := data
	if p.want.Size >= 0 {
		keep = data[:min(int64(len(data)), max(0, p.want.Size-p.size))]
	}
	if _, err := p.f.Write(keep); err != nil {
		return err
	}
	_, _ = p.hash.Write(data) // never fails
	p.size += int64(len(data))
	if p.size-p.sent >= writebackStep {
		startWriteback(p.f, p.sent, p.size-p.sent)
		p.sent = p.size
	}
	if p.want.Size < 0 {
		p.meter.reach(p.size)
		return nil
	}
	p.meter.reach(min(p.size, p.want.Size))
	p.cut = p.size > p.want.Size+surplus
	return nil
}

func (p *partial) digest() digest.Digest { return digest.NewDigest(digest.SHA256, p.hash) }

// check compares what came with what was expected.
func (p *partial) check() error {
	e := &MismatchError{Source: p.want.Source, Want: p.want.Digest, WantSize: p.want.Size, GotSize: p.size}
	if p.cut {
		return e
	}
	e.Got = p.digest()
	if p.want.Digest != "" && e.Got != p.want.Digest || p.want.Size >= 0 && p.size != p.want.Size {
		return e
	}
	return nil
}

// reset forgets what came.
func (p *partial) reset() error {
	p.hash.Reset()
	p.size, p.sent, p.stitched, p.cut = 0, 0, false, false
	if err := p.f.Truncate(0); err != nil {
		return err
	}
	_, err := p.f.Seek(0, io.SeekStart)
	return err
}

// open opens the partial blob name and hashes what is there.
func (p *partial) open(ctx context.Context, name string) error {
	var err error
	if name == "" {
		p.f, err = os.CreateTemp(filepath.Join(p.s.dir, ingestDir), tmpPrefix+"*")
		return err
	}
	p.f, err = os.OpenFile(p.s.ingestPath(name), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return err
	}
	if err := p.resume(ctx); err != nil {
		return errors.Join(err, p.f.Close())
	}
	return nil
}

// resume hashes what is there and keeps what may be good: up to the expected size
// where a digest will tell in the end, else up to where the .sum file vouches.
func (p *partial) resume(ctx context.Context) error {
	info, err := p.f.Stat()
	if err != nil {
		return err
	}
	length, sum := info.Size(), digest.Digest("")
	if p.want.Digest == "" {
		length, sum = p.readSum()
	}
	if length == 0 || length > info.Size() || p.want.Size >= 0 && length > p.want.Size {
		return p.reset()
	}
	n, err := p.s.hashInto(p.hash, io.LimitReader(&contextReader{ctx: ctx, r: p.f}, length))
	if err != nil {
		return err
	}
	p.size, p.stitched = n, true
	if n != length || p.want.Digest == "" && p.digest() != sum {
		return p.reset()
	}
	p.meter.reach(p.size)
	return p.f.Truncate(p.size)
}

func (p *partial) sumPath() string { return p.f.Name() + sumSuffix }

// readSum returns what a former ingestion vouches for; nothing if in doubt.
func (p *partial) readSum() (int64, digest.Digest) {
	data, err := os.ReadFile(p.sumPath())
	if err != nil {
		return 0, ""
	}
	var length int64
	var sum string
	if n, err := fmt.Sscanf(string(data), "%d %s\n", &length, &sum); n != 2 || err != nil || length < 0 {
		return 0, ""
	}
	return length, digest.Digest(sum)
}

func (p *partial) removeSum() error {
	if p.want.Digest != "" || p.want.Key == "" {
		return nil
	}
	if err := os.Remove(p.sumPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// abandon closes the partial after err and keeps it where it may serve later.
func (p *partial) abandon(err error) error {
	var mismatch *MismatchError
	if errors.As(err, &mismatch) || p.size == 0 || p.want.Digest == "" && p.want.Key == "" {
		return errors.Join(discard(p.f), p.removeSum())
	}
	if err := p.f.Close(); err != nil || p.want.Digest != "" {
		return err
	}
	return p.s.writeFile(p.sumPath(), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d %s\n", p.size, p.digest())
		return err
	})
}

// contextReader reads for as long as ctx lasts.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
