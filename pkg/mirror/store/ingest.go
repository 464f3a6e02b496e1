package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/opencontainers/go-digest"
)

// Expected says what is known of content before it is fetched.
type Expected struct {
	// Digest is empty where it is not known yet.
	Digest digest.Digest
	// Size is in bytes; negative where it is not known.
	Size int64
	// Source names where the content is from, for errors.
	Source string
	// Key stands in for Digest where that is empty, so that an interrupted fetch can
	// go on. Nothing finds out if the content changed in between, so the key must
	// change when the content does: a URL together with a strong ETag. Where there is
	// no such thing leave it empty, and every fetch begins at the start.
	Key string
}

// Fetch opens content at offset and returns the offset it is open at, which may be
// 0 where a source can't do other. It is called again when a body ends early.
type Fetch func(ctx context.Context, offset int64) (body io.ReadCloser, actualOffset int64, err error)

// IsTemporary tells whether an error may pass: one that says so by a method
// Temporary() bool, a timeout, or an unexpected end.
func IsTemporary(err error) bool {
	if t := (interface{ Temporary() bool })(nil); errors.As(err, &t) && t.Temporary() {
		return true
	}
	if n := net.Error(nil); errors.As(err, &n) && n.Timeout() {
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// Ingest brings content into the store unless it is there, and returns its digest
// and size. Where part of it was fetched before, also by a process that was killed,
// fetch is asked for the rest; it is asked again where a body breaks off, as long
// as that brings bytes and a few times more. A source that starts over is followed.
//
// progress, which may be nil, is told of bytes as they are there: together the size
// when Ingest succeeds, whoever fetched them, and no byte twice.
//
// Content that is not what was expected is a *MismatchError, and nothing of it is
// kept; if it was put together from several fetches it is fetched once more in
// whole first. Other errors are those of fetch, the body, the disk and ctx, and keep
// what came. A blob is fetched once, however many ask for it at a time.
func (s *Store) Ingest(ctx context.Context, want Expected, fetch Fetch, progress func(n int64)) (digest.Digest, int64, error) {
	d, size, err := s.ingest(ctx, want, fetch, &meter{report: progress})
	if mismatch := (*MismatchError)(nil); errors.As(err, &mismatch) {
		return "", 0, err // it names the source itself
	}
	if err != nil {
		return "", 0, fmt.Errorf("ingesting %q: %w", want.Source, err)
	}
	return d, size, nil
}

func (s *Store) ingest(ctx context.Context, want Expected, fetch Fetch, m *meter) (digest.Digest, int64, error) {
	name, err := want.partialName()
	if err != nil {
		return "", 0, err
	}
	for {
		if err := s.usable(ctx); err != nil {
			return "", 0, err
		}
		if size, ok, err := s.present(ctx, want); ok || err != nil {
			m.reach(size)
			return want.Digest, size, err
		}
		if name == "" {
			return s.download(ctx, want, name, fetch, m)
		}
		c, mine := s.claim(name)
		if mine {
			c.digest, c.size, c.err = s.alone(ctx, want, name, fetch, m)
			s.finish(name, c)
			return c.digest, c.size, c.err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
		if c.err == nil && want.Digest == "" {
			m.reach(c.size)
			return c.digest, c.size, nil
		} // else look again: the other may have failed for reasons of its own
	}
}

// alone downloads when no other process is at it, or finds what that one brought.
func (s *Store) alone(ctx context.Context, want Expected, name string, fetch Fetch, m *meter) (digest.Digest, int64, error) {
	unlock, err := s.lockPartial(ctx, name)
	if err != nil {
		return "", 0, err
	}
	defer unlock()
	if size, ok, err := s.present(ctx, want); ok || err != nil {
		m.reach(size)
		return want.Digest, size, err
	}
	return s.download(ctx, want, name, fetch, m)
}

// present looks whether the store has what is wanted. A blob of another size than
// that is hashed: either it is damaged, and dropped, or the expectation is wrong.
func (s *Store) present(ctx context.Context, want Expected) (int64, bool, error) {
	if want.Digest == "" {
		return 0, false, nil
	}
	size, ok := s.Size(want.Digest)
	if !ok || want.Size < 0 || size == want.Size {
		return size, ok, nil
	}
	err := s.Verify(ctx, want.Digest)
	if err == nil {
		return 0, false, &MismatchError{Source: want.Source, Want: want.Digest, Got: want.Digest, WantSize: want.Size, GotSize: size}
	}
	if damaged := (*MismatchError)(nil); errors.As(err, &damaged) {
		return 0, false, nil
	}
	return 0, false, err
}

// partialName is the file in ingest/ where the content is put together; empty where
// nothing identifies it.
func (e Expected) partialName() (string, error) {
	switch {
	case e.Digest != "":
		if err := checkDigest(e.Digest); err != nil {
			return "", err
		}
		return string(digest.SHA256) + "-" + e.Digest.Encoded(), nil
	case e.Key != "":
		return fmt.Sprintf("key-%x", sha256.Sum256([]byte(e.Key))), nil
	}
	return "", nil
}

// call is an ingestion under way. All but done is set before done is closed.
type call struct {
	done   chan struct{}
	digest digest.Digest
	size   int64
	err    error
}

// claim joins the ingestion of name, or makes it the caller's.
func (s *Store) claim(name string) (c *call, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[name]; ok {
		return c, false
	}
	c = &call{done: make(chan struct{})}
	s.calls[name] = c
	return c, true
}

func (s *Store) finish(name string, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, name)
	close(c.done)
}

// meter reports how far an ingestion is, forwards only.
type meter struct {
	report func(int64)
	at     int64
}

func (m *meter) reach(at int64) {
	if at > m.at && m.report != nil {
		m.report(at - m.at)
	}
	m.at = max(m.at, at)
}

// stall counts fetches that brought nothing new.
type stall struct {
	left int
	wait time.Duration
	high int64 // the furthest that any fetch came
}

// after is called with how far the last fetch came. It waits if that is no further
// than before, and tells whether to try again.
func (st *stall) after(ctx context.Context, at int64, opts Options) (bool, error) {
	if at > st.high {
		*st = stall{left: opts.Stalls, wait: opts.StallWait, high: at}
		return true, nil
	}
	if st.left--; st.left <= 0 {
		return false, nil
	}
	err := sleep(ctx, st.wait)
	st.wait *= 2
	return err == nil, err
}
