package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// shareWait bounds how long Open waits for one who has the folder for itself.
const shareWait = 5 * time.Second

// openFolder opens the lock file of the store in dir.
func openFolder(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, fileMode)
}

// share takes a share of the lock f. Others have it for themselves for a moment
// while they open the store, and for longer while they prune it: ErrBusy.
func share(f *os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), shareWait)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		if ok, err := tryLock(f, shared); ok || err != nil {
			return err
		}
		if sleep(ctx, wait) != nil {
			return ErrBusy
		}
	}
}

// shareInstead is share for who may have f alone.
func shareInstead(f *os.File, alone bool) error {
	if alone {
		if err := unlock(f); err != nil {
			return err
		}
	}
	return share(f)
}

// Hold takes a share of the folder dir, which is made if there is none, as Open does:
// for a folder that lies beside a store and goes with it. Close lets go of it.
func Hold(dir string) (io.Closer, error) {
	return hold(dir, share)
}

// HoldAlone has the folder dir for the caller alone; ErrBusy while anybody holds it.
func HoldAlone(dir string) (io.Closer, error) {
	return hold(dir, func(f *os.File) error {
		ok, err := tryLock(f, exclusive)
		if err == nil && !ok {
			err = ErrBusy
		}
		return err
	})
}

func hold(dir string, lock func(*os.File) error) (io.Closer, error) {
	err := os.MkdirAll(dir, dirMode)
	if err != nil {
		return nil, fmt.Errorf("holding the folder %q: %w", dir, err)
	}
	f, err := openFolder(dir)
	if err == nil {
		if err = lock(f); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("holding the folder %q: %w", dir, err)
	}
	return f, nil
}

// lockPartial waits until nobody else works on the partial blob name, and returns
// what lets go of it.
func (s *Store) lockPartial(ctx context.Context, name string) (func(), error) {
	path := s.ingestPath(name + lockSuffix)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		f, err := acquire(path)
		if err != nil {
			return nil, fmt.Errorf("locking %q: %w", path, err)
		}
		if f != nil {
			return func() { release(f) }, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// acquire takes the lock file at path, or returns nil if another has it. A lock
// file goes away with its holder, so what was locked must still be what lies there.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		if beingRemoved(err) {
			err = nil
		}
		return nil, err
	}
	ok, err := tryLock(f, exclusive)
	if err != nil || !ok {
		return nil, errors.Join(err, f.Close())
	}
	mine, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	there, err := os.Stat(path)
	if err != nil || !os.SameFile(mine, there) {
		return nil, f.Close()
	}
	return f, nil
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
