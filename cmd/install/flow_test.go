package main

import (
	"bufio"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"

	"naru/internal/cli"
)

func TestPushAndAgain(t *testing.T) {
	m := newMedium(t, true)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	args := []string{"push", m.dir, "--key", m.pub, "--to", host + "/site", "--plain-http", "--output", "json"}
	if o := run(t, append(args, "--dry-run")...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if resp := must(http.Get(server.URL + "/v2/_catalog"))(t); strings.Contains(string(must(io.ReadAll(resp.Body))(t)), "naru") {
		t.Error("a dry run pushed")
	}
	type pushed struct {
		Push struct {
			Blobs struct{ Uploaded, Present int }
		}
		Check struct{ Checked int }
	}
	first := result[pushed](t, run(t, args...))
	if first.Push.Blobs.Uploaded == 0 || first.Check.Checked == 0 {
		t.Errorf("%+v", first)
	}
	again := result[pushed](t, run(t, args...))
	if again.Push.Blobs.Uploaded != 0 || again.Check.Checked != first.Check.Checked {
		t.Errorf("the second push uploaded: %+v", again)
	}
	for _, ref := range []string{"1.0", m.image.Digest.String()} {
		resp := must(http.Get(server.URL + "/v2/site/ghcr.io/naru/app/manifests/" + ref))(t)
		_ = resp.Body.Close()
		if ref == "1.0" && resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", ref, resp.Status)
		}
	}
	expect(t, run(t, append(args, "--only", "nothing.there/")...), cli.ExitUsage, "hint: ")
}

// served starts install serve and returns its address and what ends it.
func served(t *testing.T, args ...string) (url string, stop func() outcome) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr buffer
	done := make(chan int, 1)
	go func() {
		done <- runIn(ctx, &stdout, &stderr, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	}()
	stop = func() outcome {
		cancel()
		return outcome{<-done, stdout.String(), stderr.String()}
	}
	at := regexp.MustCompile(`https?://[0-9.:]+`)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); url == ""; url = at.FindString(stdout.String()) {
		select {
		case code := <-done:
			cancel()
			t.Fatalf("exit code %d\n%s", code, stderr.String())
		case <-deadline:
			cancel()
			t.Fatalf("not ready after 20 s: %s", stderr.String())
		case <-tick.C:
		}
	}
	return url, stop
}

func TestServe(t *testing.T) {
	m := newMedium(t, true)
	url, stop := served(t, m.dir, "--key", m.pub, "--plain-http", "--access-log", "--progress", "none")
	for _, path := range []string{"/v2/ghcr.io/naru/app/manifests/1.0", "/v2/naru/app/manifests/1.0?ns=ghcr.io", "/v2/naru/app/manifests/" + m.image.Digest.String() + "?ns=ghcr.io"} {
		resp := must(http.Get(url + path))(t)
		data := must(io.ReadAll(resp.Body))(t)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || digest.FromBytes(data) != m.image.Digest {
			t.Errorf("%s: %s, %s, want the index %s", path, resp.Status, digest.FromBytes(data), m.image.Digest)
		}
	}
	resp := must(http.Post(url+"/v2/naru/app/blobs/uploads/", "", nil))(t)
	_ = resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("an upload was answered %s", resp.Status)
	}
	o := stop()
	if o.code != 0 {
		t.Errorf("asked to stop, exit code %d\n%s", o.code, o.stderr)
	}
	lines := 0
	for s := bufio.NewScanner(strings.NewReader(o.stderr)); s.Scan(); lines++ {
		if !strings.HasPrefix(s.Text(), "{") {
			t.Errorf("the access log says %q", s.Text())
		}
	}
	if lines != 4 {
		t.Errorf("%d requests logged, want 4:\n%s", lines, o.stderr)
	}
}

func TestServeRegistered(t *testing.T) {
	m := newMedium(t, true)
	state := t.TempDir()
	args := []string{m.dir, "--key", m.pub, "--plain-http", "--register", "--state", state, "--progress", "plain"}
	for range 2 {
		_, stop := served(t, args...)
		if o := stop(); o.code != 0 {
			t.Errorf("exit code %d\n%s", o.code, o.stderr)
		}
	}
	records := must(os.ReadDir(filepath.Join(state, "bundles")))(t)
	if len(records) != 1 || records[0].Name() != strings.TrimPrefix(m.built.Bundle, "sha256:")+".json" {
		t.Errorf("records %v, want one of %s", records, m.built.Bundle)
	}
	path := filepath.Join(m.dir, m.built.Volumes[0].Name)
	data := must(os.ReadFile(path))(t)
	data[len(data)/2] ^= 1
	ok(t, os.WriteFile(path, data, 0o600))
	expect(t, run(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), cli.ExitIntegrity, filepath.Base(path))
}
