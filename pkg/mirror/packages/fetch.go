package packages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror"
)

// File is a file of a distribution that is carried.
type File struct {
	// URL it is to be had at.
	URL    string
	Digest digest.Digest
	Size   int64
	// main is the source whose main metadata file it is.
	main string
}

// FilesOf lists the metadata and package files that a lock entry pins, each digest
// once.
func FilesOf(locked *manifest.LockedPackages) []File {
	var out []File
	seen := map[digest.Digest]bool{}
	add := func(f File) {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			out = append(out, f)
		}
	}
	for _, s := range locked.Sources {
		for _, m := range s.Files {
			f := File{URL: join(s.URL, m.Path), Digest: m.Digest, Size: m.Size}
			if m.Digest == s.Digest {
				f.main = s.Name
			}
			add(f)
		}
	}
	for _, p := range locked.Packages {
		add(File{URL: join(locked.Source(p.Source).URL, p.Path), Digest: p.Digest, Size: p.Size})
	}
	return out
}

// Missing are the bytes of files that the store lacks.
func (c *Carrier) Missing(files []File) int64 {
	var total int64
	for _, f := range files {
		if !c.store.Has(f.Digest, f.Size) {
			total += f.Size
		}
	}
	return total
}

// FetchAll brings everything that a lock entry pins into the store and has the
// family verify it. Other content than is pinned is a *MovedSnapshotError where it is
// the main metadata file of a source, and a *mirror.MismatchError else.
func (c *Carrier) FetchAll(ctx context.Context, req Request, locked *manifest.LockedPackages) error {
	resolver, err := c.resolver(req)
	if err != nil {
		return err
	}
	files := FilesOf(locked)
	for _, f := range files { // a snapshot that moved is told as that, before its packages are missed
		if f.main != "" {
			if err := c.fetchPinned(ctx, req, f); err != nil {
				return err
			}
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(c.jobs)
	for _, f := range files {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			return c.fetchPinned(gctx, req, f)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.verifyOnce(ctx, resolver, req, locked)
}

// verifyOnce has the family verify what a lock entry pins, and leaves a note beside
// the store that it did: the same digests with the same keys are not worth the seconds
// again. The note is no blob of the store, where anything fetched may come to lie.
func (c *Carrier) verifyOnce(ctx context.Context, resolver Resolver, req Request, locked *manifest.LockedPackages) error {
	note, err := verifiedNote(req, locked)
	if err != nil {
		return err
	}
	path := filepath.Join(c.store.Dir(), "verified", digest.FromBytes(note).Encoded()+".json")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, note) {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // a use, for who prunes the cache by age; pruned, it is made anew
		return nil
	}
	if err := resolver.Verify(ctx, c, req, locked); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("noting the verification of %q: %w", req.Distribution.ID, err)
	}
	// One that is not whole does not equal what it should be, and counts for nothing.
	if err := os.WriteFile(path, note, 0o600); err != nil {
		return fmt.Errorf("noting the verification of %q: %w", req.Distribution.ID, err)
	}
	return nil
}

// verifiedNote names everything that a verification rests on.
func verifiedNote(req Request, locked *manifest.LockedPackages) ([]byte, error) {
	keys := map[string]digest.Digest{}
	for _, s := range req.Sources() {
		data, err := req.Keyring(s.Keyring)
		if err != nil {
			return nil, err
		}
		keys[s.Name] = digest.FromBytes(data)
	}
	note, err := json.Marshal(map[string]any{
		"note":     "naru verified these packages with these keys, as of note version 1",
		"family":   req.Distribution.Family,
		"keys":     keys,
		"sources":  locked.Sources,
		"packages": locked.Packages,
	})
	if err != nil {
		return nil, fmt.Errorf("noting the verification of %q: %w", req.Distribution.ID, err)
	}
	return note, nil
}

func (c *Carrier) fetchPinned(ctx context.Context, req Request, f File) error {
	got, size, err := c.Fetch(ctx, f.URL, f.Digest)
	var mismatch *mirror.MismatchError
	switch {
	case errors.As(err, &mismatch) && f.main != "" && mismatch.Got != "":
		return &MovedSnapshotError{Distribution: req.Distribution.ID, Source: f.main, URL: f.URL, Pinned: f.Digest, Now: mismatch.Got}
	case err != nil:
		return fmt.Errorf("fetching packages of %q for %s: %w", req.Distribution.ID, req.Platform, err)
	case size != f.Size:
		return fmt.Errorf("fetching packages of %q for %s: %s, %s, has %d bytes, the lock says %d", req.Distribution.ID, req.Platform, f.URL, got, size, f.Size)
	}
	return nil
}
