//go:build !linux

package archive

import (
	"errors"
	"os"
)

// setDirect is for systems that have such writes.
func setDirect(*os.File, bool) error { return errors.ErrUnsupported }

func notDirect(error) bool { return false }

// writeback does nothing where the kernel has no such call.
type writeback struct{ f *os.File }

func (w *writeback) wrote(int) {}
