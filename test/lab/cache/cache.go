// Package cache keeps what takes long to make in folders that several processes
// share: a folder is there in whole or not at all.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// unfinished begins the names of folders that Fill works in.
const unfinished = ".new-"

// Lock takes the cache in root for this process, making it if missing, and clears
// what processes that were killed left unfinished in its folders. It waits for
// its turn until ctx ends.
func Lock(ctx context.Context, root string) (unlock func(), err error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("locking cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking cache: %w", err)
	}
	err = wait(ctx, f)
	if err == nil {
		err = sweep(root)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking cache %q: %w", root, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}

func wait(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || (!errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR)) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func sweep(root string) error {
	left, err := filepath.Glob(filepath.Join(root, "*", unfinished+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// Fill makes dir, a folder in a folder of a locked cache, from what fill puts into
// a temporary one beside it.
func Fill(dir string, fill func(tmp string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), unfinished)
	if err != nil {
		return err
	}
	err = fill(tmp)
	if err == nil {
		err = os.Chmod(tmp, 0o755)
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return nil
}
