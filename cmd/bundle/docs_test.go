package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"naru/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the pages in docs/cli")

// TestDocs holds that docs/cli/bundle.md is what the program says of itself.
func TestDocs(t *testing.T) {
	var page bytes.Buffer
	if err := cli.Markdown(&page, newRoot()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "cli", "bundle.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), page.String()); diff != "" {
		t.Errorf("docs/cli/bundle.md is not up to date, run make docs (-have +want):\n%s", diff)
	}
}

// TestDocsKnowNoMachine builds the page under another home folder.
func TestDocsKnowNoMachine(t *testing.T) {
	pages := make([]bytes.Buffer, 2)
	for i, home := range []string{t.TempDir(), t.TempDir()} {
		for _, name := range []string{"HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "TMPDIR"} {
			t.Setenv(name, home)
		}
		if err := cli.Markdown(&pages[i], newRoot()); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(pages[i].Bytes(), []byte(home)) {
			t.Errorf("the page names the folder %q", home)
		}
	}
	if !bytes.Equal(pages[0].Bytes(), pages[1].Bytes()) {
		t.Error("the page depends on the environment")
	}
}
