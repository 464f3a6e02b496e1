//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hashFile is the SHA-256 of a file, in hex.
func hashFile(t *testing.T, paths ...string) string {
	t.Helper()
	h := sha256.New()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(h, f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tree are the files below dir with the SHA-256 of each.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, path := range filesOf(t, dir) {
		files[path] = hashFile(t, filepath.Join(dir, path))
	}
	return files
}

// filesOf are the paths of the files below dir, sorted.
func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// differing are the files that a and b do not have alike, sorted.
func differing(a, b map[string]string) []string {
	diff := map[string]bool{}
	for name := range a {
		diff[name] = a[name] != b[name]
	}
	for name := range b {
		diff[name] = a[name] != b[name]
	}
	maps.DeleteFunc(diff, func(_ string, differs bool) bool { return !differs })
	return slices.Sorted(maps.Keys(diff))
}

// unpack extracts every volume of a media folder with tar into a folder each.
func unpack(t *testing.T, media string) []string {
	t.Helper()
	var dirs []string
	for _, volume := range volumes(t, media) {
		dir := t.TempDir()
		ok(t, "tar", "--zstd", "-xf", volume, "-C", dir)
		dirs = append(dirs, dir)
	}
	return dirs
}

// volumes are the paths of the volumes in a media folder, sorted.
func volumes(t *testing.T, media string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(media, "*.tar.zst"))
	if err != nil || len(found) == 0 {
		t.Fatalf("volumes in %s: %v, %v", media, found, err)
	}
	slices.Sort(found)
	return found
}

// joined is the union of the trees of unpacked volumes, blobs that were cut
// put together again, without the entries that every volume has of its own.
func joined(t *testing.T, dirs []string) map[string]string {
	t.Helper()
	files, parts := map[string]string{}, map[string][]string{}
	for _, dir := range dirs {
		for _, name := range filesOf(t, dir) {
			path := filepath.Join(dir, name)
			if blob, part, cut := strings.Cut(name, "."); cut && strings.HasPrefix(name, "blobs/") {
				parts[blob] = append(parts[blob], path)
				if len(part) != len("0001-of-0002") {
					t.Errorf("a part is called %s", name)
				}
				continue
			}
			if name != "volume.json" && name != "toc.json" {
				files[name] = hashFile(t, path)
			}
		}
	}
	for blob, paths := range parts {
		files[blob] = hashFile(t, paths...)
	}
	return files
}
