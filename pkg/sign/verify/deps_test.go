package verify

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is everything beyond the standard library that this package may link:
// install carries it to a bare host.
var allowed = []string{
	"naru/pkg/sign/verify",
	"github.com/opencontainers/go-digest",
	"golang.org/x/sync/errgroup",
}

func TestLinksNothingHeavy(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	if !slices.Contains(got, "naru/pkg/sign/verify") {
		t.Fatalf("go list says %q", got)
	}
	for _, path := range got {
		if !slices.Contains(allowed, path) {
			t.Errorf("links %s", path)
		}
	}
}
