package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keepWrong takes note of wrong bytes.
func (t *tally) keepWrong(errs []error) {
	for _, err := range errs {
		t.count("wrong")
		t.fail(err)
	}
}

// readStore hashes the blobs of a store that are not in whole, adds those that are
// what their names say, and returns an error for each that is not.
func readStore(cache string, whole map[string]bool) ([]error, error) {
	dir := filepath.Join(cache, "blobs", "sha256")
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var wrong []error
	for _, f := range list {
		name := "sha256:" + f.Name()
		if whole[name] {
			continue
		}
		sum, err := hashFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if sum != f.Name() {
			wrong = append(wrong, fmt.Errorf("the store has %s under the name %s", sum, f.Name()))
			continue
		}
		whole[name] = true
	}
	return wrong, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stepList is "fetch 12, pack 30".
func stepList(steps map[string]int) string {
	var out []string
	for _, step := range slices.Sorted(maps.Keys(steps)) {
		out = append(out, fmt.Sprintf("%s %d", step, steps[step]))
	}
	return strings.Join(out, ", ")
}
