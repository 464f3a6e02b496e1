// Package resident keeps small what a program holds of the machine's memory.
//
// What the kernel counts as a program's memory is more than what it allocates: the
// pages of the program's own file that were mapped in count as well, and the heap that
// was collected but not given back. A program of 160 MB that links a scanner runs the
// initialisation of all its parts, whichever part it is asked for, and has 75 MB of its
// file mapped in before main starts, of which a build needs a fifth.
package resident

import "runtime/debug"

// Trim gives back what was needed up to now and may not be any more: it collects
// garbage, returns the free heap, and drops the pages of the program's file that were
// not written to. Those still needed are mapped in again as they are touched, from the
// page cache, some dozen at a time. It takes some 20 ms, so it belongs between the steps
// of a long run, before one that takes much memory at once. It cannot fail: where a
// system has no such way, nothing is dropped.
func Trim() {
	debug.FreeOSMemory()
	_ = dropProgram() // what is not dropped costs memory and nothing else
}
