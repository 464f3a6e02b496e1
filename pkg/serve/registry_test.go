package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	gremote "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
)

// depot is a bundle with one of everything.
type depot struct {
	*bundle
	pause, amd64, arm64, gone ocispec.Descriptor
	index, signature, sbom    ocispec.Descriptor
}

func newDepot(t *testing.T) *depot {
	d := &depot{bundle: newBundle(t)}
	d.pause = d.image("amd64", 1, 300_000, 10)
	d.amd64, d.arm64, d.gone = d.image("amd64", 10, 100_000), d.image("arm64", 20, 1000), d.image("s390x", 30, 10)
	d.index = d.list("", d.amd64, d.arm64, d.gone)
	d.drop(d.gone.Digest)
	d.signature, d.sbom = d.referrer(d.index, "application/vnd.test.signature"), d.referrer(d.index, "application/vnd.test.sbom")
	d.add("registry.k8s.io/pause:3.10", d.pause)
	d.add("docker.io/library/debian:12", d.index)
	d.add("docker.io/library/debian:12.1", d.index)
	d.add("docker.io/library/debian@"+d.signature.Digest.String(), d.signature)
	d.add("docker.io/library/debian:sbom", d.sbom)
	d.add("localhost:5000/app/web:v1", d.pause)
	d.add("naru/files/etcd/etcdctl:3.5.24+b1", d.list(fileArtifactType,
		d.file("etcd", "etcdctl", "3.5.24+b1", "linux/amd64", random(200_000, 40)),
		d.file("etcd", "etcdctl", "3.5.24+b1", "linux/arm64", []byte("arm64"))))
	d.add("naru/files/docs/guide:1", d.file("docs", "guide.txt", "1", "", []byte("read me")))
	return d
}

func TestPullByGGCR(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	host := strings.TrimPrefix(ts.URL, "http://")
	for _, ref := range []string{"registry.k8s.io/pause:3.10", "docker.io/library/debian@" + d.arm64.Digest.String()} {
		r, err := name.ParseReference(host+"/"+ref, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		img, err := gremote.Image(r, gremote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	r, err := name.ParseReference(host+"/docker.io/debian:12", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := gremote.Index(r, gremote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := idx.Digest()
	if err != nil || got.String() != d.index.Digest.String() {
		t.Errorf("index digest %s, %v; want %s", got, err, d.index.Digest)
	}
	img, err := gremote.Image(r, gremote.WithContext(t.Context()), gremote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	if n := d.seeks.Load(); n != 0 {
		t.Errorf("whole pulls sought %d times", n)
	}
}

func TestPullByORAS(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	repo, err := remote.NewRepository(strings.TrimPrefix(ts.URL, "http://") + "/docker.io/library/debian")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	desc, err := oras.Copy(t.Context(), repo, d.amd64.Digest.String(), memory.New(), "", oras.DefaultCopyOptions)
	if err != nil || desc.Digest != d.amd64.Digest {
		t.Fatalf("copied %s, %v", desc.Digest, err)
	}
	var list []ocispec.Descriptor
	err = repo.Referrers(t.Context(), d.index, "application/vnd.test.sbom", func(page []ocispec.Descriptor) error {
		list = append(list, page...)
		return nil
	})
	if err != nil || len(list) != 1 || list[0].Digest != d.sbom.Digest || list[0].Annotations["note"] == "" {
		t.Errorf("referrers %v, %v", list, err)
	}
	// The plain copy of a sparse index fails on the child that is not carried,
	// and says so.
	if _, err = oras.Copy(t.Context(), repo, "12", memory.New(), "", oras.DefaultCopyOptions); err == nil {
		t.Error("copying a sparse index whole should fail")
	}
}

func TestStatusAndCode(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	large, _ := layerBytes(t, 300_000, 1)
	layer := digest.FromBytes(large)
	tests := []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/v2/", 200, ""},
		{"GET", "/v2", 200, ""},
		{"GET", "/v2/registry.k8s.io/pause/manifests/3.10", 200, ""},
		{"HEAD", "/v2/registry.k8s.io/pause/manifests/3.10", 200, ""},
		{"GET", "/v2/pause/manifests/3.10?ns=registry.k8s.io", 200, ""},
		{"GET", "/v2/registry.k8s.io/pause/manifests/3.10?ns=registry.k8s.io", 200, ""},
		{"GET", "/v2/debian/manifests/12?ns=docker.io", 200, ""},
		{"GET", "/v2/library/debian/manifests/12?ns=registry-1.docker.io", 200, ""},
		{"GET", "/v2/docker.io/debian/manifests/12", 200, ""},
		{"GET", "/v2/app/web/manifests/v1?ns=localhost%3A5000", 200, ""},
		{"GET", "/v2/localhost:5000/app/web/manifests/v1", 200, ""},
		{"GET", "/v2/localhost_5000/app/web/manifests/v1", 200, ""},
		{"GET", "/v2/naru/files/etcd/etcdctl/manifests/3.5.24_b1", 200, ""},
		{"HEAD", "/v2/registry.k8s.io/pause/blobs/" + layer.String(), 200, ""},
		{"GET", "/v2/pause/manifests/3.10?ns=quay.io", 404, codeNameUnknown},
		{"GET", "/v2/pause/manifests/3.10", 404, codeNameUnknown},
		{"GET", "/v2/registry.k8s.io/pause/manifests/3.11", 404, codeManifestUnknown},
		{"GET", "/v2/docker.io/library/debian/manifests/" + d.gone.Digest.String(), 404, codeManifestUnknown},
		// A blob is served in the repositories that use it alone.
		{"GET", "/v2/docker.io/library/debian/blobs/" + layer.String(), 404, codeBlobUnknown},
		{"GET", "/v2/docker.io/library/debian/blobs/sha256:12", 400, codeDigestInvalid},
		{"GET", "/v2/docker.io/library/debian/manifests/sha256:xx", 400, codeDigestInvalid},
		{"GET", "/v2/docker.io/library/debian/manifests/-x", 400, codeTagInvalid},
		{"GET", "/v2/docker.io/library/debian/tags/all", 400, codeNameInvalid},
		{"GET", "/v2/docker.io/../debian/tags/list", 400, codeNameInvalid},
		{"GET", "/v2/docker.io%2Flibrary/debian/tags/list", 400, codeNameInvalid},
		{"GET", "/v2/UPPER/case/x/tags/list?ns=docker.io", 400, codeNameInvalid},
		{"GET", "/v2/debian/tags/list?ns=docker.io%2F..", 400, codeNameInvalid},
		{"GET", "/v2/docker.io/library/debian/tags/list?n=x", 400, codePaginationInvalid},
		{"POST", "/v2/registry.k8s.io/pause/blobs/uploads/", 405, codeUnsupported},
		{"PUT", "/v2/registry.k8s.io/pause/manifests/x", 405, codeUnsupported},
		{"DELETE", "/v2/registry.k8s.io/pause/manifests/3.10", 405, codeUnsupported},
		{"PATCH", "/files/", 405, codeUnsupported},
		{"GET", "/healthz", 200, ""},
		{"GET", "/elsewhere", 404, codeNameUnknown},
	}
	for _, tt := range tests {
		resp, body := do(t, tt.method, ts.URL+tt.path)
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d: %s", tt.method, tt.path, resp.StatusCode, tt.status, body)
			continue
		}
		if tt.code != "" && code(t, body) != tt.code {
			t.Errorf("%s %s: %s, want %s", tt.method, tt.path, body, tt.code)
		}
		if tt.method == "HEAD" && (len(body) != 0 || resp.ContentLength <= 0) {
			t.Errorf("HEAD %s: %d bytes, Content-Length %d", tt.path, len(body), resp.ContentLength)
		}
	}
}

func TestManifestHeaders(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	u := ts.URL + "/v2/docker.io/library/debian/manifests/12"
	resp, body := do(t, "GET", u, "Accept", ocispec.MediaTypeImageManifest)
	if digest.FromBytes(body) != d.index.Digest {
		t.Error("other bytes than were stored")
	}
	want := map[string]string{
		"Content-Type": ocispec.MediaTypeImageIndex, "Docker-Content-Digest": d.index.Digest.String(),
		"Etag": `"` + d.index.Digest.String() + `"`, "Docker-Distribution-Api-Version": "registry/2.0",
	}
	for k, v := range want {
		if got := resp.Header.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	if resp, _ = do(t, "GET", u, "If-None-Match", want["Etag"]); resp.StatusCode != http.StatusNotModified {
		t.Errorf("If-None-Match: status %d", resp.StatusCode)
	}
	if resp, _ = do(t, "GET", u, "Accept", "text/html"); resp.StatusCode != http.StatusNotAcceptable {
		t.Errorf("Accept text/html: status %d", resp.StatusCode)
	}
}

func TestRanges(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	data, _ := layerBytes(t, 300_000, 1)
	n := len(data)
	u := ts.URL + "/v2/registry.k8s.io/pause/blobs/" + digest.FromBytes(data).String()
	tests := []struct {
		header []string
		status int
		want   []byte
	}{
		{nil, 200, data},
		{[]string{"Range", "bytes=0-0"}, 206, data[:1]},
		{[]string{"Range", "bytes=1000-200000"}, 206, data[1000:200001]},
		{[]string{"Range", fmt.Sprintf("bytes=%d-", n-10)}, 206, data[n-10:]},
		{[]string{"Range", "bytes=0-0" + strings.Repeat(",2-2", maxRanges)}, 200, data},
		{[]string{"Range", "bytes=-7"}, 206, data[n-7:]},
		{[]string{"Range", "bytes=5-9", "If-Range", etag(digest.FromBytes(data))}, 206, data[5:10]},
		{[]string{"Range", "bytes=5-9", "If-Range", `"other"`}, 200, data},
		{[]string{"Range", fmt.Sprintf("bytes=%d-", n)}, 416, nil},
	}
	for _, tt := range tests {
		resp, body := do(t, "GET", u, tt.header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%v: status %d, want %d", tt.header, resp.StatusCode, tt.status)
		} else if tt.want != nil && !slices.Equal(body, tt.want) {
			t.Errorf("%v: other bytes", tt.header)
		}
	}
}

func TestTagsPaging(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	var tags []string
	next := "/v2/debian/tags/list?ns=docker.io&n=2"
	for pages := 0; next != ""; pages++ {
		if pages > 5 {
			t.Fatal("paging does not end")
		}
		resp, body := do(t, "GET", ts.URL+next)
		var list struct{ Tags []string }
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		tags = append(tags, list.Tags...)
		link, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		next = link
	}
	if diff := cmp.Diff([]string{"12", "12.1", "sbom"}, tags); diff != "" {
		t.Error(diff)
	}
	_, body := do(t, "GET", ts.URL+"/v2/_catalog?n=2&last=docker.io/library/debian")
	if want := `{"repositories":["localhost_5000/app/web","naru/files/docs/guide"]}`; strings.TrimSpace(string(body)) != want {
		t.Errorf("catalog %s, want %s", body, want)
	}
}

func TestReferrers(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	get := func(q string) (idx ocispec.Index, h http.Header) {
		resp, body := do(t, "GET", ts.URL+"/v2/docker.io/library/debian/referrers/"+q)
		if err := json.Unmarshal(body, &idx); err != nil {
			t.Fatal(err)
		}
		return idx, resp.Header
	}
	all, h := get(d.index.Digest.String())
	if len(all.Manifests) != 2 || h.Get("Content-Type") != ocispec.MediaTypeImageIndex || h.Get("OCI-Filters-Applied") != "" {
		t.Errorf("%v %v", all, h)
	}
	one, h := get(d.index.Digest.String() + "?artifactType=" + url.QueryEscape("application/vnd.test.signature"))
	if len(one.Manifests) != 1 || one.Manifests[0].Digest != d.signature.Digest || h.Get("OCI-Filters-Applied") != "artifactType" {
		t.Errorf("%v %v", one, h)
	}
	none, _ := get(digest.FromString("none").String())
	if none.Manifests == nil || len(none.Manifests) != 0 || none.SchemaVersion != 2 {
		t.Errorf("%+v, want an empty list", none)
	}
}

func TestUnion(t *testing.T) {
	first, second := newBundle(t), newBundle(t)
	base := first.image("amd64", 1, 100)
	first.add("quay.io/a/b:1", base)
	first.add("quay.io/a/b:2", base)
	newer := second.image("amd64", 2, 200)
	second.add("quay.io/a/b:2", newer)
	// A delta: an index of the second whose child is in the first.
	delta := second.list("", base)
	second.add("quay.io/a/c:1", delta)
	ts, s := serveBundles(t, first, second)
	for path, want := range map[string]digest.Digest{
		"a/b/manifests/1": base.Digest, "a/b/manifests/2": newer.Digest,
		"a/c/manifests/1": delta.Digest, "a/c/manifests/" + base.Digest.String(): base.Digest,
	} {
		resp, body := do(t, "GET", ts.URL+"/v2/"+path+"?ns=quay.io")
		if digest.FromBytes(body) != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	want := []Conflict{{Name: "quay.io/a/b:2", Served: newer.Digest, Hidden: base.Digest}}
	if diff := cmp.Diff(want, s.Conflicts()); diff != "" {
		t.Error(diff)
	}
}

func TestDamageNeverLooksWhole(t *testing.T) {
	d := newDepot(t)
	largeData, _ := layerBytes(t, 300_000, 1)
	smallData, _ := layerBytes(t, 10, 2)
	large, small := digest.FromBytes(largeData), digest.FromBytes(smallData)
	d.damaged[large], d.damaged[small] = true, true
	var seen []Request
	s, err := New(t.Context(), Options{Contents: []Content{d}, OnRequest: func(r Request) { seen = append(seen, r) }})
	if err != nil {
		t.Fatal(err)
	}
	srv := newH2Server(t, s)
	for _, client := range []*http.Client{srv.Client(), http1Client(srv)} {
		for _, header := range []string{"", "bytes=100-2000", "bytes=0-99", "bytes=0-9,20-29"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/v2/registry.k8s.io/pause/blobs/"+large.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if header != "" {
				req.Header.Set("Range", header)
			}
			resp, err := client.Do(req)
			if err != nil {
				continue // cut before the headers were flushed
			}
			data, err := io.ReadAll(resp.Body)
			if cerr := resp.Body.Close(); cerr != nil {
				t.Error(cerr)
			}
			if refused := resp.StatusCode == http.StatusInternalServerError; err == nil && !refused || header != "" && !refused {
				t.Errorf("%s range %q: %d bytes with status %d and no error", resp.Proto, header, len(data), resp.StatusCode)
			}
		}
		resp, err := client.Get(srv.URL + "/v2/registry.k8s.io/pause/blobs/" + small.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != http.StatusInternalServerError || resp.Header.Get("Etag") != "" {
			t.Errorf("damaged small blob: status %d, headers %v", resp.StatusCode, resp.Header)
		}
	}
	for _, r := range seen {
		if !errors.Is(r.Err, errDamaged) {
			t.Errorf("%s: reported %v", r.Path, r.Err)
		}
	}
}

func TestNewRefusesBrokenBundles(t *testing.T) {
	broken := newBundle(t)
	img := broken.image("amd64", 1, 10)
	broken.add("quay.io/x/y:1", img)
	broken.damaged[img.Digest] = true
	if _, err := New(t.Context(), Options{Contents: []Content{broken}}); !errors.Is(err, errDamaged) {
		t.Errorf("damaged manifest: %v", err)
	}
	for _, ref := range []string{"", "plain", "quay.io/x/../y:1", "quay.io/X Y:1", "quay.io/x:t/g:+"} {
		b := newBundle(t)
		b.add(ref, b.image("amd64", 1, 10))
		if _, err := New(t.Context(), Options{Contents: []Content{b}}); err == nil {
			t.Errorf("reference %q was taken", ref)
		}
	}
	for _, layer := range []ocispec.Descriptor{
		{Digest: "sha256:12", Size: 1}, {Digest: "x", Size: 1}, {Digest: digest.FromString("x"), Size: -1}, {Digest: digest.FromString("x"), Size: 2},
	} {
		b := newBundle(t)
		config := b.blob(ocispec.MediaTypeImageConfig, []byte("x"))
		b.add("quay.io/x/y:1", b.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer}}))
		if _, err := New(t.Context(), Options{Contents: []Content{b}}); !errors.Is(err, ErrDescriptor) {
			t.Errorf("layer %v: %v", layer, err)
		}
	}
	if _, err := New(t.Context(), Options{}); err == nil {
		t.Error("no bundles were taken")
	}
}
