package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/pkg/sign"
	"naru/pkg/sign/verify"
)

// newSigner makes a key pair and returns its signer and the file of its public half.
func newSigner(t *testing.T) (*sign.Signer, string) {
	t.Helper()
	password := func(context.Context, bool) ([]byte, error) { return []byte("secret"), nil }
	pair := must(sign.GenerateKeyPair(t.Context(), filepath.Join(t.TempDir(), "cosign"), password))(t)
	return must(sign.LoadSigner(t.Context(), pair.PrivatePath, password))(t), pair.PublicPath
}

// TestRevokedKeyReachesTheDepot: keys of revoked/ stayed on the installer's machine, and
// the depots went on to serve what they had signed. One bundle that is refused leaves
// the others served.
func TestRevokedKeyReachesTheDepot(t *testing.T) {
	good, goodKey := newSigner(t)
	bad, badKey := newSigner(t)
	here, depot := t.TempDir(), t.TempDir() // trust folders of the installer and of the depot
	for _, k := range []string{goodKey, badKey} {
		ok(t, os.WriteFile(filepath.Join(here, filepath.Base(filepath.Dir(k))+".pub"), must(os.ReadFile(k))(t), 0o600))
	}
	ok(t, os.WriteFile(filepath.Join(here, ".hidden.pub"), []byte("no key"), 0o600))
	carry := func() {
		t.Helper()
		c := &Cluster{Intake: intake.Options{TrustDir: here}}
		for _, f := range must(c.trustedKeys())(t) {
			to := filepath.Join(depot, strings.TrimPrefix(f.Path, trustPath))
			ok(t, os.MkdirAll(filepath.Dir(to), 0o755))
			ok(t, os.WriteFile(to, f.Content, 0o600))
		}
	}
	o := ServeOptions{Intake: intake.Options{TrustDir: depot}, Carried: []string{newSignedBundle(t, "a", bad), newSignedBundle(t, "b", good)}, AllowUnscanned: true}
	served := func() (n int, refused []string, err error) {
		o.OnRefused = func(dir string, err error) {
			if !errors.As(err, new(*verify.RevokedError)) {
				t.Errorf("refused for %v", err)
			}
			refused = append(refused, dir)
		}
		list, err := openServed(t.Context(), o)
		if err != nil {
			return 0, refused, err
		}
		defer list.close()
		return len(list.bundles), refused, nil
	}
	carry()
	if n, refused, err := served(); n != 2 || len(refused) != 0 || err != nil {
		t.Fatalf("%d served, %v refused, %v", n, refused, err)
	}
	ok(t, os.Mkdir(filepath.Join(here, "revoked"), 0o755))
	ok(t, os.WriteFile(filepath.Join(here, "revoked", "bad.pub"), must(os.ReadFile(badKey))(t), 0o600))
	carry()
	if n, refused, err := served(); n != 1 || !slices.Equal(refused, o.Carried[:1]) || err != nil {
		t.Errorf("%d served, %v refused, %v", n, refused, err)
	}
	o.Intake.SkipVerify = true // a depot that takes what nobody signed takes no less heed
	if n, refused, err := served(); n != 1 || !slices.Equal(refused, o.Carried[:1]) || err != nil {
		t.Errorf("whoever signed: %d served, %v refused, %v", n, refused, err)
	}
	o.Intake.SkipVerify = false
	o.Carried = o.Carried[:1]
	if _, _, err := served(); !errors.As(err, new(*verify.RevokedError)) {
		t.Errorf("a depot with nothing left: %v", err)
	}
}

// TestDepotKeepsWhatItAccepts: another bundle carried without the flags took the
// earlier one's from the unit, and the depot down.
func TestDepotKeepsWhatItAccepts(t *testing.T) {
	c, hosts := planes(t, "a")
	c.Site.Depot.Dir = "/var/lib/naru/bundles"
	c.Set = &carried.Set{}
	at := hosts["a"].dir
	if a, err := c.acceptedBefore(t.Context(), c.Hosts[0]); err != nil || a != (accepts{}) {
		t.Errorf("a depot without a unit: %+v, %v", a, err)
	}
	write := func(name, text string) {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(at, name)), 0o755))
		ok(t, os.WriteFile(filepath.Join(at, name), []byte(text), 0o600))
	}
	write(depotUnitPath, string(c.depotUnit(accepts{unverified: true})))
	if a, err := c.acceptedBefore(t.Context(), c.Hosts[0]); err != nil || a != (accepts{}) {
		t.Errorf("a depot without other bundles: %+v, %v", a, err)
	}
	write("/var/lib/naru/bundles/x/.complete", "sha256:01\n")
	a, err := c.acceptedBefore(t.Context(), c.Hosts[0])
	if err != nil || a != (accepts{unverified: true}) {
		t.Errorf("a depot with another bundle: %+v, %v", a, err)
	}
	if !strings.Contains(string(c.depotUnit(a)), flagUnverified) || strings.Contains(string(c.depotUnit(a)), flagUnscanned) {
		t.Errorf("unit %s", c.depotUnit(a))
	}
}
