package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"naru/internal/atomicfile"
	"naru/internal/cache"
	"naru/manifest"
)

// loadLock puts locks over each other: the one that the release ships, that of the
// bundle in the output folder, the pins of an earlier run into it, the --lock file.
//
// Inputs: release, options. Outputs: the lock in force. Rerunning is safe: nothing
// is written.
func (r *run) loadLock(context.Context) error {
	r.lock = manifest.NewLock(r.selection.Name)
	if r.release != nil {
		r.lock = r.release.Shipped
	}
	if !r.opts.Fresh && r.opts.OutDir != "" {
		for _, path := range []string{filepath.Join(r.opts.OutDir, lockName), r.pinsPath()} {
			if err := r.overlayLock(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if r.opts.LockFile == "" {
		return nil
	}
	return r.overlayLock(r.opts.LockFile)
}

// overlayLock puts the lock in file over the one in force.
func (r *run) overlayLock(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading lock: %w", err)
	}
	over, err := manifest.DecodeLock(file, data)
	if err != nil {
		return err
	}
	r.lock = r.lock.Merge(over)
	return nil
}

// pinsPath is where the pins of builds into the output folder are kept: in the
// cache, since the folder may hold a finished bundle. Empty when there is no
// output folder.
func (r *run) pinsPath() string {
	if r.opts.OutDir == "" {
		return ""
	}
	abs, err := filepath.Abs(r.opts.OutDir)
	if err != nil {
		abs = r.opts.OutDir
	}
	sum := sha256.Sum256([]byte(r.selection.Name + "\x00" + abs))
	return filepath.Join(cache.PinsDir(r.opts.CacheDir), hex.EncodeToString(sum[:16])+".yaml")
}

// notePinned adds to the kept pins, so that an interrupted build goes on with
// them and fetches nothing twice.
func (r *run) notePinned(found *manifest.Lock) error {
	r.pinning.Lock()
	defer r.pinning.Unlock()
	if r.pins == nil {
		r.pins = manifest.NewLock(r.selection.Name)
	}
	r.pins = r.pins.Merge(found)
	if len(found.Files)+len(found.Charts)+len(found.Packages) == 0 {
		return nil // images cost a request to pin again; they are saved in one go
	}
	return r.savePins()
}

// savePins writes the pins found so far; the caller holds pinning, or is alone.
func (r *run) savePins() error {
	path := r.pinsPath()
	if path == "" || r.opts.DryRun || r.pins == nil {
		return nil
	}
	data, err := r.pins.Encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the folder of pins: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}
