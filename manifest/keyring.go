package manifest

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed keyrings
var keyrings embed.FS

// NoKeyringError says that naru carries no keyring of a name. It is fs.ErrNotExist.
type NoKeyringError struct {
	Name string
	Have []string
}

func (e *NoKeyringError) Error() string {
	return fmt.Sprintf("opening keyring %q: there is none of that name%s (there are: %s)", e.Name, suggest(e.Name, slices.Clone(e.Have)), strings.Join(e.Have, ", "))
}

func (e *NoKeyringError) Unwrap() error { return fs.ErrNotExist }

// Keyring is the OpenPGP keyring of a name as naru carries it: public keys,
// armored or binary. A name that is not there is a *NoKeyringError.
func Keyring(name string) ([]byte, error) {
	if !idRE.MatchString(name) {
		return nil, &NoKeyringError{Name: name, Have: KeyringNames()}
	}
	for _, ext := range []string{".asc", ".gpg"} {
		data, err := keyrings.ReadFile(path.Join("keyrings", name+ext))
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return nil, &NoKeyringError{Name: name, Have: KeyringNames()}
}

// KeyringNames lists the keyrings that naru carries, sorted.
func KeyringNames() []string {
	entries, err := keyrings.ReadDir("keyrings")
	if err != nil {
		return nil // cannot be: the folder is embedded by name
	}
	var names []string
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext == ".asc" || ext == ".gpg" {
			names = append(names, strings.TrimSuffix(e.Name(), ext))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
