package content

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"naru/test/lab/cache"
)

// renamed copies the programs of a folder so that they call themselves by another
// version, of the same length: the version is a string of the linker's, which stands in
// the program as it is.
func (b *builder) renamed(from, version, next string) (string, error) {
	if len(version) != len(next) {
		return "", fmt.Errorf("renaming %s to %s: they differ in length", version, next)
	}
	dir := filepath.Join(b.cache, "bin", shortHash([]byte("renamed "+filepath.Base(from)+" "+version+" "+next)))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b.step("renaming " + version + " to " + next)
	return dir, cache.Fill(dir, func(tmp string) error {
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(from, e.Name()))
			if err != nil {
				return err
			}
			if !bytes.Contains(data, []byte(version)) {
				return errors.New(e.Name() + " does not call itself " + version)
			}
			if err := os.WriteFile(filepath.Join(tmp, e.Name()), bytes.ReplaceAll(data, []byte(version), []byte(next)), 0o755); err != nil {
				return err
			}
		}
		return nil
	})
}
