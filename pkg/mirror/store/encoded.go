package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

func (s *Store) encodedPath(d digest.Digest, suffix string) string {
	return filepath.Join(s.dir, encodedDir, d.Encoded()+encoderSuffix(s.opts.Encoder)+suffix)
}

// encoderSuffix sets the packed forms of one encoder apart from another's.
func encoderSuffix(encoder string) string {
	if encoder == "" {
		return ""
	}
	return "." + encoder
}

// DropEncoded forgets the packed form of the blob d, so that it is made anew.
func (s *Store) DropEncoded(d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return fmt.Errorf("dropping a packed blob: %w", err)
	}
	for _, suffix := range []string{zstSuffix, rawSuffix} {
		if err := os.Remove(s.encodedPath(d, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dropping packed blob %s: %w", d, err)
		}
	}
	return nil
}

// Encoded is the size in bytes of the packed form of the blob d, and whether d was
// looked at: a known size of 0 says that it was and is stored raw.
func (s *Store) Encoded(d digest.Digest) (size int64, known bool) {
	if checkDigest(d) != nil {
		return 0, false
	}
	if info, err := os.Lstat(s.encodedPath(d, zstSuffix)); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return info.Size(), true
	}
	_, err := os.Lstat(s.encodedPath(d, rawSuffix))
	return 0, err == nil
}

// OpenEncoded opens the packed form of the blob d; the error wraps fs.ErrNotExist
// where there is none. Nothing vouches for what it decodes to: hash that.
func (s *Store) OpenEncoded(d digest.Digest) (io.ReadCloser, error) {
	if err := checkDigest(d); err != nil {
		return nil, fmt.Errorf("opening a packed blob: %w", err)
	}
	f, err := os.Open(s.encodedPath(d, zstSuffix))
	if err != nil {
		return nil, fmt.Errorf("opening packed blob %s: %w", d, err)
	}
	return f, nil
}

// PutEncoded keeps what write writes as the packed form of the blob d, all of it or
// nothing. When write returns keep false, what it wrote is thrown away and d is
// known as stored raw. A form that was there is replaced.
func (s *Store) PutEncoded(ctx context.Context, d digest.Digest, write func(w io.Writer) (keep bool, err error)) error {
	err := checkDigest(d)
	if err == nil {
		err = s.usable(ctx)
	}
	if err == nil {
		err = s.putEncoded(ctx, d, write)
	}
	if err != nil {
		return fmt.Errorf("keeping packed blob %s: %w", d, err)
	}
	return nil
}

func (s *Store) putEncoded(ctx context.Context, d digest.Digest, write func(io.Writer) (bool, error)) error {
	f, err := os.CreateTemp(filepath.Join(s.dir, ingestDir), tmpPrefix+"*")
	if err != nil {
		return err
	}
	keep, err := write(&contextWriter{ctx: ctx, w: f})
	if err != nil {
		return errors.Join(err, discard(f))
	}
	zst, raw := s.encodedPath(d, zstSuffix), s.encodedPath(d, rawSuffix)
	if !keep {
		if err := discard(f); err != nil {
			return err
		}
		return s.markRaw(raw, zst)
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = ErrEmptyEncoding
	}
	if err != nil {
		return errors.Join(err, discard(f))
	}
	return s.publish(f, zst)
}

// markRaw notes that a blob is stored raw. The mark needs no sync: an empty file is
// whole as soon as it is there, and without it the blob is just looked at again.
func (s *Store) markRaw(raw, zst string) error {
	if err := os.Remove(zst); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(raw, os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	s.dirty.Store(true)
	return f.Close()
}

// contextWriter writes for as long as ctx lasts.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *contextWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
