package build

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// freeSpace is what this process may still write below path, in bytes.
func freeSpace(path string) (int64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, fmt.Errorf("reading the free space of %q: %w", path, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("reading the free space of %q: %w", path, err)
	}
	return int64(free), nil
}
