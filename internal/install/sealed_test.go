package install

import (
	"slices"
	"strings"
	"testing"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// TestPullWithoutARuntimeProvesNothing: where there is no ctr, or no containerd behind
// it, every pull fails at once.
func TestPullWithoutARuntimeProvesNothing(t *testing.T) {
	run := scripted(func(argv []string) (string, int) {
		argv = slices.Clone(argv)
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], "/usr/local/bin/ctr", "/nonexistent/ctr")
		}
		return here(argv)
	})
	h := &bootstrap.Host{SiteHost: &manifest.SiteHost{Name: "node"}, Runner: run}
	if p, err := tryPull(t.Context(), h); err == nil {
		t.Errorf("%+v, want an error", p)
	}
}
