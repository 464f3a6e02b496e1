package serve

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

func TestFiles(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	data := random(200_000, 40)
	u := ts.URL + "/files/etcd/3.5.24+b1/linux-amd64/etcdctl"
	resp, body := do(t, "GET", u)
	if !slices.Equal(body, data) {
		t.Fatalf("status %d, %d bytes", resp.StatusCode, len(body))
	}
	sum := digest.FromBytes(data)
	raw := strings.TrimSuffix(strings.TrimPrefix(resp.Header.Get("Repr-Digest"), "sha-256=:"), ":")
	if dec, err := base64.StdEncoding.DecodeString(raw); err != nil || len(dec) != 32 {
		t.Errorf("Repr-Digest %q: %v", resp.Header.Get("Repr-Digest"), err)
	}
	if resp.Header.Get("X-Checksum-Sha256") != sum.Encoded() || resp.Header.Get("Etag") != etag(sum) ||
		resp.Header.Get("Last-Modified") != "" {
		t.Errorf("headers %v", resp.Header)
	}
	resp, _ = do(t, "GET", u, "Range", "bytes=900000-")
	if h := resp.Header; resp.StatusCode != 416 || h.Get("Content-Disposition")+h.Get("X-Checksum-Sha256")+h.Get("Etag") != "" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("no such range: %d %v", resp.StatusCode, h)
	}
	// A date alone says nothing of the content: two bundles may share it.
	if resp, _ = do(t, "GET", u, "If-Modified-Since", "Tue, 01 Jan 2030 00:00:00 GMT"); resp.StatusCode != 200 {
		t.Errorf("If-Modified-Since: status %d", resp.StatusCode)
	}
	if resp, body = do(t, "GET", u, "Range", "bytes=10-19"); resp.StatusCode != 206 || !slices.Equal(body, data[10:20]) {
		t.Errorf("range: status %d", resp.StatusCode)
	}
	if resp, _ = do(t, "GET", strings.Replace(u, "+", "%2b", 1)); resp.StatusCode != 200 {
		t.Errorf("percent-encoded: status %d", resp.StatusCode)
	}
	if _, body = do(t, "GET", ts.URL+"/files/docs/1/all/guide.txt"); string(body) != "read me" {
		t.Errorf("file of all platforms: %q", body)
	}
}

func TestFileListing(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	_, body := do(t, "GET", ts.URL+"/files/etcd/3.5.24+b1/linux-arm64/")
	var got FileList
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := FileList{APIVersion: "naru/v1", Kind: "FileList", Path: "/files/etcd/3.5.24+b1/linux-arm64/", Entries: []FileEntry{
		{Name: "etcdctl", Size: 5, Mode: "0755", Digest: digest.FromString("arm64")},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, body = do(t, "GET", ts.URL+"/files/", "Accept", "text/html,*/*")
	if page := string(body); !strings.Contains(page, `<a href="./docs/">docs/</a>`) || !strings.Contains(page, `href="./etcd/"`) {
		t.Errorf("page %s", page)
	}
	resp, _ := do(t, "GET", ts.URL+"/files/etcd")
	if resp.StatusCode != 301 || resp.Header.Get("Location") != "/files/etcd/" {
		t.Errorf("without slash: %d %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, path := range []string{"/files/etcd/9", "/files/../bundles", "/files//etcd/", "/files/etcd/%2e%2e/", "/files/etcd//"} {
		if resp, body := do(t, "GET", ts.URL+path); resp.StatusCode != 404 {
			t.Errorf("%s: status %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestFileTreeRefusesBadPaths(t *testing.T) {
	tree := newFileTree("/files/", fileElementRE)
	for _, p := range []string{"", "a/../b", "/a", "a//b", "a/.hidden", "a/b\\c", "a/b\x00", "../a", "-rf"} {
		if err := tree.put(p, file{}); err == nil {
			t.Errorf("path %q was taken", p)
		}
	}
	if err := tree.put("a/b", file{digest: "sha256:1"}); err != nil {
		t.Fatal(err)
	}
	if tree.put("a/b/c", file{}) == nil || tree.put("a", file{}) == nil {
		t.Error("a path was taken for file and folder at once")
	}
	if err := tree.put("a/b", file{digest: "sha256:2"}); err != nil || len(tree.conflicts) != 1 {
		t.Errorf("conflicts %v, %v", tree.conflicts, err)
	}
}

func TestBundles(t *testing.T) {
	d := newDepot(t)
	ts, _ := serveBundles(t, d.bundle)
	_, body := do(t, "GET", ts.URL+"/bundles")
	var doc struct{ Bundles []bundleInfo }
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	want := []bundleInfo{{Digest: digest.FromString("bundle"), Release: "test", Platforms: []string{"linux/amd64"}, Artifacts: 8}}
	if diff := cmp.Diff(want, doc.Bundles); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedBundlesAreTold: what a depot was to serve and leaves out is told by the depot,
// which goes on to answer a load balancer's check.
func TestRefusedBundlesAreTold(t *testing.T) {
	d := newDepot(t)
	s, err := New(t.Context(), Options{Contents: []Content{d.bundle}, Refused: []Refused{{Name: "x", Bundle: digest.FromString("x"), Reason: "damaged"}}})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	defer ts.Close()
	resp, body := do(t, "GET", ts.URL+"/healthz")
	if resp.StatusCode != 200 || !strings.Contains(string(body), `"incomplete"`) || !strings.Contains(string(body), `"refused":1`) {
		t.Errorf("/healthz: %s %s", resp.Status, body)
	}
	var doc struct{ Refused []Refused }
	_, body = do(t, "GET", ts.URL+"/bundles")
	if err := json.Unmarshal(body, &doc); err != nil || len(doc.Refused) != 1 || doc.Refused[0].Reason != "damaged" {
		t.Errorf("/bundles: %s, %v", body, err)
	}
}

// TestDamageIsLaidAtItsOwnDoor: two bundles with the same manifest, of which one is damaged.
func TestDamageIsLaidAtItsOwnDoor(t *testing.T) {
	good, bad := newDepot(t).bundle, newDepot(t).bundle
	for _, m := range bad.index.Manifests {
		bad.damaged[m.Digest] = true
	}
	_, err := New(t.Context(), Options{Contents: []Content{bad, good}})
	var own *ContentError
	if !errors.As(err, &own) || own.At != 0 || !errors.Is(err, errDamaged) {
		t.Errorf("the damaged one first: %v", err)
	}
	if _, err := New(t.Context(), Options{Contents: []Content{good, bad}}); err != nil {
		t.Errorf("what the other holds whole: %v", err)
	}
}
