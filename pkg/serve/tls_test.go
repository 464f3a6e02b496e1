package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newH2Server(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func http1Client(srv *httptest.Server) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

// clientOf trusts the authority in a state folder.
func clientOf(t *testing.T, dir string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, CAFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate in the file")
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
}

// start runs Serve and returns its address, and a function that stops it and
// returns what it returned.
func start(t *testing.T, s *Server, opts TLSOptions) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, opts) }()
	return ln.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

func get(t *testing.T, client *http.Client, u string) *http.Response {
	t.Helper()
	resp, err := client.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestServeWithOwnAuthority(t *testing.T) {
	d := newDepot(t)
	_, s := serveBundles(t, d.bundle)
	dir := filepath.Join(t.TempDir(), "state")
	var cas [][]byte
	for range 2 {
		addr, stop := start(t, s, TLSOptions{StateDir: dir, Names: []string{"depot.example", "127.0.0.1"}})
		waitFor(t, filepath.Join(dir, serverFile))
		resp := get(t, clientOf(t, dir), "https://"+addr+"/healthz")
		if resp.ProtoMajor != 2 || resp.TLS.Version < tls.VersionTLS12 {
			t.Errorf("%s over TLS %x", resp.Proto, resp.TLS.Version)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(filepath.Join(dir, CAFile))
		if err != nil {
			t.Fatal(err)
		}
		cas = append(cas, ca)
	}
	if string(cas[0]) != string(cas[1]) {
		t.Error("the authority was made twice")
	}
	for _, name := range []string{caKeyFile, serverKey} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	addr, stop := start(t, s, TLSOptions{CertFile: filepath.Join(dir, serverFile), KeyFile: filepath.Join(dir, serverKey)})
	get(t, clientOf(t, dir), "https://"+addr+"/healthz")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range 1000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		<-ticker.C
	}
	t.Fatalf("%s was not made", path)
}

func TestAuthorityConstraintsAndRenewal(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	make := func(names ...string) (*tls.Certificate, error) {
		a := &authority{dir: dir, names: names, now: func() time.Time { return now }}
		return a.certificate()
	}
	first, err := make("depot.example")
	if err != nil {
		t.Fatal(err)
	}
	same, err := make("depot.example")
	if err != nil || !same.Leaf.Equal(first.Leaf) {
		t.Errorf("made anew without need: %v", err)
	}
	var wrong *NameError
	if _, err := make("depot.example", "other.example"); !errors.As(err, &wrong) || wrong.Name != "other.example" {
		t.Errorf("a name outside the constraints: %v", err)
	}
	if _, err := make("10.0.0.1"); !errors.As(err, &wrong) {
		t.Errorf("an address, with an authority for names alone: %v", err)
	}
	now = now.Add(serverLife - renewBefore + time.Hour)
	renewed, err := make("depot.example")
	if err != nil || renewed.Leaf.Equal(first.Leaf) || !renewed.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not renewed: %v", err)
	}
	// A crash between key and certificate must not lock the server out.
	if err := os.WriteFile(filepath.Join(dir, serverKey), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := make("depot.example"); err != nil {
		t.Error(err)
	}
	// A lost key is told of, and the authority that clients trust stays.
	key, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, caKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := make("depot.example"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an authority without its key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, caKeyFile), key, 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(caLife)
	if _, err := make("depot.example"); err == nil {
		t.Error("an authority at its end was used")
	}
}

func TestRenewalWhileRunning(t *testing.T) {
	now := time.Now()
	opts := TLSOptions{StateDir: t.TempDir(), Names: []string{"depot.example"}, Now: func() time.Time { return now }}
	config, err := opts.config(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(serverLife - renewBefore + time.Hour)
	after, err := config.GetCertificate(nil)
	if err != nil || after.Leaf.Equal(before.Leaf) {
		t.Errorf("the certificate in use was not renewed: %v", err)
	}
}

func TestPlainHTTPOnLoopbackOnly(t *testing.T) {
	public, loopback := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv6loopback}
	if _, err := (TLSOptions{Plain: PlainLoopback}).config(public, nil); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("plain HTTP on %s: %v", public, err)
	}
	if _, err := (TLSOptions{Plain: PlainLoopback}).config(&net.TCPAddr{IP: net.IPv6unspecified}, nil); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("plain HTTP on all addresses: %v", err)
	}
	for _, tt := range []struct {
		plain PlainHTTP
		addr  net.Addr
	}{{PlainLoopback, loopback}, {PlainAnywhereUnsafe, public}} {
		if config, err := (TLSOptions{Plain: tt.plain}).config(tt.addr, nil); err != nil || config != nil {
			t.Errorf("%v on %s: %v, %v", tt.plain, tt.addr, config, err)
		}
	}
	for _, opts := range []TLSOptions{{}, {CertFile: "x"}, {StateDir: "x"}, {StateDir: t.TempDir(), Names: []string{"a b"}}, {StateDir: t.TempDir(), Names: []string{"h:1"}}} {
		if _, err := opts.config(public, nil); err == nil {
			t.Errorf("%+v was taken", opts)
		}
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	d := newDepot(t)
	started, release := make(chan struct{}), make(chan struct{})
	slow := &slowContent{bundle: d.bundle, started: started, release: release}
	s, err := New(t.Context(), Options{Contents: []Content{slow}})
	if err != nil {
		t.Fatal(err)
	}
	slow.armed = true
	addr, stop := start(t, s, TLSOptions{Plain: PlainLoopback})
	result := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + addr + "/v2/registry.k8s.io/pause/manifests/3.10")
		if err == nil {
			err = resp.Body.Close()
		}
		result <- err
	}()
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	close(release)
	if err := <-result; err != nil {
		t.Errorf("a running request was cut: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("still listening")
	}
}

func TestErrorsOutsideRequestsAreReported(t *testing.T) {
	got := make(chan error, 1)
	w := errorWriter(func(err error) { got <- err })
	if _, err := w.Write([]byte("http: TLS handshake error\n")); err != nil {
		t.Fatal(err)
	}
	if err := <-got; strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("%q", err)
	}
}
