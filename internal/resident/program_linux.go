package resident

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dropProgram drops the resident pages of the program's file that are mapped to be
// read or executed. They are the file's own, so that nothing is lost; a mapping of which
// any page was written to (by the dynamic linker, a debugger) is left alone.
func dropProgram() error {
	maps, err := programMaps()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range maps {
		// Not unix.Madvise: it takes a slice, which the program's code is none.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("dropping the program's pages: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// mapping is a part of the address space.
type mapping struct{ from, to uintptr }

// programMaps are the mappings of the program's file that hold nothing but what the
// file holds: private, not writable, and no page of them anonymous.
func programMaps() (maps []mapping, err error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("finding the program's mappings: %w", err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, fmt.Errorf("finding the program's mappings: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var m mapping
	ours := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if head, ok := parseMapping(line); ok {
			m = head
			ours = (strings.Contains(line, " r--p ") || strings.Contains(line, " r-xp ")) && strings.HasSuffix(line, " "+program)
			continue
		}
		if kib, ok := strings.CutPrefix(line, "Anonymous:"); ok && ours && strings.TrimSpace(kib) == "0 kB" {
			maps = append(maps, m)
		}
	}
	return maps, lines.Err()
}

// parseMapping reads the line that a mapping begins with in smaps: from-to in
// hexadecimal, permissions, offset, device, inode, file.
func parseMapping(line string) (mapping, bool) {
	var m mapping
	var permissions string
	n, err := fmt.Sscanf(line, "%x-%x %4s", &m.from, &m.to, &permissions)
	return m, n == 3 && err == nil && m.from < m.to
}
