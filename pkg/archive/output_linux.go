package archive

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// setDirect makes writes to f go past the page cache, or through it again.
func setDirect(f *os.File, direct bool) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var flagErr error
	err = conn.Control(func(fd uintptr) {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err == nil {
			flags &^= unix.O_DIRECT
			if direct {
				flags |= unix.O_DIRECT
			}
			_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
		}
		flagErr = err
	})
	return errors.Join(err, flagErr)
}

// reserve gives f room for size bytes, which is its size from then on, on FAT its room
// alone. Where the file system has no such thing, nothing happens.
func reserve(f *os.File, size int64) error {
	mode := uint32(0)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil && fs.Type == unix.MSDOS_SUPER_MAGIC {
		// FAT has no size without content: all of it would be written as zeros first.
		mode = unix.FALLOC_FL_KEEP_SIZE
	}
	err := unix.Fallocate(int(f.Fd()), mode, 0, size)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("taking room for %d bytes: %w", size, err)
	}
	return nil
}

// notDirect tells the refusal of a direct write from other errors.
func notDirect(err error) bool { return errors.Is(err, unix.EINVAL) }

// writeback asks the kernel to start writing what was written to f, so that the
// disk works while the volume is made and the final sync is short.
type writeback struct {
	f           *os.File
	from, until int64
}

const writebackStep = 64 << 20

func (w *writeback) wrote(n int) {
	w.until += int64(n)
	if w.until-w.from < writebackStep {
		return
	}
	// Only a hint: a file system that does not know it loses nothing.
	_ = unix.SyncFileRange(int(w.f.Fd()), w.from, w.until-w.from, unix.SYNC_FILE_RANGE_WRITE)
	w.from = w.until
}
