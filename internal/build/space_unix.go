//go:build unix

package build

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeSpace is what an unprivileged process may still write below path, in bytes.
func freeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("reading the free space of %q: %w", path, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the field's type differs between systems
}
