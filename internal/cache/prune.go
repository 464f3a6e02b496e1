package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/store"
)

// PruneOptions say what stays in a cache. What no field keeps goes.
type PruneOptions struct {
	Dir string
	// Locks keep what their bundles are built of. With locks and no OlderThan what
	// lies beside the store stays as well, but for databases that newer ones replaced.
	Locks []*manifest.Lock
	// OlderThan keeps what was fetched, made or used in that time before Now; 0 keeps
	// nothing by its age.
	OlderThan time.Duration
	Now       time.Time
	// All removes everything; the fields above count for nothing.
	All bool
}

// PruneResult is what a prune did, or would do.
type PruneResult struct {
	Cache   string   `json:"cache"`
	DryRun  bool     `json:"dryRun"`
	Removed Contents `json:"removed"`
	Kept    Contents `json:"kept"`
	// Freed is in bytes.
	Freed int64 `json:"freed"`
}

// Prune removes from a cache what opts do not keep. It has the cache for itself: while
// a build or a scan uses it the error wraps store.ErrBusy and nothing is removed, and a
// build that begins meanwhile ends with that error. Interrupted, it can be run again.
// A manifest that is to stay and is damaged is a *DamagedError, with nothing else removed:
// what it consists of is not known until a build has fetched it again.
// A dry run only looks, beside whatever builds there are.
func Prune(ctx context.Context, opts PruneOptions, dryRun bool) (_ *PruneResult, err error) {
	plan, err := planPrune(ctx, opts, !dryRun)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plan.close()) }()
	if !dryRun {
		if err := plan.execute(ctx); err != nil {
			return nil, err
		}
	}
	return &PruneResult{Cache: opts.Dir, DryRun: dryRun, Removed: plan.remove, Kept: plan.keep, Freed: plan.remove.Bytes()}, nil
}

// plan is what a prune removes.
type plan struct {
	opts         PruneOptions
	st           *store.Store
	scan         io.Closer
	blobs        *store.PrunePlan
	paths        []string // beside the store
	remove, keep Contents
	// reached is what locks, and references of databases, keep.
	reached map[digest.Digest]bool
}

func planPrune(ctx context.Context, opts PruneOptions, alone bool) (*plan, error) {
	p := &plan{opts: opts}
	if err := p.open(alone); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.look(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// open takes the store, and the folder of scans, which bundle scan uses by itself.
func (p *plan) open(alone bool) (err error) {
	if p.st, err = open(p.opts.Dir, alone); err != nil {
		return err
	}
	hold := store.Hold
	if alone {
		hold = store.HoldAlone
	}
	p.scan, err = hold(ScanDir(p.opts.Dir))
	return err
}

func (p *plan) close() error {
	var errs []error
	if p.scan != nil {
		errs = append(errs, p.scan.Close())
	}
	if p.st != nil {
		errs = append(errs, p.st.Close())
	}
	return errors.Join(errs...)
}

func (p *plan) look(ctx context.Context) (err error) {
	since := time.Time{}
	if p.opts.OlderThan > 0 && !p.opts.All {
		since = p.opts.Now.Add(-p.opts.OlderThan)
	}
	if err := p.reach(ctx, since); err != nil {
		return err
	}
	p.blobs, err = p.st.PlanPrune(ctx, store.PruneOptions{Keep: func(d digest.Digest) bool { return p.reached[d] }, Since: since})
	if err != nil {
		return err
	}
	p.remove.Stock, p.keep.Stock = p.blobs.Remove, p.blobs.Keep
	return p.beside(ctx, since)
}

// young tells whether a file beside the store stays by its age.
func (p *plan) young(info fs.FileInfo, since time.Time) bool {
	switch {
	case p.opts.All:
		return false
	case since.IsZero():
		return true
	}
	return !info.ModTime().Before(since)
}

// reach finds the blobs that locks keep, and those of the databases in use.
func (p *plan) reach(ctx context.Context, since time.Time) error {
	var roots []digest.Digest
	if !p.opts.All {
		for _, lock := range p.opts.Locks {
			roots = append(roots, lock.Digests(func(d digest.Digest) bool { return p.st.Has(d, -1) })...)
		}
		databases, err := namedDatabases(ScanDir(p.opts.Dir), func(info fs.FileInfo) bool { return p.young(info, since) })
		if err != nil {
			return err
		}
		roots = append(roots, databases...)
	}
	reached, err := mirror.Reach(ctx, p.st, roots)
	if damaged := (*store.MismatchError)(nil); errors.As(err, &damaged) {
		return &DamagedError{Damaged: []digest.Digest{damaged.Want}}
	}
	p.reached = reached
	return err
}

// beside goes through the folders beside the store.
func (p *plan) beside(ctx context.Context, since time.Time) error {
	scan := ScanDir(p.opts.Dir)
	byAge := func(_ string, info fs.FileInfo) bool { return p.young(info, since) }
	database := func(rel string) bool {
		name, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if p.reached[digest.NewDigestFromEncoded(digest.SHA256, name)] {
			return true
		}
		info, err := os.Stat(filepath.Join(scan, "db", name))
		return err == nil && !since.IsZero() && !strings.HasPrefix(name, "tmp-") && p.young(info, since)
	}
	rules := []rule{
		{PinsDir(p.opts.Dir), &p.remove.Pins, &p.keep.Pins, byAge},
		{SignaturesDir(p.opts.Dir), &p.remove.Signatures, &p.keep.Signatures, byAge},
		{notesDir(p.opts.Dir), &p.remove.Notes, &p.keep.Notes, byAge},
		{filepath.Join(scan, "refs"), &p.remove.Databases, &p.keep.Databases, byAge},
		{filepath.Join(scan, "db"), &p.remove.Databases, &p.keep.Databases, func(rel string, _ fs.FileInfo) bool { return database(rel) }},
		{filepath.Join(scan, "layers"), &p.remove.Findings, &p.keep.Findings, byAge},
		{filepath.Join(scan, "results"), &p.remove.Findings, &p.keep.Findings, func(rel string, info fs.FileInfo) bool {
			return database(rel) && p.young(info, since)
		}},
	}
	for _, r := range rules {
		if err := p.sort(ctx, r); err != nil {
			return err
		}
	}
	left, err := filepath.Glob(filepath.Join(scan, "java-*")) // of scans that were killed
	p.paths = append(p.paths, left...)
	return err
}

// rule says what stays of a folder.
type rule struct {
	dir          string
	remove, keep *store.Tally
	// stays is asked about a file by its path below dir.
	stays func(rel string, info fs.FileInfo) bool
}

// sort finds what of a folder goes. Folders follow their files, and go if that leaves
// them empty.
func (p *plan) sort(ctx context.Context, r rule) error {
	var folders []string
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if e.IsDir() {
			folders = append(folders, path)
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // builds may be at work
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.dir, path)
		if err != nil {
			return err
		}
		tally := r.keep
		if !r.stays(rel, info) {
			tally = r.remove
			p.paths = append(p.paths, path)
		}
		tally.Files++
		tally.Bytes += info.Size()
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking through the cache: %w", err)
	}
	for i := len(folders) - 1; i > 0; i-- {
		p.paths = append(p.paths, folders[i])
	}
	return nil
}

// execute removes what was planned: first what lies beside the store, which is worth
// nothing without it.
func (p *plan) execute(ctx context.Context) error {
	for _, path := range p.paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			continue // gone already
		}
		if strings.HasPrefix(info.Name(), "java-") {
			err = os.RemoveAll(path)
		} else {
			err = os.Remove(path)
		}
		if err != nil && !info.IsDir() { // a folder that is not empty stays
			return fmt.Errorf("pruning the cache: %w", err)
		}
	}
	return p.blobs.Execute(ctx)
}
