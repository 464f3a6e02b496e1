package install

import (
	"slices"
	"testing"
)

// TestNamesAreThoseOfTheFirstStart: a cluster's network gives a host further
// addresses, which the depot's authority does not permit.
func TestNamesAreThoseOfTheFirstStart(t *testing.T) {
	dir := t.TempDir()
	first := []string{"localhost", "10.0.0.1"}
	for _, now := range [][]string{first, {"localhost", "10.0.0.1", "10.244.0.1"}, {"localhost"}} {
		got, err := keptNames(dir, now)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, first) {
			t.Errorf("at a start with %v: %v, want %v", now, got, first)
		}
	}
	if got, err := keptNames("", []string{"a"}); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("without a state folder: %v, %v", got, err)
	}
}
