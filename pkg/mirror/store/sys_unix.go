//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

type lockKind int

const (
	shared    lockKind = unix.LOCK_SH
	exclusive lockKind = unix.LOCK_EX
)

// tryLock locks f unless another has it. The lock ends when f is closed, also by
// the death of the process.
func tryLock(f *os.File, kind lockKind) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), int(kind)|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
	}
}

func unlock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}

// release lets go of a lock file and removes it: while it is held, as who locks it
// after us must find that it is gone.
func release(f *os.File) {
	_ = os.Remove(f.Name()) // left behind it does no harm
	_ = f.Close()           // nothing was written
}

// beingRemoved tells whether a lock file can't be opened only because it is about
// to go, which there is no such thing as here.
func beingRemoved(error) bool { return false }

// freeSpace is what an unprivileged process may still write below dir, in bytes.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the field's type differs between systems
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
