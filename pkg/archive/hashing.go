package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive/frame"
)

// errClosed is fs.ErrClosed for blobs.
var errClosed = fmt.Errorf("reading blob: %w", fs.ErrClosed)

// hashRun is the hashing of a whole blob that any number of callers wait for.
type hashRun struct {
	done chan struct{} // closed when err is set
	err  error
}

// verifyBlob hashes a blob unless it is verified. Callers that want the same one at
// a time share a run. It lives as long as the reader does, not its callers: who
// gives up on a large blob and comes back finds it further on.
func (r *Reader) verifyBlob(ctx context.Context, l *location) error {
	if r.Verified(l.blob.Digest) {
		return nil
	}
	run, err := r.hashRun(l)
	if err != nil {
		return err
	}
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hashRun is the run that hashes l, started unless there is one.
func (r *Reader) hashRun(l *location) (*hashRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		return nil, errClosed
	}
	if run, ok := r.hashing[l.blob.Digest]; ok {
		return run, nil
	}
	run := &hashRun{done: make(chan struct{})}
	r.hashing[l.blob.Digest] = run
	r.runs.Go(func() {
		run.err = r.runHash(l)
		r.mu.Lock()
		delete(r.hashing, l.blob.Digest)
		r.mu.Unlock()
		close(run.done)
	})
	return run, nil
}

// runHash hashes l once it is its turn. What fits into a frame does not queue behind
// what takes minutes.
func (r *Reader) runHash(l *location) error {
	if l.blob.Size > frame.MaxContent {
		select {
		case r.turns <- struct{}{}:
			defer func() { <-r.turns }()
		case <-r.life.Done():
			return errClosed
		}
	}
	err := r.hashBlob(r.life, l, nil)
	if r.life.Err() != nil {
		return errClosed
	}
	return err
}

// hashBlob hashes a blob and compares, whether it is verified or not.
func (r *Reader) hashBlob(ctx context.Context, l *location, progress func(int64)) error {
	h := sha256.New()
	m := r.memory(l)
	defer m.free()
	for pos := int64(0); pos < l.blob.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		u, err := l.unitAt(pos)
		if err != nil {
			return err
		}
		if err := u.hash(h, r.dec, *m.in, m.decoded()); err != nil {
			return err
		}
		pos += int64(u.size)
		if progress != nil {
			progress(int64(u.size))
		}
	}
	return r.compare(l, h)
}

// compare is what follows when all of a blob is hashed. One that is wrong counts as
// verified no longer, whoever said so.
func (r *Reader) compare(l *location, h hash.Hash) error {
	if got := digest.NewDigest(digest.SHA256, h); got != l.blob.Digest {
		r.verified[l.blob.Digest].Store(false)
		return &DamagedError{Volume: l.volumePaths(), Entry: blobName(l.blob.Digest), Want: l.blob.Digest, Got: got, Err: ErrDigest}
	}
	r.verified[l.blob.Digest].Store(true)
	return nil
}
