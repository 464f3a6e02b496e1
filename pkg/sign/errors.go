package sign

import (
	"errors"
	"fmt"
)

// ErrPassword says that a private key did not open: the password is wrong, or the
// file is damaged, which its encryption cannot tell apart.
var ErrPassword = errors.New("wrong password, or the key is damaged")

// ErrNoPassword says that nothing gives a password: no file, no environment
// variable and no terminal to ask on.
var ErrNoPassword = errors.New("no password given and no terminal to ask on")

// ErrPasswordsDiffer says that the two passwords typed for a new key differ.
var ErrPasswordsDiffer = errors.New("the two passwords differ")

// KeyFormatError says that a private key is not one that cosign makes.
type KeyFormatError struct {
	Ref    string
	Reason string
}

func (e *KeyFormatError) Error() string {
	return fmt.Sprintf("loading the private key %q: %s", e.Ref, e.Reason)
}

// KeyTypeError says that a key cannot sign what naru signs.
type KeyTypeError struct {
	Ref string
	Err error
}

func (e *KeyTypeError) Error() string {
	return fmt.Sprintf("loading the private key %q: %v", e.Ref, e.Err)
}

func (e *KeyTypeError) Unwrap() error { return e.Err }

// UnsupportedRefError says that a key reference names a key store that this
// program cannot reach.
type UnsupportedRefError struct {
	Ref string
	// Plugin is the program which would make it work; empty if none would.
	Plugin string
}

func (e *UnsupportedRefError) Error() string {
	if e.Plugin == "" {
		return fmt.Sprintf("loading the private key %q: this kind of key reference is not supported; "+
			"use a key file, env://NAME or a sigstore plugin", e.Ref)
	}
	return fmt.Sprintf("loading the private key %q: no cloud SDK is built in and the sigstore plugin %q is not on the PATH",
		e.Ref, e.Plugin)
}
