package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/internal/atomicfile"
	"naru/manifest"
	"naru/pkg/archive"
)

// kindRegistration is the kind of a registration record.
const kindRegistration = "Registration"

// registration says that the volumes of a bundle were verified whole, and which
// files they were.
type registration struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Bundle     digest.Digest `json:"bundle"`
	Volumes    []fileID      `json:"volumes"`
}

// Register verifies b whole, unless a record in dir says that these very files
// were verified before, and records it. It reports whether it had to verify. A
// record is worth that ranges of blobs are read without hashing the whole blob first;
// what is read from start to end is hashed all the same.
func Register(ctx context.Context, b *Bundle, dir string, opts archive.VerifyOptions) (bool, error) {
	now := describe(b)
	path := filepath.Join(dir, now.Bundle.Encoded()+".json")
	if known, err := readRegistration(path); err != nil {
		return false, err
	} else if known != nil && known.Bundle == now.Bundle && slices.Equal(known.Volumes, now.Volumes) {
		for _, blob := range b.Contents().Blobs {
			b.MarkVerifiedUnsafe(blob.Digest)
		}
		return false, nil
	}
	if _, err := b.Verify(ctx, opts); err != nil {
		return true, err
	}
	if err := unchanged(b, now); err != nil {
		return true, err
	}
	data, err := manifest.EncodeJSON(now)
	if err != nil {
		return true, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return true, fmt.Errorf("making the state folder: %w", err)
	}
	return true, atomicfile.Write(path, data, 0o600)
}

// describe names the files that b has open.
func describe(b *Bundle) *registration {
	reg := &registration{APIVersion: manifest.APIVersion, Kind: kindRegistration, Bundle: b.BundleDigest()}
	for _, v := range b.Volumes() {
		reg.Volumes = append(reg.Volumes, identify(v.Path, v.Info))
	}
	return reg
}

// ErrVolumeChanged says that a volume was replaced or written to while it was
// being verified.
var ErrVolumeChanged = errors.New("a volume changed while it was verified")

// unchanged compares the files that were verified with what lies at their paths.
func unchanged(b *Bundle, reg *registration) error {
	for i, v := range b.Volumes() {
		info, err := os.Stat(v.Path)
		if err != nil {
			return fmt.Errorf("looking at a volume: %w", err)
		}
		if !os.SameFile(info, v.Info) || identify(v.Path, info) != reg.Volumes[i] {
			return fmt.Errorf("registering %q: %w", v.Path, ErrVolumeChanged)
		}
	}
	return nil
}

// readRegistration is the record at path, or nil when there is none that this
// version can read.
func readRegistration(path string) (*registration, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a registration: %w", err)
	}
	var reg registration
	if err := manifest.DecodeJSON(data, kindRegistration, &reg); err != nil {
		return nil, nil //nolint:nilerr // an unreadable record only means verifying again
	}
	return &reg, nil
}
