// Package intake opens bundles for whoever reads them: it finds the trusted keys,
// checks the signature before anything else of a bundle is believed, verifies the
// content, and records what was verified so that it need not be done again.
package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// Options say which bundle is opened and who is trusted to have signed it.
type Options struct {
	// Paths are volumes, or folders that hold them.
	Paths []string
	// Keys are files of public keys.
	Keys []string
	// TrustDir is a folder of public keys with a revoked/ folder in it; one that
	// does not exist is as good as empty.
	TrustDir string
	// SkipVerify opens a bundle whoever signed it, or nobody, but for the keys that
	// TrustDir has revoked: what these signed is refused all the same. Loud and recorded.
	SkipVerify bool
}

// Bundle is an opened bundle with what is known of its signature.
type Bundle struct {
	*archive.Reader
	// Signer is the fingerprint of the key that signed it; empty when nobody checked.
	Signer string

	ring *verify.Keyring // nil when nobody is asked who signed
	// revoked are the keys whose signatures are refused where nobody else is asked for;
	// nil for none.
	revoked *verify.Keyring
}

// ErrNoTrust says that no key is there to verify a signature with.
var ErrNoTrust = errors.New("verifying the bundle: no trusted key given")

// Open opens one bundle. Without a trusted key it is ErrNoTrust; errors of the
// signature are those of package verify, those of the volumes of package archive.
func Open(ctx context.Context, o Options) (*Bundle, error) {
	if o.SkipVerify {
		return openUnverified(ctx, o)
	}
	ring, err := o.keyring()
	if err != nil {
		return nil, err
	}
	b := &Bundle{ring: ring}
	b.Reader, err = archive.Open(ctx, o.Paths, func(bundleJSON, signature []byte) error {
		key, err := ring.VerifyBundle(bundleJSON, signature)
		b.Signer = key.Fingerprint()
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// openUnverified opens a bundle that anybody may have signed but those who were revoked.
// Without revoked keys nothing is looked at; whoever takes the signature off is not found.
func openUnverified(ctx context.Context, o Options) (*Bundle, error) {
	b := &Bundle{}
	var err error
	if b.revoked, err = o.revokedKeys(); err != nil {
		return nil, err
	}
	if b.revoked == nil {
		b.Reader, err = archive.OpenUnsafe(ctx, o.Paths)
	} else {
		b.Reader, err = archive.Open(ctx, o.Paths, func(bundleJSON, signature []byte) error {
			_, err := b.revoked.VerifyBundle(bundleJSON, signature)
			return onlyRevoked(err)
		})
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// revokedKeys is a keyring by which every signature of a revoked key of the trust folder
// is a *verify.RevokedError, and every other one some other error; nil without such keys.
func (o Options) revokedKeys() (*verify.Keyring, error) {
	if o.TrustDir == "" {
		return nil, nil
	}
	dir, err := verify.LoadTrustDir(o.TrustDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys := dir.Revoked()
	if len(keys) == 0 {
		return nil, nil
	}
	ring := verify.NewKeyring(keys...)
	ring.Revoke(keys...)
	return ring, nil
}

// onlyRevoked is err where a revoked key made the signature, else nil.
func onlyRevoked(err error) error {
	var revoked *verify.RevokedError
	if errors.As(err, &revoked) {
		return err
	}
	return nil
}

// keyring is every key that o trusts.
func (o Options) keyring() (*verify.Keyring, error) {
	ring, err := verify.LoadKeys(o.Keys...)
	if err != nil {
		return nil, err
	}
	if o.TrustDir != "" {
		fromDir, err := verify.LoadTrustDir(o.TrustDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			ring.Merge(fromDir)
		}
	}
	if ring.Empty() {
		return nil, ErrNoTrust
	}
	return ring, nil
}

// OpenAll opens the bundles that lie at the paths, each once. A path may hold a
// whole bundle, or the volumes of one bundle may lie at several of the paths. On
// an error those opened are closed again.
func OpenAll(ctx context.Context, o Options) ([]*Bundle, error) {
	var out []*Bundle
	var parts []string
	for _, path := range o.Paths {
		b, err := o.openAt(ctx, path)
		var missing *archive.MissingVolumeError
		if errors.As(err, &missing) && len(o.Paths) > 1 {
			parts = append(parts, path)
			continue
		}
		if err != nil {
			CloseAll(out)
			return nil, fmt.Errorf("opening %q: %w", path, err)
		}
		out = addOnce(out, b)
	}
	if len(parts) == 0 {
		return out, nil
	}
	b, err := o.openAt(ctx, parts...)
	if err != nil {
		CloseAll(out)
		return nil, fmt.Errorf("opening %q together: %w", parts, err)
	}
	return addOnce(out, b), nil
}

func (o Options) openAt(ctx context.Context, paths ...string) (*Bundle, error) {
	o.Paths = paths
	return Open(ctx, o)
}

// addOnce adds b unless the same bundle is in the list, and closes it then.
func addOnce(list []*Bundle, b *Bundle) []*Bundle {
	for _, have := range list {
		if have.BundleDigest() == b.BundleDigest() {
			_ = b.Close()
			return list
		}
	}
	return append(list, b)
}

// CloseAll closes bundles.
func CloseAll(list []*Bundle) {
	for _, b := range list {
		_ = b.Close()
	}
}

// fileID is what tells that a volume is still the file it was, in the file system it
// was in: another disc at the same mount point is another device, or was written to
// at another time.
type fileID struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime"` // nanoseconds, of the content
	CTime  int64  `json:"ctime"` // nanoseconds, of the inode; 0 where there is none
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func identify(path string, info os.FileInfo) fileID {
	id := fileID{Path: path, Size: info.Size(), MTime: info.ModTime().UnixNano()}
	id.Device, id.Inode, id.CTime = inode(info)
	return id
}
