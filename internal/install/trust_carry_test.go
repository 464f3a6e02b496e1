package install

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/internal/sitepki"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/sign/verify"
)

// unitless is rooted without a service manager: restarts are counted, and fail as long
// as broken says so. A host that is gone answers nothing.
type unitless struct {
	rooted
	restarts     *int
	broken, gone *bool
}

func (u unitless) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	switch {
	case *u.gone:
		return nil, &bootstrap.ConnectError{Host: u.dir, Address: "test", Err: errors.New("gone")}
	case !strings.Contains(strings.Join(c.Argv, " "), "systemctl"):
		return u.rooted.Run(ctx, c)
	case *u.broken:
		return nil, errors.New("cut off")
	case strings.Contains(strings.Join(c.Argv, " "), "journalctl"):
		return &bootstrap.Result{}, nil
	}
	*u.restarts++
	return &bootstrap.Result{}, nil
}

// TestKeysReachEveryDepot: a depot that was down kept revoked keys from the others, one
// whose restart was cut off never read them, and a note among the revoked keys was carried
// to all of them, none of which started again.
func TestKeysReachEveryDepot(t *testing.T) {
	_, key := newSigner(t)
	here := t.TempDir()
	c, files := planes(t, "a", "b")
	hosts := map[string]unitless{}
	for i, h := range c.Hosts {
		c.Site.Hosts[i].Roles = append(c.Site.Hosts[i].Roles, manifest.RoleDepot)
		u := unitless{rooted: files[h.Name], restarts: new(int), broken: new(bool), gone: new(bool)}
		hosts[h.Name], h.Runner = u, u
	}
	c.Intake = intake.Options{TrustDir: here}
	if _, err := c.carryTrust(t.Context()); !errors.Is(err, intake.ErrNoTrust) {
		t.Errorf("nothing to carry: %v", err)
	}
	revoked := filepath.Join(here, "revoked")
	ok(t, os.Mkdir(revoked, 0o755))
	ok(t, os.WriteFile(filepath.Join(revoked, "note.txt"), []byte("withdrawn on Monday"), 0o600))
	if _, err := c.carryTrust(t.Context()); !errors.As(err, new(*verify.MalformedError)) {
		t.Errorf("a note among the revoked keys: %v", err)
	}
	if _, err := os.Stat(filepath.Join(files["b"].dir, trustPath)); err == nil {
		t.Error("a note was carried to a depot")
	}
	ok(t, os.Remove(filepath.Join(revoked, "note.txt")))
	ok(t, os.WriteFile(filepath.Join(revoked, "bad.pub"), must(os.ReadFile(key))(t), 0o600))

	*hosts["a"].gone = true
	changed, err := c.carryTrust(t.Context())
	if !errors.As(err, new(*bootstrap.ConnectError)) || !slices.Equal(changed, []string{"b"}) || *hosts["b"].restarts != 1 {
		t.Errorf("beside a depot that is gone: changed %v, %d restarts, %v", changed, *hosts["b"].restarts, err)
	}
	*hosts["a"].gone, *hosts["a"].broken = false, true
	if _, err := c.carryTrust(t.Context()); err == nil {
		t.Error("a restart that was cut off is no error")
	}
	*hosts["a"].broken = false
	for i := range 2 { // what was cut off is completed, and then there is nothing to do
		changed, err := c.carryTrust(t.Context())
		if err != nil || len(changed) != 1-i || *hosts["a"].restarts != 1 || *hosts["b"].restarts != 1 {
			t.Errorf("after a restart that was cut off, run %d: changed %v, %v", i, changed, err)
		}
	}
}

// dialing is scripted for a host of this machine that can carry connections.
type dialing struct{ scripted }

func (dialing) Listen(ctx context.Context) (net.Listener, error) {
	return bootstrap.NewLocal("").Listen(ctx)
}

func (dialing) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return bootstrap.NewLocal("").Dial(ctx, network, address)
}

// TestDepotThatLeavesOutABundle: one that served the others was waited for for a day.
func TestDepotThatLeavesOutABundle(t *testing.T) {
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{newBundle(t, "")}, SkipVerify: true}))(t)
	defer func() { _ = b.Close() }()
	served := `{"bundles":[{"digest":"sha256:01"}],"refused":[{"name":"x","bundle":"` + b.BundleDigest().String() + `","reason":"a key was revoked"}]}`
	depot := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(served)) }))
	defer depot.Close()
	at := depot.Listener.Addr().(*net.TCPAddr)
	c := clusterOf(dialing{func(argv []string) (string, int) {
		if strings.Contains(strings.Join(argv, " "), "NRestarts") {
			return "0\n", 0
		}
		return "", 0
	}}, manifest.SiteHost{Name: "depot", Address: at.IP.String(), Roles: []string{manifest.RoleControlPlane}})
	c.Site.Depot.Port = at.Port
	c.Set = &carried.Set{Bundles: []*intake.Bundle{b}}
	c.setCA(&sitepki.Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: depot.Certificate().Raw})})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var left *NotServedError
	if err := c.waitDepot(ctx, c.Hosts[0]); !errors.As(err, &left) || left.Bundle != b.BundleDigest().String() || left.Why != "a key was revoked" {
		t.Errorf("a depot without the bundle: %v", err)
	}
	served = `{"bundles":[{"digest":"` + b.BundleDigest().String() + `"}]}`
	if err := c.waitDepot(ctx, c.Hosts[0]); err != nil {
		t.Error(err)
	}
}

// TestDepotThatEndedBefore: a depot that had ended again and again, because of the damaged
// volume that this run mended, was given up at once.
func TestDepotThatEndedBefore(t *testing.T) {
	for name, c := range map[string]struct {
		ends bool // again, with each look
		want bool
	}{"ended before": {false, true}, "ends again": {true, false}} {
		looks, answers := 0, false
		depot := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !answers {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(`{"bundles":[]}`))
		}))
		at := depot.Listener.Addr().(*net.TCPAddr)
		cl := clusterOf(dialing{func(argv []string) (string, int) {
			if !strings.Contains(strings.Join(argv, " "), "NRestarts") {
				return "", 0
			}
			if looks++; c.ends {
				return strconv.Itoa(7+looks) + "\n", 0
			}
			answers = looks > 2
			return "7\n", 0
		}}, manifest.SiteHost{Name: "depot", Address: at.IP.String(), Roles: []string{manifest.RoleControlPlane}})
		cl.Site.Depot.Port, cl.Set = at.Port, &carried.Set{}
		cl.setCA(&sitepki.Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: depot.Certificate().Raw})})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := cl.waitDepot(ctx, cl.Hosts[0]); (err == nil) != c.want || ctx.Err() != nil {
			t.Errorf("%s: %v after %d looks", name, err, looks)
		}
		cancel()
		depot.Close()
	}
}
