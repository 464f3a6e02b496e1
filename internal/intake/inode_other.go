//go:build !linux && !darwin

package intake

import "os"

// inode is all 0: this system has none of it that can be had from a FileInfo.
func inode(os.FileInfo) (device, number uint64, changed int64) { return 0, 0, 0 }
