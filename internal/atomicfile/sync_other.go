//go:build !unix

package atomicfile

// syncDir does nothing: this system has no way to sync a folder.
func syncDir(string) error { return nil }
