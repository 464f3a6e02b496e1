package remote

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	oras "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// A Client is what oras-go and package push speak through.
var _ oras.Client = (*Client)(nil)

func httpServer(t *testing.T, h http.HandlerFunc) (host string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func ociRegistry() http.Handler { return ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))) }

// store puts a blob into a repository of upstream.
func store(t *testing.T, c *Client, name, data string) ocispec.Descriptor {
	t.Helper()
	repo, err := c.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	desc := content.NewDescriptorFromBytes("application/octet-stream", []byte(data))
	if err := repo.Push(t.Context(), desc, strings.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return desc
}

func readBlob(t *testing.T, c *Client, name string, desc ocispec.Descriptor, offset int64) (string, int64, error) {
	t.Helper()
	body, at, err := c.Blob(t.Context(), name, desc, offset)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = body.Close() }()
	data, err := io.ReadAll(body)
	return string(data), at, err
}

func TestBlobOfMappedRepository(t *testing.T) {
	s := newServer(t, ociRegistry().ServeHTTP)
	c := newClient(t, Options{UserAgent: "naru-test/1", Map: []Mapping{{Host: "docker.io", Mirror: s.host(), Prefix: "proxy/hub"}}})
	desc := store(t, c, "docker.io/debian", "0123456789")
	for offset, want := range map[int64]string{0: "0123456789", 7: "789"} {
		if got, at, err := readBlob(t, c, "index.docker.io/library/debian", desc, offset); err != nil || got != want || at != offset {
			t.Errorf("offset %d: got %q at %d, error %v", offset, got, at, err)
		}
	}
	for _, r := range s.requests() {
		if !strings.HasPrefix(r.URL.Path, "/v2/proxy/hub/library/debian/") || r.UserAgent() != "naru-test/1" {
			t.Errorf("%s %s of %q", r.Method, r.URL, r.UserAgent())
		}
	}
	desc.Digest = "sha256:../../x"
	if _, _, err := readBlob(t, c, "docker.io/debian", desc, 0); err == nil || IsNetwork(err) {
		t.Errorf("digest %q: error %v", desc.Digest, err)
	}
}

func TestNames(t *testing.T) {
	c := newClient(t, Options{})
	for _, name := range []string{"", "debian", "quay.io", "quay.io/", "quay.io/A", "quay.io/a:1", "a b/c", "user@quay.io/a", "quay.io/../a"} {
		if _, err := c.Repository(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestLocate(t *testing.T) {
	c := newClient(t, Options{
		Map: []Mapping{
			{Host: "quay.io", Mirror: "harbor.corp:8443", Prefix: "quay"},
			{Host: "ghcr.io", Mirror: "127.0.0.1:5000", PlainHTTP: true},
			{Host: "gcr.io", Mirror: "docker.io", Prefix: "google"},
		},
		PlainHTTP:  []string{"localhost:5000"},
		PlainFiles: []string{"nexus.corp"},
	})
	type place struct {
		Host, Repository string
		Plain            bool
	}
	for in, want := range map[string]place{
		"docker.io/debian":         {"registry-1.docker.io", "library/debian", false},
		"docker.io/library/debian": {"registry-1.docker.io", "library/debian", false},
		"index.docker.io/a/b":      {"registry-1.docker.io", "a/b", false},
		"quay.io/a/b":              {"harbor.corp:8443", "quay/a/b", false},
		"QUAY.io/a":                {"harbor.corp:8443", "quay/a", false},
		"quay.io:443/a":            {"quay.io:443", "a", false},
		"ghcr.io/a":                {"127.0.0.1:5000", "a", true},
		"gcr.io/a":                 {"registry-1.docker.io", "google/a", false},
		"localhost:5000/a":         {"localhost:5000", "a", true},
		"localhost:5001/a":         {"localhost:5001", "a", false},
		"nexus.corp/a":             {"nexus.corp", "a", false},
	} {
		host, repository, _ := strings.Cut(in, "/")
		var got place
		got.Host, got.Repository, got.Plain = c.Locate(host, repository)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
	}
}

func TestMappedFiles(t *testing.T) {
	s := newServer(t, text("abc"))
	c := newClient(t, Options{Map: []Mapping{{Host: "files.example", Mirror: s.host(), Prefix: "mirror"}, {Host: "other.example:81", Mirror: s.host()}}})
	for in, want := range map[string]string{
		"https://files.example/a%2Fb/c.tar.gz?x=1": "/mirror/a%2Fb/c.tar.gz?x=1",
		"http://user:secret@files.example/c":       "/mirror/c",
		"https://other.example:81/d e":             "/d%20e",
	} {
		if got, _, _, err := read(t, c, in, 0); err != nil || got != "abc" {
			t.Errorf("%s: got %q, error %v", in, got, err)
		}
		seen := s.requests()
		if last := seen[len(seen)-1]; last.URL.RequestURI() != want || last.Header.Get("Authorization") != "" {
			t.Errorf("%s: asked for %s, %v", in, last.URL.RequestURI(), last.Header)
		}
	}
	for _, bad := range []string{"", "a", "/a", "ftp://files.example/a", "file:///etc/passwd", "https:///a", "https://h/%zz?secret"} {
		_, _, _, err := read(t, c, bad, 0)
		if !errors.Is(err, ErrURL) || IsNetwork(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

// bearer wants tokens for a registry and gives them out; a token is its scopes.
func bearer(t *testing.T, next http.Handler, asked *atomic.Int64, user, password string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			asked.Add(1)
			if u, p, _ := r.BasicAuth(); u != user || p != password {
				say(401, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`)(w, r)
				return
			}
			scopes := r.URL.Query()["scope"]
			slices.Sort(scopes)
			_, _ = fmt.Fprintf(w, `{"token":%q}`, base64.RawURLEncoding.EncodeToString([]byte(strings.Join(scopes, " "))))
			return
		}
		name := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")[0]
		scope := "repository:" + name + ":pull"
		token, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if !strings.Contains(string(token), strings.TrimSuffix(scope, "pull")) {
			challenge := fmt.Sprintf(`Bearer realm="https://%s/token",service="test",scope=%q`, r.Host, scope)
			say(401, "", "WWW-Authenticate", challenge)(w, r)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestTokens(t *testing.T) {
	var asked atomic.Int64
	s := newServer(t, bearer(t, ociRegistry(), &asked, "robot", "secret"))
	c := newClient(t, Options{Login: &Login{Host: strings.ToUpper(s.host()), User: "robot", Password: "secret"}})
	ctx := auth.AppendRepositoryScope(t.Context(), registry.Reference{Registry: s.host(), Repository: "a/b"}, auth.ActionPull, auth.ActionPush)
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v2/a/b/blobs/uploads/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil || resp.StatusCode != http.StatusAccepted {
			t.Fatalf("answer %v, error %v", resp, err)
		}
		_ = resp.Body.Close()
		if got := resp.Request.URL.String(); got != req.URL.String() {
			t.Errorf("answer to %s", got)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked for %d tokens, want 1", n)
	}
	for _, r := range s.requests() {
		if r.URL.Path == "/token" && r.URL.Query().Get("scope") != "repository:a/b:pull,push" {
			t.Errorf("asked for %s", r.URL)
		}
	}
	desc := store(t, c, s.host()+"/a/b", "0123456789")
	if got, _, err := readBlob(t, c, s.host()+"/a/b", desc, 5); err != nil || got != "56789" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestRefusedCredentials(t *testing.T) {
	var asked atomic.Int64
	s := newServer(t, bearer(t, ociRegistry(), &asked, "robot", "right"))
	c := newClient(t, Options{Login: &Login{Host: s.host(), User: "robot", Password: "wrong"}})
	_, _, err := readBlob(t, c, s.host()+"/a/b", ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}, 0)
	if e, ok := errors.AsType[*AuthError](err); !ok || e.Host != s.host() || !IsNetwork(err) {
		t.Errorf("error %v", err)
	}
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 401 || e.Code != "UNAUTHORIZED" || asked.Load() != 1 {
		t.Errorf("asked %d times, error %v", asked.Load(), err)
	}
	if strings.Contains(err.Error(), "wrong") {
		t.Errorf("error %v has the password", err)
	}
}

func TestFileCredentials(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "me" || p != "secret" {
			say(401, "", "WWW-Authenticate", `Basic realm="files"`)(w, r)
			return
		}
		text("abc")(w, r)
	})
	_, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f", 0)
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 401 {
		t.Errorf("without: error %v", err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.host(), base64.StdEncoding.EncodeToString([]byte("me:secret")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	c, err := New(Options{CAFiles: []string{caFile(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _, err := read(t, c, s.URL+"/f", 0); err != nil || got != "abc" {
		t.Errorf("with: got %q, error %v", got, err)
	}
	if first := s.requests()[0]; first.Header.Get("Authorization") != "" {
		t.Error("credentials were shown before they were asked for")
	}
}

// TestPlainFilesAreAnonymous holds that a source of files without TLS does not get the
// password of the registry that answers at the same host with it.
func TestPlainFilesAreAnonymous(t *testing.T) {
	var shown atomic.Bool
	plain := httpServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			shown.Store(true)
		}
		say(401, "", "WWW-Authenticate", `Basic realm="files"`)(w, r)
	})
	c := newClient(t, Options{PlainFiles: []string{plain}, Login: &Login{Host: plain, User: "me", Password: "secret"}})
	_, _, _, err := read(t, c, "http://"+plain+"/f", 0)
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 401 {
		t.Errorf("error %v", err)
	}
	if shown.Load() {
		t.Error("credentials were shown without TLS")
	}
}

func TestRedirectsLeakNothing(t *testing.T) {
	elsewhere := newServer(t, text("0123456789"))
	var asked atomic.Int64
	moved := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/object?X-Signature=secret", http.StatusTemporaryRedirect)
	})
	s := newServer(t, bearer(t, moved, &asked, "robot", "password"))
	c := newClient(t, Options{Login: &Login{Host: s.host(), User: "robot", Password: "password"}})
	desc := ocispec.Descriptor{Digest: digest.FromString("0123456789"), Size: 10}
	if got, at, err := readBlob(t, c, s.host()+"/a/b", desc, 6); err != nil || got != "6789" || at != 6 {
		t.Errorf("got %q at %d, error %v", got, at, err)
	}
	for _, r := range elsewhere.requests() {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Range") == "" {
			t.Errorf("sent on with %v", r.Header)
		}
	}
	if asked.Load() == 0 {
		t.Error("no token was shown to the registry")
	}
}

func TestErrorsOfRedirectsAreRedacted(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{"refused": say(403, "expired"), "broken": broken(t, ""), "cut": broken(t, "abc")} {
		elsewhere := newServer(t, h)
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/object?X-Signature=secret", http.StatusFound)
		})
		c := newClient(t, Options{MaxAttempts: 2, OnRetry: func(r Retry) {
			if strings.Contains(r.Err.Error(), "secret") {
				t.Errorf("%s: retry tells %v", name, r.Err)
			}
		}})
		desc := ocispec.Descriptor{Digest: digest.FromString("x"), Size: 1}
		_, _, err := readBlob(t, c, s.host()+"/a", desc, 0)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), elsewhere.host()) {
			t.Errorf("%s: error %v", name, err)
		}
		if name == "cut" {
			continue // a HEAD has no body to be cut
		}
		repo, err := c.Repository(s.host() + "/a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Blobs().Resolve(t.Context(), desc.Digest.String()); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: oras-go's error %v", name, err)
		}
	}
}

func TestRedirectToPlainHTTP(t *testing.T) {
	plain := httpServer(t, text("abc"))
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+plain+"/f", http.StatusFound)
	})
	if _, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f", 0); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("error %v", err)
	}
	if got, _, _, err := read(t, newClient(t, Options{PlainHTTP: []string{plain}}), s.URL+"/f", 0); err != nil || got != "abc" {
		t.Errorf("got %q, error %v", got, err)
	}
	loop := newServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	if _, _, _, err := read(t, newClient(t, Options{}), loop.URL, 0); !errors.Is(err, errRedirects) || len(loop.requests()) != maxRedirects {
		t.Errorf("%d requests, error %v", len(loop.requests()), err)
	}
}

func TestProxy(t *testing.T) {
	proxy := httpServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "by proxy: "+r.URL.String())
	})
	c := newClient(t, Options{PlainFiles: []string{"files.invalid"}, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})})
	if got, _, _, err := read(t, c, "http://files.invalid/f", 0); err != nil || got != "by proxy: http://files.invalid/f" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestUnusableOptions(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	twice := []Mapping{{Host: "docker.io", Mirror: "a.example"}, {Host: "registry-1.docker.io", Mirror: "b.example"}}
	for want, opts := range map[error]Options{
		ErrNoCertificate: {CAFiles: []string{junk}},
		os.ErrNotExist:   {CAFiles: []string{filepath.Join(dir, "none")}},
		ErrMapping:       {Map: twice},
	} {
		opts.Credentials = credentials.NewMemoryStore()
		if _, err := New(opts); !errors.Is(err, want) {
			t.Errorf("want %v, got %v", want, err)
		}
	}
}

func TestIsNetwork(t *testing.T) {
	_, notThere := os.Open(filepath.Join(t.TempDir(), "none"))
	_, notParsed := url.Parse(string([]byte("%zz")))
	for _, err := range []error{nil, notThere, notParsed, io.ErrUnexpectedEOF, os.ErrPermission} {
		if IsNetwork(err) || IsTemporary(err) {
			t.Errorf("%v is taken for one of the network", err)
		}
	}
}

func TestParseMapping(t *testing.T) {
	for in, want := range map[string]Mapping{
		"docker.io=harbor.corp/proxy":       {Host: "docker.io", Mirror: "harbor.corp", Prefix: "proxy"},
		"index.docker.io=Harbor.corp/a/b/":  {Host: "docker.io", Mirror: "harbor.corp", Prefix: "a/b"},
		"files.example=127.0.0.1:8443":      {Host: "files.example", Mirror: "127.0.0.1:8443"},
		"files.example:81=https://[::1]:82": {Host: "files.example:81", Mirror: "[::1]:82"},
		"quay.io=http://127.0.0.1:5000/q":   {Host: "quay.io", Mirror: "127.0.0.1:5000", Prefix: "q", PlainHTTP: true},
	} {
		got, err := ParseMapping(in)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: error %v (-want +got):\n%s", in, err, diff)
		}
	}
	for _, in := range []string{"", "=", "a", "a=", "=b", "a=ftp://b", "a=b//c", "a=b/../c", "a=b/c?d", "a/b=c", "a=user@b", "a=b c", "a=b:x"} {
		if m, err := ParseMapping(in); !errors.Is(err, ErrMapping) {
			t.Errorf("%q: %+v, error %v", in, m, err)
		}
	}
}

func FuzzParseMapping(f *testing.F) {
	for _, s := range []string{"docker.io=harbor.corp/proxy", "a=http://[::1]:5000/x", "a=https://b", "=", "a=b/%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMapping(s)
		if err != nil {
			return
		}
		again, err := ParseMapping(m.String())
		if err != nil || again != m {
			t.Errorf("%q is %+v, and again %+v, error %v", s, m, again, err)
		}
	})
}

// TestContentIsNotSentOn: a registry that redirects an upload to another host does
// not get it there.
func TestContentIsNotSentOn(t *testing.T) {
	other := newServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	registry := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/v2/a/blobs/uploads/1", http.StatusTemporaryRedirect)
	})
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut} {
		req, err := http.NewRequestWithContext(t.Context(), method, registry.URL+"/v2/a/blobs/uploads/", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := newClient(t, Options{}).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, errSentOn) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}
