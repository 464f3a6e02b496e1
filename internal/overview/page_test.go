package overview_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/overview"
	"naru/manifest"
)

var update = flag.Bool("update", false, "rewrite docs/releases")

// TestPages holds docs/releases against the releases; -update rewrites them.
func TestPages(t *testing.T) {
	names, err := manifest.ReleaseNames(manifest.EmbeddedReleases())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "demo" {
			continue
		}
		set, err := manifest.LoadRelease(manifest.EmbeddedReleases(), name)
		if err != nil {
			t.Fatal(err)
		}
		for file, language := range map[string]overview.Language{name + ".md": overview.English, name + ".ko.md": overview.Korean} {
			page, err := overview.Page(set, language)
			if err != nil {
				t.Fatal(err)
			}
			page = strings.TrimRight(page, "\n") + "\n"
			path := filepath.Join("../../docs/releases", file)
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != page {
				t.Errorf("%s is not what the release says: make docs (%v)", path, err)
			}
		}
	}
}
