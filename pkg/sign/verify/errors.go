package verify

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ErrNoKey says that the keyring trusts nobody, so nothing can be verified.
var ErrNoKey = errors.New("no trusted key")

// ErrMismatch is what a [FileError] wraps when a file is there but is not the one
// that was listed.
var ErrMismatch = errors.New("checksum mismatch")

// NoMatchError says that the signature is by none of the trusted keys, or that
// what it signs was changed.
type NoMatchError struct {
	// Tried are the fingerprints of the keys that were tried.
	Tried []string
	// Hint is what the signature says of its key, which nothing proves.
	Hint string
}

func (e *NoMatchError) Error() string {
	s := fmt.Sprintf("signature is by none of the trusted keys (tried %s)", strings.Join(e.Tried, ", "))
	if len(e.Tried) == 0 {
		s = "signature is by none of the trusted keys (all of them are revoked)"
	}
	if e.Hint != "" {
		s += fmt.Sprintf("; it claims to be by %q", e.Hint)
	}
	return s
}

// RevokedError says that the signature is good, but by a key that was revoked.
type RevokedError struct{ Key Key }

func (e *RevokedError) Error() string {
	return fmt.Sprintf("signature is by the revoked key %q (%s)", e.Key.Name(), e.Key.Fingerprint())
}

// DigestError says that a signature was made for another document: the digest it
// names is not that of the document.
type DigestError struct {
	Signed digest.Digest // as the signature says
	Got    digest.Digest // of the document
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("signature is for a document with digest %s, this one has %s", e.Signed, e.Got)
}

// MalformedError says that a key, a signature or a list of checksums is not in the
// format it must be in.
type MalformedError struct {
	What string // "public key", "sigstore bundle", "SHA256SUMS"
	Name string // of the file, where it is known
	Err  error
}

func (e *MalformedError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("parsing %s %q: %v", e.What, e.Name, e.Err)
	}
	return fmt.Sprintf("parsing %s: %v", e.What, e.Err)
}

func (e *MalformedError) Unwrap() error { return e.Err }

// FileError says what is wrong with one file of SHA256SUMS.
type FileError struct {
	Name string        // as listed
	Want digest.Digest // as listed
	Got  digest.Digest // of the file; empty when it could not be read
	// Err is ErrMismatch, fs.ErrNotExist for a file that is missing, or why it
	// could not be read.
	Err error
}

func (e *FileError) Error() string {
	if e.Got != "" {
		return fmt.Sprintf("%q: want %s, got %s", e.Name, e.Want, e.Got)
	}
	return fmt.Sprintf("%q: %v", e.Name, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// SumsError lists every file of SHA256SUMS that is not as it says, in the order of
// the list.
type SumsError struct {
	Files []*FileError // never empty
	Total int          // how many files are listed
}

func (e *SumsError) Error() string {
	lines := make([]string, len(e.Files))
	for i, f := range e.Files {
		lines[i] = f.Error()
	}
	return fmt.Sprintf("checking SHA256SUMS: %d of %d files are not as listed: %s",
		len(e.Files), e.Total, strings.Join(lines, "; "))
}

// Unwrap lets errors.As and errors.Is look at each file.
func (e *SumsError) Unwrap() []error {
	out := make([]error, len(e.Files))
	for i, f := range e.Files {
		out[i] = f
	}
	return out
}
