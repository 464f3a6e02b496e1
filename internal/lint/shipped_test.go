package lint_test

import (
	"testing"

	"naru/internal/lint"
	"naru/manifest"
)

// TestShippedReleases wants every release that naru carries to have no errors.
func TestShippedReleases(t *testing.T) {
	names, err := manifest.ReleaseNames(manifest.EmbeddedReleases())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		report, err := lint.Run(t.Context(), lint.Options{Releases: manifest.EmbeddedReleases(), Release: name})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			if f.Severity == lint.Error {
				t.Error(f)
			} else {
				t.Log(f)
			}
		}
	}
}
