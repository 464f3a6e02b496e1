package store

import (
	"bytes"
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

// PutBytes puts data, which is small, into the store. A blob that is there but
// damaged is replaced.
func (s *Store) PutBytes(ctx context.Context, data []byte) (digest.Digest, error) {
	d := digest.SHA256.FromBytes(data)
	if err := s.usable(ctx); err != nil {
		return "", fmt.Errorf("storing %s: %w", d, err)
	}
	if !s.holds(d, data) {
		err := s.writeFile(s.blobPath(d), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
		// Windows renames nothing over a file that somebody reads.
		if err != nil && !s.holds(d, data) {
			return "", fmt.Errorf("storing %s: %w", d, err)
		}
	}
	s.setFresh(d, true)
	return d, nil
}

// holds tells whether what lies under d is data.
func (s *Store) holds(d digest.Digest, data []byte) bool {
	if !s.Has(d, int64(len(data))) {
		return false
	}
	old, err := os.ReadFile(s.blobPath(d))
	return err == nil && bytes.Equal(old, data)
}

// Read returns the blob d, verified. Errors wrap fs.ErrNotExist where the store has
// none and ErrTooLarge where it has more than limit bytes; a *MismatchError says
// that it is damaged, and it is dropped.
func (s *Store) Read(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	r, err := s.openBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("reading blob %s: %w", d, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading blob %s of more than %d bytes: %w", d, limit, ErrTooLarge)
	}
	if got := digest.SHA256.FromBytes(data); got != d {
		return nil, s.drop(d, got, r.info)
	}
	s.setFresh(d, true)
	return data, nil
}

// Verify hashes the blob d; afterwards it is fresh. The error wraps fs.ErrNotExist
// where the store has none; a *MismatchError says that it is damaged, and it is
// dropped.
func (s *Store) Verify(ctx context.Context, d digest.Digest) error {
	r, err := s.openBlob(ctx, d)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = s.hashInto(h, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("verifying blob %s: %w", d, err)
	}
	if got := digest.NewDigest(digest.SHA256, h); got != d {
		return s.drop(d, got, r.info)
	}
	s.setFresh(d, true)
	return nil
}

// drop removes the damaged blob d, which was read from the file seen, and its packed
// form. Another file that has its place by now is what somebody else, who found the same,
// fetched instead, and stays.
func (s *Store) drop(d, got digest.Digest, seen fs.FileInfo) error {
	err := error(&MismatchError{Source: s.blobPath(d), Want: d, Got: got, WantSize: -1, GotSize: -1})
	if now, statErr := os.Lstat(s.blobPath(d)); statErr == nil && !os.SameFile(seen, now) {
		return err
	}
	s.setFresh(d, false)
	for _, path := range []string{s.encodedPath(d, zstSuffix), s.encodedPath(d, rawSuffix), s.blobPath(d)} {
		if rmErr := os.Remove(path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// hashInto hashes what r has left and returns its length.
func (s *Store) hashInto(h hash.Hash, r io.Reader) (int64, error) {
	buf := s.buffer()
	defer s.buffers.Put(buf)
	return io.CopyBuffer(h, r, *buf)
}

func (s *Store) buffer() *[]byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, bufferSize)
	return &b
}

// usable is asked before anything is written.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// writeFile makes a file of the store of what write writes: under a temporary name,
// synced, then renamed.
func (s *Store) writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, ingestDir), tmpPrefix+"*")
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return errors.Join(err, discard(f))
	}
	return s.publish(f, path)
}

// publish syncs f, closes it and gives it its final name. On an error f is gone.
func (s *Store) publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return errors.Join(err, discard(f))
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.dirty.Store(true)
	return nil
}

// discard closes and removes f.
func discard(f *os.File) error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
