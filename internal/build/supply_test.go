package build_test

import (
	"strings"
	"testing"
)

// TestWhatTheUserSuppliesIsSaid: a component that may not be redistributed is part of
// the selection and carries nothing, and the build says what to put where.
func TestWhatTheUserSuppliesIsSaid(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.ContentFiles = append(o.ContentFiles, w.write("lens.yaml", `apiVersion: naru/v1
kind: Content
components:
  - {id: lens, version: user, supply: user, supplyNote: put the installer at an address of yours}
`))
	n := &notes{}
	o.Progress = n
	got := w.run(o)
	if len(got.NotCarried) != 1 || got.NotCarried[0] != "lens" {
		t.Errorf("not carried: %v", got.NotCarried)
	}
	if said := strings.Join(n.said, "\n"); !strings.Contains(said, "lens is not carried: put the installer at an address of yours") {
		t.Errorf("said: %s", said)
	}
}
