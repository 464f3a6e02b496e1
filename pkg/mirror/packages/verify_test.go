package packages

import (
	"context"
	"errors"
	"testing"

	"naru/manifest"
	"naru/pkg/mirror/store"
)

// refusing is a resolver that verifies nothing, and counts how often it is asked.
type refusing struct {
	Resolver
	err   error
	asked int
}

func (r *refusing) Verify(context.Context, Files, Request, *manifest.LockedPackages) error {
	r.asked++
	return r.err
}

// TestForgedNote holds that content of the store, which anybody's server may have put
// there, does not stand in for a verification.
func TestForgedNote(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	resolver := &refusing{err: errors.New("not signed")}
	c := New(nil, st, map[manifest.Family]Resolver{manifest.FamilyRPM: resolver}, 1)
	req := Request{
		Distribution: &manifest.Distribution{DistributionSpec: manifest.DistributionSpec{ID: "lab", Family: manifest.FamilyRPM,
			Sources: []manifest.PackageSource{{Name: "base", Keyring: "lab"}}}},
		Platform: "linux/amd64", Arch: "x86_64", Keyring: func(string) ([]byte, error) { return []byte("keys"), nil },
	}
	locked := &manifest.LockedPackages{Distribution: "lab", Platform: "linux/amd64"}
	note, err := verifiedNote(req, locked)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.PutBytes(t.Context(), note); err != nil {
		t.Fatal(err)
	}
	if err := c.FetchAll(t.Context(), req, locked); !errors.Is(err, resolver.err) {
		t.Errorf("a note among the blobs passes for a verification: %v", err)
	}
	resolver.err, resolver.asked = nil, 0
	for range 2 {
		if err := c.FetchAll(t.Context(), req, locked); err != nil {
			t.Fatal(err)
		}
	}
	if resolver.asked != 1 {
		t.Errorf("verified %d times, want once", resolver.asked)
	}
}
