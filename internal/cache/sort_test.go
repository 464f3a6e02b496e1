package cache

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"naru/pkg/mirror/store"
)

// TestSortBesideBuilds holds that a file that a build removes or renames while the cache
// is looked through is none.
func TestSortBesideBuilds(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1", "2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var p plan
	var remove, keep store.Tally
	err := p.sort(t.Context(), rule{dir: dir, remove: &remove, keep: &keep, stays: func(string, fs.FileInfo) bool {
		return os.Remove(filepath.Join(dir, "2")) == nil
	}})
	if err != nil || keep.Files != 1 || remove.Files != 0 {
		t.Errorf("kept %+v, removed %+v, %v", keep, remove, err)
	}
}
