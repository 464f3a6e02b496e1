//go:build e2e

package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
)

// The addresses of the steady state: HAProxy in front of a registry that stands in for
// Harbor, under the same paths and with a login, and in front of the depot.
const (
	frontHarbor, backHarbor = "127.0.0.1:8443", "127.0.0.1:5445"
	frontDepot, backDepot   = "127.0.0.1:8444", "127.0.0.1:5444"
)

// robot is who pulls in the steady state.
const robot, robotSecret = "robot$naru-pull-1", "e2e-robot-secret"

// site is the steady state of a site.
type site struct {
	n             *sealed
	harbor, depot *server
	certs         string
	// took is how long each pull takes with both up.
	took map[string]time.Duration
}

// Debian's containerd pulls through the steady-state mirrors by tag, platform digest and
// index digest; with the depot stopped by tag and platform digest; with Harbor stopped
// by all three, and a stopped mirror costs less than five seconds a pull. Nobody else is sent a packet.
func TestSteadyMirrors(t *testing.T) {
	s := newSite(t)
	s.pulls(t, "both up", "tag", "platform digest", "index digest")
	s.depot.stop()
	s.pulls(t, "depot stopped", "tag", "platform digest")
	s.depot = s.startDepot(t)
	s.answers(t, frontDepot, s.depot.ca)
	s.harbor.stop()
	s.pulls(t, "Harbor stopped", "tag", "platform digest", "index digest")
	s.harbor = s.startHarbor(t)
	s.answers(t, frontHarbor, s.harbor.ca)
	s.login(t, "replaced")
	s.pulls(t, "robot replaced elsewhere", "tag", "platform digest", "index digest")
	if asked, packets := s.n.asked(), s.n.strangers(t); len(asked) > 0 || packets > 0 {
		t.Errorf("%d packets to others, questions about %v", packets, asked)
	}
}

// pulls makes a new runtime, which has nothing, pull all images in each of the ways.
// What a stopped mirror costs a pull is the median over the images: a mirror that is
// waited for costs every pull its time, a machine that is busy for a moment costs one.
func (s *site) pulls(t *testing.T, when string, hows ...string) {
	t.Helper()
	for _, how := range hows {
		t.Run(when+"/"+how, func(t *testing.T) {
			runtime := startContainerd(t, s.n, s.certs)
			var costs []time.Duration
			for ref, platforms := range w.images() {
				platform := platforms["linux/amd64"]
				name := map[string]string{
					"tag": ref, "platform digest": repository(ref) + "@" + platform,
					"index digest": repository(ref) + "@" + w.layout.Refs()[ref].Digest.String(),
				}[how]
				start := time.Now()
				got, err := runtime.pull(t.Context(), name)
				if want := configOf(t, platform); err != nil || got != want {
					t.Errorf("pulling %s gave %q, %v; want %s", name, got, err, want)
				}
				took := time.Since(start)
				if _, known := s.took[name]; !known {
					s.took[name] = took
				}
				costs = append(costs, took-s.took[name])
			}
			slices.Sort(costs)
			median := costs[len(costs)/2]
			t.Logf("a pull takes %s longer than with both up, %s to %s", median, costs[0], costs[len(costs)-1])
			if strings.Contains(when, "stopped") && median > 5*time.Second {
				t.Errorf("a stopped mirror costs %s a pull; want less than 5s", median)
			}
		})
	}
}

// newSite starts everything and seeds the registry.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{n: newSealed(t), certs: t.TempDir(), took: map[string]time.Duration{}}
	s.depot = s.startDepot(t)
	s.harbor = s.startHarbor(t)
	s.balance(t)
	s.n.ok(t, "install", "push", w.demo, "--allow-unscanned", "--key", w.pub, "--to", backHarbor, "--ca-file", s.harbor.ca,
		"--user", robot, "--password-file", write(t, "secret", robotSecret), "--progress", "none")
	s.login(t, robotSecret)
	return s
}

// login writes the mirrors with the pull robot's login.
func (s *site) login(t *testing.T, secret string) {
	t.Helper()
	var repositories []string
	registries := map[string]string{}
	for ref := range w.images() {
		host, _, _ := strings.Cut(ref, "/")
		registries[host] = host
		repositories = append(repositories, ref)
	}
	if _, err := harbor.ProjectsOf(repositories); err != nil {
		t.Fatal(err)
	}
	steady := certsd.Steady{
		Registries: registries, Harbor: "https://" + frontHarbor, Depots: []string{"https://" + frontDepot},
		HarborCA: s.harbor.ca, DepotCA: s.depot.ca, User: robot, Secret: secret,
	}
	files, err := steady.Files()
	if err != nil {
		t.Fatal(err)
	}
	if err := certsd.Write(s.certs, files); err != nil {
		t.Fatal(err)
	}
}

func (s *site) startDepot(t *testing.T) *server {
	t.Helper()
	if s.depot == nil {
		return startDepotBy(t, s.n.command, w.demo, "--allow-unscanned", "--listen", backDepot, "--name", "127.0.0.1")
	}
	again := startDepotBy(t, s.n.command, w.demo, "--allow-unscanned", "--listen", backDepot, "--name", "127.0.0.1")
	// It has another authority: its state is that of the test's folder of this start.
	old, err := os.ReadFile(again.ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.depot.ca, old, 0o600); err != nil {
		t.Fatal(err)
	}
	again.ca = s.depot.ca
	return again
}

// startHarbor starts docker-registry with TLS and a login; what it holds stays over
// a restart.
func (s *site) startHarbor(t *testing.T) *server {
	t.Helper()
	dir := filepath.Join(w.work, "stand-in")
	ca := filepath.Join(dir, "tls.crt")
	if s.harbor == nil {
		hash, err := bcrypt.GenerateFromPassword([]byte(robotSecret), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		keep(t, filepath.Join(dir, "htpasswd"), []byte(robot+":"+string(hash)+"\n"))
		certificate(t, ca, filepath.Join(dir, "tls.key"))
	}
	config := write(t, "registry.yml", fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %[1]s/data}}
http: {addr: %[2]q, tls: {certificate: %[1]s/tls.crt, key: %[1]s/tls.key}}
auth: {htpasswd: {realm: harbor, path: %[1]s/htpasswd}}
`, dir, backHarbor))
	r := start(t, s.n.command(t.Context(), "docker-registry", "serve", config))
	r.ca = ca
	s.answers(t, backHarbor, ca)
	return r
}

// balance starts HAProxy as a site has it: it passes on what it does not look into,
// and refuses at once what is down.
func (s *site) balance(t *testing.T) {
	t.Helper()
	config := write(t, "haproxy.cfg", fmt.Sprintf(`defaults
  mode tcp
  timeout connect 2s
  timeout check 5s
  timeout client 1m
  timeout server 1m
listen harbor
  bind %s
  server harbor %s check inter 500ms fall 2 rise 1
listen depot
  bind %s
  server depot %s check inter 500ms fall 2 rise 1
`, frontHarbor, backHarbor, frontDepot, backDepot))
	start(t, s.n.command(t.Context(), "haproxy", "-db", "-f", config))
	s.answers(t, frontHarbor, s.harbor.ca)
	s.answers(t, frontDepot, s.depot.ca)
}

// answers waits until something speaks TLS at an address in the namespace.
func (s *site) answers(t *testing.T, addr, ca string) {
	t.Helper()
	s.n.ok(t, "curl", "-s", "-o", "/dev/null", "--cacert", ca, "--retry", "100", "--retry-all-errors", "--retry-delay", "0", "--retry-max-time", "20", "https://"+addr+"/v2/")
}

// certificate writes one for loopback addresses, which is its own authority.
func certificate(t *testing.T, certPath, keyPath string) {
	t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	keep(t, keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

func keep(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
