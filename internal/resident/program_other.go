//go:build !linux

package resident

// dropProgram does nothing: there is no portable way.
func dropProgram() error { return nil }
