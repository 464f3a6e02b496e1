package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Pruned says what Prune removed.
type Pruned struct {
	Blobs int   // blobs
	Bytes int64 // on disk: blobs, packed forms and partial blobs
}

// Prune removes all blobs from the store in dir that keep does not name, with their
// packed forms, and everything partial. The error wraps ErrBusy while anybody has
// the store open, this process included. Interrupted, it can be called again.
func Prune(ctx context.Context, dir string, keep func(digest.Digest) bool) (Pruned, error) {
	p := &pruner{keep: keep, s: &Store{dir: dir}}
	if err := p.run(ctx); err != nil {
		return p.out, fmt.Errorf("pruning the store %q: %w", dir, err)
	}
	return p.out, nil
}

type pruner struct {
	s    *Store
	keep func(digest.Digest) bool
	out  Pruned
}

func (p *pruner) run(ctx context.Context) error {
	f, err := openFolder(p.s.dir)
	if err != nil {
		return err
	}
	ok, err := tryLock(f, exclusive)
	if err == nil && !ok {
		err = ErrBusy
	}
	if err == nil {
		err = p.prune(ctx)
	}
	return errors.Join(err, f.Close())
}

func (p *pruner) prune(ctx context.Context) error {
	all := func(string) bool { return true }
	if err := p.remove(ctx, p.s.ingestPath(""), all); err != nil {
		return err
	}
	packed := func(name string) bool {
		hex, _, _ := strings.Cut(name, ".")
		return !p.kept(hex)
	}
	if err := p.remove(ctx, filepath.Join(p.s.dir, encodedDir), packed); err != nil {
		return err
	}
	return p.remove(ctx, p.s.blobDir(), func(name string) bool {
		drop := !p.kept(name)
		if drop {
			p.out.Blobs++
		}
		return drop
	})
}

func (p *pruner) kept(hex string) bool {
	d := digest.NewDigestFromEncoded(digest.SHA256, hex)
	return checkDigest(d) == nil && p.keep(d)
}

// remove removes the files in dir that drop names.
func (p *pruner) remove(ctx context.Context, dir string, drop func(name string) bool) error {
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
		if !drop(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
		p.out.Bytes += info.Size()
	}
	return nil
}
