package harbor_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/pkg/harbor"
)

const planted = "planted-pass-7391"

// answers is a Harbor that gives the same answer to everything.
func answers(t *testing.T, status int, body string) (*httptest.Server, *[]*http.Request) {
	t.Helper()
	var seen []*http.Request
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	return srv, &seen
}

func caFile(t *testing.T, srv *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUntrustedCertificateIsRefused: go-client's own constructor would not.
func TestUntrustedCertificateIsRefused(t *testing.T) {
	srv, seen := answers(t, http.StatusOK, `{"components":[]}`)
	for _, trust := range []bool{false, true} {
		o := harbor.Options{URL: srv.URL, User: "admin", Password: planted}
		if trust {
			o.CAFiles = []string{caFile(t, srv)}
		}
		c, err := harbor.New(o)
		ok(t, err)
		_, err = c.Health(t.Context())
		var unknown x509.UnknownAuthorityError
		if trust != (err == nil) || !trust && !errors.As(err, &unknown) {
			t.Errorf("trusted %v: %v", trust, err)
		}
		if !trust && len(*seen) > 0 {
			t.Error("a request, with its credentials, reached a server nobody trusts")
		}
	}
}

// TestStoppedAnswer: a Harbor that stops in the middle of an answer holds nobody up.
func TestStoppedAnswer(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"components":[`)
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	c, err := harbor.New(harbor.Options{URL: srv.URL, CAFiles: []string{caFile(t, srv)}, Timeout: 200 * time.Millisecond})
	ok(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Health(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("%v after the deadline, %v", err, ctx.Err())
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "harbor.site", "http://harbor.site", "https://harbor.site/x", "https://u:" + planted + "@harbor.site", "https://", "https://h?x=1", "https://h\x7f"} {
		if _, err := harbor.ParseURL(address); !errors.Is(err, harbor.ErrURL) {
			t.Errorf("%q: %v", address, err)
		} else if strings.Contains(err.Error(), planted) {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	u, err := harbor.ParseURL("https://harbor.site:8443/")
	ok(t, err)
	if u.Host != "harbor.site:8443" {
		t.Errorf("host %q", u.Host)
	}
}

func TestErrorsTellWhatHarborSays(t *testing.T) {
	for _, c := range []struct {
		status int
		is     error
	}{
		{http.StatusUnauthorized, harbor.ErrUnauthorized},
		{http.StatusForbidden, harbor.ErrForbidden},
		{http.StatusNotFound, harbor.ErrNotFound},
		{http.StatusConflict, harbor.ErrConflict},
		{http.StatusPreconditionFailed, harbor.ErrPrecondition},
		{http.StatusInternalServerError, nil},
		{http.StatusTeapot, nil},
	} {
		srv, _ := answers(t, c.status, `{"errors":[{"code":"X","message":"the moon is full"}]}`)
		client, err := harbor.New(harbor.Options{URL: srv.URL, User: "admin", Password: planted, CAFiles: []string{caFile(t, srv)}})
		ok(t, err)
		err = client.DeleteProject(t.Context(), harbor.Project{Name: "p"})
		var answer *harbor.Error
		if c.is != nil && errors.Is(c.is, harbor.ErrNotFound) && err == nil {
			continue // gone already
		}
		if !errors.As(err, &answer) || answer.Status != c.status || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%d: %v", c.status, err)
			continue
		}
		if strings.Contains(err.Error(), "0x") || strings.Contains(err.Error(), planted) {
			t.Errorf("%d: the error shows a pointer or a password: %v", c.status, err)
		}
		// The API's description lists these for the operation; the text of others is lost.
		listed := slices.Contains([]int{http.StatusForbidden, http.StatusPreconditionFailed, http.StatusInternalServerError}, c.status)
		if listed && !strings.Contains(err.Error(), "the moon is full") {
			t.Errorf("%d: the error keeps what Harbor says to itself: %v", c.status, err)
		}
	}
}

// TestDebugPrintsNothing: by these variables go-openapi would print requests with
// their credentials.
func TestDebugPrintsNothing(t *testing.T) {
	t.Setenv("DEBUG", "1")
	t.Setenv("SWAGGER_DEBUG", "1")
	srv, _ := answers(t, http.StatusOK, `{"components":[]}`)
	read, write, err := os.Pipe()
	ok(t, err)
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = write, write
	c, err := harbor.New(harbor.Options{URL: srv.URL, User: "admin", Password: planted, CAFiles: []string{caFile(t, srv)}})
	if err == nil {
		_, err = c.Health(t.Context())
	}
	os.Stdout, os.Stderr = stdout, stderr
	ok(t, err)
	ok(t, write.Close())
	printed, err := io.ReadAll(read)
	ok(t, err)
	if len(bytes.TrimSpace(printed)) > 0 {
		t.Errorf("printed %q", printed)
	}
}

func TestProjectNames(t *testing.T) {
	names, err := harbor.ProjectsOf([]string{"quay.io/a/b", "docker.io/library/x", "quay.io/c", "localhost_5000/x", "naru/files/x"})
	ok(t, err)
	if strings.Join(names, " ") != "docker.io localhost_5000 naru quay.io" {
		t.Errorf("projects %q", names)
	}
	var bad *harbor.NameError
	if _, err := harbor.ProjectsOf([]string{"xn--abc.example/a", "a__b/x", "quay.io/x"}); !errors.As(err, &bad) || len(bad.Names) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestForecast(t *testing.T) {
	quotas := []harbor.Quota{{Project: "a", Hard: harbor.Unlimited, Used: 9}, {Project: "b", Hard: 100, Used: 60}, {Project: "c", Hard: 100, Used: 60}}
	var short *harbor.QuotaError
	err := harbor.Forecast(quotas, map[string]int64{"a": 1 << 40, "b": 40, "c": 41})
	if !errors.As(err, &short) || len(short.Shortfalls) != 1 || short.Shortfalls[0].Project != "c" {
		t.Errorf("got %v", err)
	}
}

func TestMutable(t *testing.T) {
	for name, want := range map[string]bool{
		"ghcr.io/aquasecurity/trivy-db:2": true, "ghcr.io/trivy-java-db:1": true, "naru/databases/x:1": true,
		"quay.io/a/b:sha256-00.sig": true, "quay.io/a/b:v1": false, "ghcr.io/a/my-trivy-db:2": false, "quay.io/databases:1": false,
	} {
		repository, tag, _ := strings.Cut(name, ":")
		if got := harbor.Mutable(repository, tag); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
