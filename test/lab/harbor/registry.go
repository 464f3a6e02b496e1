package harbor

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// registry is a docker-registry in the place of the one behind Harbor. It is reached
// with the credentials that Harbor would take: the password, or a robot's secret, which
// lets a pull robot pull only.
type registry struct {
	to        *url.URL
	exchanges atomic.Int64 // of the API, replayed
}

// startRegistry starts one that keeps its content below dir, until ctx ends. What it
// returns as second waits for its end.
func startRegistry(ctx context.Context, dir string) (*registry, func(), error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("starting docker-registry: %w", err)
	}
	r := &registry{to: &url.URL{Scheme: "http", Host: addr}}
	return r, func() { _ = cmd.Wait() }, r.wait(ctx) // it was killed
}

// testRegistry is one for the time of a test.
func testRegistry(t *testing.T) *registry {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, ended, err := startRegistry(ctx, t.TempDir())
	t.Cleanup(func() {
		cancel()
		if ended != nil {
			ended()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wait for the first answer.
func (r *registry) wait(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.to.Host)
		if err == nil {
			_ = conn.Close() // nothing was said
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			return fmt.Errorf("waiting for docker-registry: %w", err)
		}
	}
}

// RoundTrip implements [http.RoundTripper].
func (r *registry) RoundTrip(req *http.Request) (*http.Response, error) {
	user, password, _ := req.BasicAuth()
	if password != Password && !strings.HasPrefix(password, "recorded-secret-") {
		return refuse(req)
	}
	reading := req.Method == http.MethodGet || req.Method == http.MethodHead
	if strings.Contains(user, "-pull-") && !reading {
		return refuse(req)
	}
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = r.to.Scheme, r.to.Host, r.to.Host
	out.Header.Del("Authorization")
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if location := resp.Header.Get("Location"); location != "" {
		resp.Header.Set("Location", strings.Replace(location, r.to.String(), URL, 1))
	}
	resp.Request = req
	return resp, nil
}

// refuse is Harbor's answer to who may not do it.
func refuse(req *http.Request) (*http.Response, error) {
	const answer = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
		`{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository"}]}`
	if req.Body != nil {
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), req)
}
