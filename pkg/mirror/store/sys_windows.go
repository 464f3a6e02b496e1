package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

type lockKind uint32

const (
	shared    lockKind = 0
	exclusive lockKind = windows.LOCKFILE_EXCLUSIVE_LOCK
)

// tryLock locks f unless another has it. The lock ends when f is closed, also by
// the death of the process.
func tryLock(f *os.File, kind lockKind) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), uint32(kind)|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, &os.PathError{Op: "LockFileEx", Path: f.Name(), Err: err}
}

func unlock(f *os.File) error {
	if err := windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{}); err != nil {
		return &os.PathError{Op: "UnlockFileEx", Path: f.Name(), Err: err}
	}
	return nil
}

// release lets go of a lock file and removes it, in this order: what is open can't
// be removed, so nobody's lock file is taken away.
func release(f *os.File) {
	_ = f.Close()           // nothing was written
	_ = os.Remove(f.Name()) // left behind it does no harm
}

// beingRemoved tells whether a lock file can't be opened only because it is about
// to go.
func beingRemoved(err error) bool {
	return errors.Is(err, windows.ERROR_DELETE_PENDING) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
}

// freeSpace is what this process may still write below dir, in bytes.
func freeSpace(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(free), nil
}

// syncDir has nothing to do: folders can't be synced here, NTFS journals names.
func syncDir(string) error { return nil }
