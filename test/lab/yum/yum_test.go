package yum

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBuild builds the whole lab.
func TestBuild(t *testing.T) {
	dir, err := os.MkdirTemp("", "yl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d, err := Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for _, arch := range both {
		for _, f := range []string{"repodata/repomd.xml", "repodata/repomd.xml.asc", "Packages/lab-data-1-1.noarch.rpm", "Packages/lab-tool-1-1." + arch + ".rpm"} {
			if _, err := os.Stat(filepath.Join(d.Repository("base", arch), f)); err != nil {
				t.Error(err)
			}
		}
	}
}
