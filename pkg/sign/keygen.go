package sign

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sigstore/cosign/v2/pkg/cosign"

	"naru/pkg/sign/verify"
)

// KeyPair is a new key pair on disk.
type KeyPair struct {
	PrivatePath string // encrypted, mode 0600
	PublicPath  string // mode 0644
	Public      verify.Key
}

// GenerateKeyPair makes an ECDSA P-256 key pair and writes it as `cosign
// generate-key-pair --output-key-prefix prefix` does: prefix.key, encrypted with
// the password, and prefix.pub. It overwrites nothing: where either file is there,
// the error is fs.ErrExist and nothing was asked or written. On any error no new
// file is left.
func GenerateKeyPair(ctx context.Context, prefix string, password PasswordFunc) (KeyPair, error) {
	pair := KeyPair{PrivatePath: prefix + ".key", PublicPath: prefix + ".pub"}
	for _, path := range []string{pair.PrivatePath, pair.PublicPath} {
		if _, err := os.Lstat(path); err == nil {
			return KeyPair{}, fmt.Errorf("generating a key pair: %q: %w", path, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return KeyPair{}, fmt.Errorf("generating a key pair: %w", err)
		}
	}
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return password(ctx, true) })
	if err != nil {
		return KeyPair{}, fmt.Errorf("generating a key pair: %w", err)
	}
	if pair.Public, err = verify.ParseKey(pair.PublicPath, keys.PublicBytes); err != nil {
		return KeyPair{}, fmt.Errorf("generating a key pair: %w", err)
	}
	if err := create(pair.PrivatePath, keys.PrivateBytes, 0o600); err != nil {
		return KeyPair{}, fmt.Errorf("generating a key pair: %w", err)
	}
	if err := create(pair.PublicPath, keys.PublicBytes, 0o644); err != nil {
		return KeyPair{}, errors.Join(fmt.Errorf("generating a key pair: %w", err), os.Remove(pair.PrivatePath))
	}
	return pair, nil
}

// create writes a file that must not be there yet, with just that mode, and syncs
// it; on an error the file is gone again.
func create(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	return err
}
