package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names in a trust folder.
const (
	keySuffix  = ".pub"
	revokedDir = "revoked"
)

// LoadKeys trusts the public keys in files. With no file the keyring is empty.
func LoadKeys(paths ...string) (*Keyring, error) {
	k := &Keyring{}
	for _, path := range paths {
		key, err := loadKey(path)
		if err != nil {
			return nil, err
		}
		k.Trust(key)
	}
	return k, nil
}

// LoadTrustDir trusts every *.pub file of a folder and revokes those in its
// subfolder revoked/, where there is one. Other files of the folder are passed
// over, but one in revoked/ that is not a key is an error: it would be a key that
// somebody believes revoked. Names that begin with a dot are passed over in both.
// All broken keys are reported at once. A missing folder is fs.ErrNotExist.
func LoadTrustDir(dir string) (*Keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the trust folder: %w", err)
	}
	k := &Keyring{}
	var problems []error
	for _, e := range entries {
		if !visible(e) || !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		key, err := loadKey(filepath.Join(dir, e.Name()))
		problems = append(problems, err)
		k.Trust(key)
	}
	revoked, err := os.ReadDir(filepath.Join(dir, revokedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the revoked keys: %w", err)
	}
	for _, e := range revoked {
		if !visible(e) {
			continue
		}
		key, err := loadKey(filepath.Join(dir, revokedDir, e.Name()))
		problems = append(problems, err)
		k.Revoke(key)
	}
	if err := errors.Join(problems...); err != nil {
		// Not as it is: a key that cannot be read may be fs.ErrNotExist (a dangling
		// link), which callers take for a folder that is not there.
		return nil, &MalformedError{What: "the trust folder", Err: errors.New(err.Error())}
	}
	return k, nil
}

func visible(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), ".") }

func loadKey(path string) (Key, error) {
	data, err := readFile(path, MaxKeySize)
	if err != nil {
		return Key{}, fmt.Errorf("reading a public key: %w", err)
	}
	return ParseKey(path, data)
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) (_ []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%q is larger than the %d bytes it may have", path, limit)
	}
	return data, nil
}
