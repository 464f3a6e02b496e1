package archive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Causes inside a *DamagedError or of a refused document, where a caller may want
// to tell them apart.
var (
	// ErrName says that an entry's name is not one format v1 allows.
	ErrName = errors.New("name not allowed")
	// ErrDuplicate says that something which must be there once is there twice.
	ErrDuplicate = errors.New("duplicate")
	// ErrUnknown says that a volume has an entry that contents.json does not list.
	ErrUnknown = errors.New("not listed in contents.json")
	// ErrMissing says that no volume has an entry that contents.json lists.
	ErrMissing = errors.New("missing from the volumes")
	// ErrOrder says that an entry is not where it belongs.
	ErrOrder = errors.New("not in its place")
	// ErrHeader says that a tar header is not the canonical one.
	ErrHeader = errors.New("not a canonical tar header")
	// ErrDigest says that content has another digest than the one signed.
	ErrDigest = errors.New("wrong digest")
	// ErrSize says that an entry has another size than the one signed.
	ErrSize = errors.New("wrong size")
	// ErrTooLarge says that something is larger than its bound.
	ErrTooLarge = errors.New("too large")
)

// MissingVolumeError says which volumes of a bundle were not found.
type MissingVolumeError struct {
	Missing []int // numbers, ascending
	Count   int   // of the bundle's volumes
}

func (e *MissingVolumeError) Error() string {
	names := make([]string, len(e.Missing))
	for i, n := range e.Missing {
		names[i] = fmt.Sprint(n)
	}
	return fmt.Sprintf("missing volume %s of %d", strings.Join(names, ", "), e.Count)
}

// DuplicateVolumeError says that two files are the same volume of a bundle.
type DuplicateVolumeError struct {
	Number int
	Paths  [2]string
}

func (e *DuplicateVolumeError) Error() string {
	return fmt.Sprintf("volume %d is there twice, %q and %q", e.Number, e.Paths[0], e.Paths[1])
}

// ForeignVolumeError says that a file is a volume of another bundle.
type ForeignVolumeError struct {
	Path, Other string        // the file, and one that was found before it
	Want, Got   digest.Digest // of bundle.json: Other's, and the file's
}

func (e *ForeignVolumeError) Error() string {
	return fmt.Sprintf("volume %q belongs to bundle %s, not to %s as %q does", e.Path, e.Got, e.Want, e.Other)
}

// NotABundleError says that a file is not a volume, or that a folder holds none.
type NotABundleError struct {
	Path string
	Err  error // why, nil for a folder
}

func (e *NotABundleError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("no volume of a bundle in %q", e.Path)
	}
	return fmt.Sprintf("%q is not a volume of a bundle: %v", e.Path, e.Err)
}

func (e *NotABundleError) Unwrap() error { return e.Err }

// DamagedError says that a volume is not what was signed, and where.
type DamagedError struct {
	Volume    string        // path of the volume; empty when no single one is to blame
	Entry     string        // name of the entry; empty when the volume as a whole is meant
	Want, Got digest.Digest // set when a digest was compared
	Err       error
}

func (e *DamagedError) Error() string {
	var b strings.Builder
	b.WriteString("damaged")
	if e.Volume != "" {
		fmt.Fprintf(&b, " volume %q", e.Volume)
	}
	if e.Entry != "" {
		fmt.Fprintf(&b, " entry %q", e.Entry)
	}
	if e.Want != "" {
		fmt.Fprintf(&b, ": want %s, got %s", e.Want, e.Got)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *DamagedError) Unwrap() error { return e.Err }

// VolumeSizeError says that a volume of the size asked for cannot hold what each
// must.
type VolumeSizeError struct {
	Limit, Minimum int64 // bytes
}

func (e *VolumeSizeError) Error() string {
	return fmt.Sprintf("volumes of %d bytes are too small for this bundle, which needs at least %d", e.Limit, e.Minimum)
}
