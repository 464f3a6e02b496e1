package upstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/upstream"
)

func TestServesValidImages(t *testing.T) {
	for _, opts := range []upstream.Options{
		{},
		{Transport: upstream.TransportPlain},
		{Blobs: upstream.DeliverRedirect},
		{Credentials: map[string]upstream.Credential{"": {Scheme: upstream.Bearer, Username: "u", Password: "p"}}},
		{Credentials: map[string]upstream.Credential{"": {Scheme: upstream.Basic, Username: "u", Password: "p"}}},
	} {
		t.Run(fmt.Sprintf("%s,%s,%v", opts.Transport, opts.Blobs, opts.Credentials[""].Scheme), func(t *testing.T) {
			l := start(t, opts)
			ref, err := name.ParseReference(l.Addr() + "/ghcr.io/lab/app:v1")
			if err != nil {
				t.Fatal(err)
			}
			auth := authn.FromConfig(authn.AuthConfig{Username: "u", Password: "p"})
			idx, err := remote.Index(ref, remote.WithContext(t.Context()), remote.WithTransport(l.client.Transport), remote.WithAuth(auth))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(idx); err != nil {
				t.Error(err)
			}
			if d, err := idx.Digest(); err != nil || d.String() != l.image.Digest.String() {
				t.Errorf("index digest is %v (%v), want %s", d, err, l.image.Digest)
			}
		})
	}
}

func TestRefusesWithoutCredentials(t *testing.T) {
	l := start(t, upstream.Options{Credentials: map[string]upstream.Credential{
		"ghcr.io": {Scheme: upstream.Bearer, Username: "u", Password: "p"}, "dl.lab.test": {Scheme: upstream.Basic, Username: "u", Password: "p"},
	}})
	for _, path := range []string{tagPath, l.blobPath(), filePath} {
		if r := l.get(t, path, ""); r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("GET %s: status %d, challenge %q", path, r.status, r.header.Get("WWW-Authenticate"))
		}
	}
	if r := l.get(t, "/_lab/token?service=lab:ghcr.io", ""); r.status != http.StatusUnauthorized {
		t.Errorf("token without a password: status %d", r.status)
	}
}

func TestHostNames(t *testing.T) {
	l := start(t, upstream.Options{})
	for host, path := range map[string]string{
		"ghcr.io":           "/v2/lab/app/blobs/" + l.blobID.String(),
		"ghcr.io:443":       "/v2/lab/app/manifests/v1",
		"dl.lab.test":       "/tools/tool-v1.bin",
		"elsewhere.example": filePath,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := l.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s of %s: status %d", path, host, resp.StatusCode)
		}
	}
}

func TestRegistryMap(t *testing.T) {
	l := start(t, upstream.Options{Hosts: []string{"ghcr.io", "dl.lab.test"}})
	want := []string{"ghcr.io=" + l.Addr() + "/ghcr.io", "dl.lab.test=" + l.Addr() + "/files/dl.lab.test"}
	if diff := cmp.Diff(want, l.RegistryMap()); diff != "" {
		t.Errorf("registry map (-want +got):\n%s", diff)
	}
}

func TestRanges(t *testing.T) {
	l := start(t, upstream.Options{})
	for _, object := range []struct {
		path string
		data []byte
	}{{l.blobPath(), l.blob}, {filePath, l.file}} {
		n := len(object.data)
		for rng, want := range map[string][]byte{
			"bytes=0-0":                      object.data[:1],
			"bytes=100-1099":                 object.data[100:1100],
			"bytes=50000-":                   object.data[50000:],
			"bytes=-7":                       object.data[n-7:],
			"bytes=10-" + strconv.Itoa(10*n): object.data[10:],
		} {
			r := l.get(t, object.path, rng)
			if r.status != http.StatusPartialContent || !bytes.Equal(r.body, want) || r.err != nil {
				t.Errorf("%s of %s: status %d, %d bytes, error %v; want %d bytes", rng, object.path, r.status, len(r.body), r.err, len(want))
			}
		}
		if r := l.get(t, object.path, "bytes="+strconv.Itoa(n)+"-"); r.status != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("range past the end of %s: status %d", object.path, r.status)
		}
	}
}

func TestReferrers(t *testing.T) {
	l := start(t, upstream.Options{})
	path := "/v2/ghcr.io/lab/app/referrers/" + l.image.Digest.String()
	for query, want := range map[string]int{"": 1, "?artifactType=application/x-note": 1, "?artifactType=other": 0} {
		r := l.get(t, path+query, "")
		var idx ocispec.Index
		if err := json.Unmarshal(r.body, &idx); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if len(idx.Manifests) != want {
			t.Errorf("referrers%s: %d, want %d", query, len(idx.Manifests), want)
		}
		if want == 1 && idx.Manifests[0].ArtifactType != "application/x-note" {
			t.Errorf("artifact type is %q", idx.Manifests[0].ArtifactType)
		}
	}
}

func TestPushAndSetTag(t *testing.T) {
	l := start(t, upstream.Options{})
	repo, err := name.NewRepository(l.Addr() + "/quay.io/new/app")
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	opts := []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(l.client.Transport)}
	if err := remote.Write(repo.Tag("v1"), img, opts...); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(repo.Tag("v2"), empty.Image, opts...); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetTag("quay.io/new/app", "v2", d.String()); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(repo.Tag("v2"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	if h, err := got.Digest(); err != nil || h != d {
		t.Errorf("v2 is %v (%v), want %s", h, err, d)
	}
}

func TestRequestLog(t *testing.T) {
	l := start(t, upstream.Options{})
	l.inject(t, upstream.Fault{Name: "cut", Kind: upstream.Truncate, After: 5000, When: upstream.When{Times: 1}})
	l.get(t, l.blobPath(), "")
	l.get(t, l.blobPath(), "bytes=5000-")
	l.get(t, filePath, "")
	l.get(t, filePath, "")
	l.get(t, tagPath, "")

	size := int64(len(l.blob))
	got := l.Requests()
	if len(got) != 5 {
		t.Fatalf("%d requests in the log", len(got))
	}
	for i := range got {
		got[i].Time = time.Time{}
	}
	want := []upstream.Request{
		{Method: "GET", Path: l.blobPath(), Status: 200, Bytes: 5000, Size: size, Fault: "cut"},
		{Method: "GET", Path: l.blobPath(), Range: "bytes=5000-", Status: 206, Bytes: size - 5000, Size: size},
	}
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(upstream.Total{Requests: 2, Bytes: size, Size: size}, l.Totals()[l.blobID.String()]); diff != "" {
		t.Errorf("totals of the blob (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{filePath}, upstream.Refetched(got)); diff != "" {
		t.Errorf("refetched (-want +got):\n%s", diff)
	}
	if st := l.Faults(); len(st) != 1 || st[0].Fired != 1 || st[0].Seen != 5 {
		t.Errorf("fault status: %+v", st)
	}
	l.ResetRequests()
	if n := len(l.Requests()); n != 0 {
		t.Errorf("%d requests after the reset", n)
	}
}

func TestAdmin(t *testing.T) {
	l := start(t, upstream.Options{})
	send := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, l.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := l.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	if s, b := send("POST", "/_lab/faults", `{"kind":"status","status":429,"retryAfter":"3s","match":{"path":"/blobs/"},"when":{"times":1}}`); s != http.StatusNoContent {
		t.Fatalf("injecting: %d %s", s, b)
	}
	if s, _ := send("POST", "/_lab/faults", `{"kind":"status","stauts":429}`); s != http.StatusBadRequest {
		t.Errorf("unknown field: status %d", s)
	}
	if r := l.get(t, l.blobPath(), ""); r.status != 429 || r.header.Get("Retry-After") != "3" {
		t.Errorf("fault by admin: status %d", r.status)
	}
	if _, b := send("GET", "/_lab/faults", ""); !strings.Contains(b, `"fired":1`) {
		t.Errorf("faults: %s", b)
	}
	if _, b := send("GET", "/_lab/requests", ""); !strings.Contains(b, l.blobPath()) || strings.Contains(b, "_lab") {
		t.Errorf("requests: %s", b)
	}
	if s, b := send("PUT", "/_lab/tags", `{"repo":"ghcr.io/lab/app","tag":"v9","digest":"`+l.image.Digest.String()+`"}`); s != http.StatusNoContent {
		t.Errorf("setting a tag: %d %s", s, b)
	}
	if r := l.get(t, "/v2/ghcr.io/lab/app/manifests/v9", ""); r.status != http.StatusOK {
		t.Errorf("new tag: status %d", r.status)
	}
	if s, _ := send("PUT", "/_lab/tags", `{"repo":"ghcr.io/lab/app","tag":"v9","digest":"sha256:00"}`); s != http.StatusBadRequest {
		t.Errorf("tag to nowhere: status %d", s)
	}
	for _, path := range []string{"/_lab/faults", "/_lab/requests"} {
		if s, _ := send("DELETE", path, ""); s != http.StatusNoContent {
			t.Errorf("DELETE %s: status %d", path, s)
		}
	}
	if _, b := send("GET", "/_lab/totals", ""); strings.TrimSpace(b) != "{}" {
		t.Errorf("totals after clearing: %s", b)
	}
}

func TestStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	u, err := upstream.Start(ctx, upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := u.Wait(); err != nil {
		t.Errorf("waiting: %v", err)
	}
	if err := u.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}
