package serve

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// slowContent waits in OpenBlob once it is armed.
type slowContent struct {
	*bundle
	armed            bool
	started, release chan struct{}
}

func (c *slowContent) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	if c.armed {
		close(c.started)
		<-c.release
	}
	return c.bundle.OpenBlob(ctx, d)
}

func TestSplitReference(t *testing.T) {
	tests := []struct{ ref, name, tag string }{
		{"registry.k8s.io/pause:3.10", "registry.k8s.io/pause", "3.10"},
		{"docker.io/library/debian:12", "docker.io/library/debian", "12"},
		{"docker.io/debian:12", "docker.io/library/debian", "12"},
		{"localhost:5000/a/b:1", "localhost_5000/a/b", "1"},
		{"[::1]:5000/a:1", "ip6-1_5000/a", "1"},
		{"naru/files/etcd/etcdctl:3.5.24+x", "naru/files/etcd/etcdctl", "3.5.24_x"},
		{"quay.io/a/b@sha256:" + strings.Repeat("a", 64), "quay.io/a/b", ""},
		{"quay.io/a/b:1@sha256:" + strings.Repeat("a", 64), "quay.io/a/b", "1"},
	}
	for _, tt := range tests {
		name, tag, err := splitReference(tt.ref)
		if err != nil || name != tt.name || tag != tt.tag {
			t.Errorf("%q: %q, %q, %v", tt.ref, name, tag, err)
		}
	}
}

// FuzzParseRoute asks that whatever is parsed is a clean name, and that errors
// are answers of the API.
func FuzzParseRoute(f *testing.F) {
	d := "sha256:" + strings.Repeat("a", 64)
	for _, seed := range []struct{ path, ns string }{
		{"/v2/", ""}, {"/v2/_catalog", "quay.io"}, {"/v2/a/tags/list", "localhost:5000"},
		{"/v2/registry.k8s.io/pause/manifests/3.10", ""}, {"/v2/a/b/blobs/" + d, "docker.io"},
		{"/v2/docker.io/debian/referrers/" + d, "docker.io"}, {"/v2/../a/tags/list", ".."}, {"/v2//a/tags/list", "[::1]:5000"},
		{"/v2/a%2f..%2fb/manifests/x", "a/b"}, {"/v2/a\x00b/manifests/x", "\x7f"},
	} {
		f.Add(seed.path, seed.ns)
	}
	f.Fuzz(func(t *testing.T, p, ns string) {
		u, err := url.Parse("http://depot" + p)
		if err != nil {
			return
		}
		u.RawQuery = url.Values{"ns": {ns}}.Encode()
		r, err := parseRoute(u)
		if err != nil {
			var re *registryError
			if !errors.As(err, &re) || re.status < 400 || re.status > 499 {
				t.Fatalf("%q: error %v is no answer", p, err)
			}
			return
		}
		if r.name != "" && (path.Clean(r.name) != r.name || strings.HasPrefix(r.name, "/") || strings.HasPrefix(r.name, ".")) {
			t.Fatalf("%q %q: name %q is not clean", p, ns, r.name)
		}
		for _, c := range r.name + r.reference + r.ns {
			if c <= ' ' || c == '\\' || c == 0x7f || c == '%' {
				t.Fatalf("%q %q: %q in %+v", p, ns, c, r)
			}
		}
		if r.digest != "" && r.digest.Validate() != nil {
			t.Fatalf("%q: digest %q", p, r.digest)
		}
	})
}
