package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// PruneOptions say what stays. What neither field keeps goes.
type PruneOptions struct {
	// Keep names blobs that stay, with their packed forms and what there is of them in
	// part; nil names none.
	Keep func(digest.Digest) bool
	// Since keeps what was written or touched then or later; the zero time keeps
	// nothing by its age.
	Since time.Time
}

// Tally counts files and their bytes on disk.
type Tally struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (t *Tally) add(size int64) {
	t.Files++
	t.Bytes += size
}

// Stock is what lies in a store.
type Stock struct {
	// Blobs, their Packed forms and Partial blobs.
	Blobs   Tally `json:"blobs"`
	Packed  Tally `json:"packed"`
	Partial Tally `json:"partial"`
}

// Bytes is all of it on disk.
func (s Stock) Bytes() int64 { return s.Blobs.Bytes + s.Packed.Bytes + s.Partial.Bytes }

// PrunePlan is what a prune removes and what it leaves.
type PrunePlan struct {
	Remove, Keep Stock

	s     *Store
	paths []string
}

// PlanPrune finds what opts do not keep: blobs, packed forms without their blob or of
// another encoder, and partial blobs. Blobs come last, so that a prune that was
// interrupted leaves no packed form behind that nobody would find.
func (s *Store) PlanPrune(ctx context.Context, opts PruneOptions) (*PrunePlan, error) {
	if opts.Keep == nil {
		opts.Keep = func(digest.Digest) bool { return false }
	}
	p := &PrunePlan{s: s}
	if err := p.look(ctx, opts); err != nil {
		return nil, fmt.Errorf("looking through the store %q: %w", s.dir, err)
	}
	return p, nil
}

func (p *PrunePlan) look(ctx context.Context, opts PruneOptions) error {
	young := func(info fs.FileInfo) bool { return !opts.Since.IsZero() && !info.ModTime().Before(opts.Since) }
	kept := map[string]bool{} // by the hexadecimal digits of a blob
	var blobs []string
	err := each(ctx, p.s.blobDir(), func(path string, info fs.FileInfo) {
		d := digest.NewDigestFromEncoded(digest.SHA256, info.Name())
		if checkDigest(d) == nil && (opts.Keep(d) || young(info)) {
			kept[info.Name()] = true
			p.Keep.Blobs.add(info.Size())
			return
		}
		p.Remove.Blobs.add(info.Size())
		blobs = append(blobs, path)
	})
	if err != nil {
		return err
	}
	err = each(ctx, filepath.Join(p.s.dir, encodedDir), func(path string, info fs.FileInfo) {
		hex, rest, _ := strings.Cut(info.Name(), ".")
		form := encoderSuffix(p.s.opts.Encoder)
		if kept[hex] && slices.Contains([]string{form + zstSuffix, form + rawSuffix}, "."+rest) {
			p.Keep.Packed.add(info.Size())
			return
		}
		p.Remove.Packed.add(info.Size())
		p.paths = append(p.paths, path)
	})
	if err != nil {
		return err
	}
	err = each(ctx, p.s.ingestPath(""), func(path string, info fs.FileInfo) {
		name, whole := strings.CutPrefix(info.Name(), string(digest.SHA256)+"-")
		d := digest.NewDigestFromEncoded(digest.SHA256, name)
		if young(info) || whole && checkDigest(d) == nil && opts.Keep(d) {
			p.Keep.Partial.add(info.Size())
			return
		}
		p.Remove.Partial.add(info.Size())
		p.paths = append(p.paths, path)
	})
	p.paths = append(p.paths, blobs...)
	return err
}

// Execute removes what the plan names. The store must be open alone, since anybody
// else might be about to use it, else the error is ErrShared. Interrupted, it can be
// planned and executed again.
func (p *PrunePlan) Execute(ctx context.Context) error {
	if !p.s.opts.Alone {
		return fmt.Errorf("pruning the store %q: %w", p.s.dir, ErrShared)
	}
	for _, path := range p.paths {
		err := p.s.usable(ctx)
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("pruning the store %q: %w", p.s.dir, err)
		}
	}
	return nil
}

// Blobs lists the blobs in the store, sorted.
func (s *Store) Blobs(ctx context.Context) ([]digest.Digest, error) {
	var out []digest.Digest
	err := each(ctx, s.blobDir(), func(_ string, info fs.FileInfo) {
		if d := digest.NewDigestFromEncoded(digest.SHA256, info.Name()); checkDigest(d) == nil {
			out = append(out, d)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing the store %q: %w", s.dir, err)
	}
	return out, nil
}

// touchAfter is how old the mark of a use must be to be set again.
const touchAfter = time.Hour

// Touch marks the blobs as used now, by the time of their last change: see
// PruneOptions.Since. Those that the store lacks are passed over.
func (s *Store) Touch(digests []digest.Digest) error {
	now := time.Now()
	for _, d := range digests {
		if checkDigest(d) != nil {
			continue
		}
		info, err := os.Lstat(s.blobPath(d))
		if err == nil && now.Sub(info.ModTime()) > touchAfter {
			err = os.Chtimes(s.blobPath(d), now, now)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("marking blob %s as used: %w", d, err)
		}
	}
	return nil
}

// each calls visit for every file in dir, in order. What goes while it looks, and a
// folder that is not there, are none.
func each(ctx context.Context, dir string, visit func(path string, info fs.FileInfo)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		visit(filepath.Join(dir, e.Name()), info)
	}
	return nil
}
