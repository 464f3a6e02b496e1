package store

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrUnsupportedDigest says that a digest is malformed or not SHA-256.
	ErrUnsupportedDigest = errors.New("not a SHA-256 digest")
	// ErrTooLarge says that a blob is larger than its reader is ready for.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrOffset says that a source went on at another offset than it was asked to,
	// also when asked for the start.
	ErrOffset = errors.New("the source answers with another range than asked for")
	// ErrEmptyEncoding says that a packed form that is to be kept has no bytes.
	ErrEmptyEncoding = errors.New("the packed form is empty")
	// ErrBusy says that another process, or another Store, has the folder open.
	ErrBusy = errors.New("the store is in use")
	// ErrShared says that a store is to be pruned that was not opened alone.
	ErrShared = errors.New("the store may be in use by others")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// MismatchError says that content is not what it was expected to be. Nothing of it
// is kept.
type MismatchError struct {
	// Source says where the content is from, as the caller named it.
	Source string
	// Want and Got are the digests expected and found. Got is empty if so much more
	// came than expected that it was not read to its end.
	Want, Got digest.Digest
	// WantSize and GotSize are in bytes; WantSize is -1 where any size would do, and
	// GotSize is a lower bound if Got is empty. Both are 0 where sizes played no part.
	WantSize, GotSize int64
}

func (e *MismatchError) Error() string {
	switch {
	case e.Got == "":
		return fmt.Sprintf("checking %q: expected %s of %d bytes, got more than %d bytes", e.Source, e.Want, e.WantSize, e.GotSize-1)
	case e.WantSize >= 0 && e.WantSize != e.GotSize:
		return fmt.Sprintf("checking %q: expected %s of %d bytes, got %s of %d bytes", e.Source, e.Want, e.WantSize, e.Got, e.GotSize)
	default:
		return fmt.Sprintf("checking %q: expected %s, got %s", e.Source, e.Want, e.Got)
	}
}

// bodyError is an error in the middle of a body. Whatever broke it, fetching may
// go on from there.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }
