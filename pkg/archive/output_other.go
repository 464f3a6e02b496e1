//go:build !linux

package archive

import (
	"errors"
	"os"
)

// setDirect is for systems that have such writes.
func setDirect(*os.File, bool) error { return errors.ErrUnsupported }

// reserve is for systems that can.
func reserve(*os.File, int64) error { return nil }

func notDirect(error) bool { return false }

// writeback does nothing where the kernel has no such call.
type writeback struct{ f *os.File }

func (w *writeback) wrote(int) {}
