package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// damages collects every *archive.DamagedError in err.
func damages(err error) []*archive.DamagedError {
	switch e := err.(type) { //nolint:errorlint // this walks the tree itself
	case nil:
		return nil
	case *archive.DamagedError:
		return []*archive.DamagedError{e}
	case interface{ Unwrap() []error }:
		var out []*archive.DamagedError
		for _, one := range e.Unwrap() {
			out = append(out, damages(one)...)
		}
		return out
	case interface{ Unwrap() error }:
		return damages(e.Unwrap())
	}
	return nil
}

// namesEntry reports whether err blames one of the regions' entries in this volume.
func namesEntry(err error, volume string, regions []region) bool {
	for _, d := range damages(err) {
		for _, r := range regions {
			if (d.Entry == r.entry || d.Entry == r.blob()) && blames(d, volume) {
				return true
			}
		}
	}
	return false
}

// blames reports whether a volume is named. Of a blob that is cut, and whose parts
// can each be what they claim, all volumes that hold some are.
func blames(d *archive.DamagedError, volume string) bool {
	for _, path := range strings.Split(d.Volume, ", ") {
		if filepath.Base(path) == volume {
			return true
		}
	}
	return false
}

// namesVolume reports whether err says which volume is to blame: by name, or by
// number when the file is not to be recognised as a volume any more.
func namesVolume(err error, volume string, number int) bool {
	for _, d := range damages(err) {
		if blames(d, volume) {
			return true
		}
	}
	var missing *archive.MissingVolumeError
	return errors.As(err, &missing) && slices.Contains(missing.Missing, number)
}

// explained reports whether err is one that says what is wrong with a set of volumes.
func explained(err error) bool {
	var (
		missing   *archive.MissingVolumeError
		duplicate *archive.DuplicateVolumeError
		foreign   *archive.ForeignVolumeError
		none      *archive.NotABundleError
		version   *manifest.VersionError
		match     *verify.NoMatchError
		document  *verify.DigestError
		malformed *verify.MalformedError
	)
	return len(damages(err)) > 0 || errors.As(err, &missing) || errors.As(err, &duplicate) || errors.As(err, &foreign) ||
		errors.As(err, &none) || errors.As(err, &version) || errors.As(err, &match) || errors.As(err, &document) || errors.As(err, &malformed)
}
