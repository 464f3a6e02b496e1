package intake

import (
	"os"
	"syscall"
)

// inode is the file system a file is in, its number there, and when that inode
// changed last, in nanoseconds.
func inode(info os.FileInfo) (device, number uint64, changed int64) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, 0
	}
	return st.Dev, st.Ino, st.Ctim.Nano()
}
