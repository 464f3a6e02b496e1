// Package cache knows the folder that builds keep between runs: the store of fetched
// content, and beside it pins, signatures, notes and what scans found. It counts what
// is in there, removes what is no longer wanted, and checks what is kept.
//
//	blobs, encoded, ingest   the store, see pkg/mirror/store
//	pins/                    locks of builds, one an output folder
//	signatures/              signatures over content, by key
//	verified/                notes that OS packages were verified
//	scan/db, scan/refs       unpacked databases, and which a reference named last
//	scan/layers              what was found in layers
//	scan/results             what a database knows of them, a folder a database
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/archive"
	"naru/pkg/mirror/store"
)

// PinsDir is where the cache in dir has pins.
func PinsDir(dir string) string { return filepath.Join(dir, "pins") }

// SignaturesDir is where the cache in dir has signatures.
func SignaturesDir(dir string) string { return filepath.Join(dir, "signatures") }

// ScanDir is where the cache in dir has what belongs to scans.
func ScanDir(dir string) string { return filepath.Join(dir, "scan") }

// notesDir is where pkg/mirror/packages leaves its notes.
func notesDir(dir string) string { return filepath.Join(dir, "verified") }

// Contents are what lies in a cache, on disk.
type Contents struct {
	store.Stock
	// Databases are those of the scanner, unpacked; Findings what it found.
	Databases store.Tally `json:"databases"`
	Findings  store.Tally `json:"findings"`
	// Pins, Signatures and Notes are small.
	Pins       store.Tally `json:"pins"`
	Signatures store.Tally `json:"signatures"`
	Notes      store.Tally `json:"notes"`
}

// Bytes is all of it.
func (c *Contents) Bytes() int64 {
	return c.Stock.Bytes() + c.Databases.Bytes + c.Findings.Bytes + c.Pins.Bytes + c.Signatures.Bytes + c.Notes.Bytes
}

// NotCacheError says that a folder is no cache of builds.
type NotCacheError struct{ Dir string }

func (e *NotCacheError) Error() string {
	return fmt.Sprintf("opening the cache %q: no build has made it", e.Dir)
}

// open opens the store of a cache that is there; nothing is made in a folder that is
// something else.
func open(dir string, alone bool) (*store.Store, error) {
	for _, name := range []string{ocispec.ImageLayoutFile, "ingest", "encoded"} {
		_, err := os.Lstat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &NotCacheError{Dir: dir}
		}
		if err != nil {
			return nil, fmt.Errorf("opening the cache %q: %w", dir, err)
		}
	}
	return store.OpenWith(dir, store.Options{Encoder: archive.Encoder, Alone: alone})
}

// Info is what a cache holds.
type Info struct {
	Cache string `json:"cache"`
	Contents
	// Total is on disk, Free what the disk has left, in bytes.
	Total int64 `json:"total"`
	Free  int64 `json:"free"`
}

// Look counts what is in the cache in dir. Builds may be at work.
func Look(ctx context.Context, dir string) (*Info, error) {
	plan, err := planPrune(ctx, PruneOptions{Dir: dir, All: true}, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = plan.close() }()
	free, err := plan.st.FreeSpace()
	if err != nil {
		return nil, err
	}
	return &Info{Cache: dir, Contents: plan.remove, Total: plan.remove.Bytes(), Free: free}, nil
}
