//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/pkg/serve"
)

// skopeo, crane and curl get from install serve, over TLS, what the upstream had.
func TestSkopeoAndCranePullFromServe(t *testing.T) {
	depot := startDepot(t, w.demo, "--listen", "127.0.0.1:0")
	for ref, platforms := range w.images() {
		t.Run("skopeo "+ref, func(t *testing.T) { skopeoPulls(t, depot, ref, platforms) })
		t.Run("crane "+ref, func(t *testing.T) { cranePulls(t, depot, ref, platforms) })
	}
	t.Run("tags", func(t *testing.T) {
		want := []string{"v1.6.2", "v1.6.2-tar", "v1.6.2-zstd"}
		repo := depot.addr + "/ghcr.io/naru-lab/cni-plugins"
		var list struct{ Tags []string }
		okJSON(t, &list, "skopeo", "list-tags", "--cert-dir", depot.certDir(t), "docker://"+repo)
		byCrane := strings.Fields(depot.crane(t, "ls", repo))
		for _, tag := range want {
			if !slices.Contains(list.Tags, tag) || !slices.Contains(byCrane, tag) {
				t.Errorf("tag %s is not in %v (skopeo), %v (crane)", tag, list.Tags, byCrane)
			}
		}
	})
	t.Run("files", func(t *testing.T) { curlFetches(t, depot) })
	t.Run("not trusted", func(t *testing.T) {
		r, err := w.run(t.Context(), "skopeo", "inspect", "docker://"+depot.addr+"/registry.k8s.io/pause:3.10")
		if err != nil || r.code == 0 {
			t.Errorf("skopeo took a certificate of an authority it does not know: %d %v", r.code, err)
		}
	})
}

// certDir is a folder of authorities as skopeo wants one: the depot's own has the
// authority's key beside it, which skopeo takes for a client's.
func (s *server) certDir(t *testing.T) string {
	t.Helper()
	ca, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(write(t, "ca.crt", string(ca)))
}

// crane runs crane, which trusts the depot by SSL_CERT_FILE.
func (s *server) crane(t *testing.T, args ...string) string {
	t.Helper()
	cmd := w.command(t.Context(), "crane", args...)
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.ca)
	r, err := finish(cmd)
	if err != nil || r.code != 0 {
		t.Fatalf("crane %v: exit code %d, %v\n%s", args, r.code, err, r.stderr)
	}
	return string(r.stdout)
}

// skopeoPulls copies every platform of ref by tag; skopeo compares the digests.
func skopeoPulls(t *testing.T, depot *server, ref string, platforms map[string]string) {
	url := "docker://" + depot.addr + "/" + ref
	raw := ok(t, "skopeo", "inspect", "--raw", "--cert-dir", depot.certDir(t), url)
	if got, want := hashFile(t, write(t, "raw", string(raw.stdout))), w.layout.Refs()[ref].Digest.Encoded(); got != want {
		t.Errorf("skopeo inspect --raw has %s, the upstream had %s", got, want)
	}
	for platform, digest := range platforms {
		to := t.TempDir()
		ok(t, "skopeo", "--override-os", "linux", "--override-arch", strings.TrimPrefix(platform, "linux/"), "--insecure-policy",
			"copy", "-q", "--src-cert-dir", depot.certDir(t), url, "dir:"+to)
		if got := "sha256:" + hashFile(t, filepath.Join(to, "manifest.json")); got != digest {
			t.Errorf("skopeo copied %s as %s, want %s", platform, got, digest)
		}
	}
}

// cranePulls asks crane for the digest, each platform's manifest and the content.
func cranePulls(t *testing.T, depot *server, ref string, platforms map[string]string) {
	at := depot.addr + "/" + ref
	if got, want := strings.TrimSpace(depot.crane(t, "digest", at)), w.layout.Refs()[ref].Digest.String(); got != want {
		t.Errorf("crane digest says %s, the upstream had %s", got, want)
	}
	for platform, digest := range platforms {
		manifest := depot.crane(t, "manifest", "--platform", platform, at)
		if got := "sha256:" + hashFile(t, write(t, "manifest", manifest)); got != digest {
			t.Errorf("crane manifest for %s is %s, want %s", platform, got, digest)
		}
		to := filepath.Join(t.TempDir(), "layout")
		depot.crane(t, "pull", "--format", "oci", "--platform", platform, at, to)
		pulled, err := os.ReadFile(filepath.Join(to, "blobs", strings.Replace(digest, ":", "/", 1)))
		if err != nil || string(pulled) != manifest {
			t.Errorf("crane pull for %s: %v", platform, err)
		}
	}
}

// curlFetches walks the file tree, fetches every file whole and in three ranges,
// and hashes both. Each must be a file as the upstream has it: what the demo takes
// out of archives is there by itself as well.
func curlFetches(t *testing.T, depot *server) {
	upstream := map[string]bool{}
	for _, f := range w.layout.Catalog.Files {
		upstream[f.SHA256] = true
	}
	fetched := 0
	var walk func(dir string)
	walk = func(dir string) {
		var list serve.FileList
		if err := json.Unmarshal([]byte(depot.curl(t, dir, "-H", "Accept: application/json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Entries {
			if strings.HasSuffix(e.Name, "/") {
				walk(dir + e.Name)
				continue
			}
			curlFetch(t, depot, dir+e.Name, e)
			if !upstream[e.Digest.Encoded()] {
				t.Errorf("%s%s is %s, which no file of the upstream is", dir, e.Name, e.Digest)
			}
			fetched++
		}
	}
	walk("/files/")
	if fetched != 4 {
		t.Errorf("%d files in the tree, want 2 on 2 platforms", fetched)
	}
}

func curlFetch(t *testing.T, depot *server, path string, e serve.FileEntry) {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	depot.curl(t, path, "-o", whole)
	if got := hashFile(t, whole); got != e.Digest.Encoded() {
		t.Errorf("%s is %s, the listing says %s", path, got, e.Digest)
	}
	third := e.Size / 3
	var parts []string
	for i, r := range []string{fmt.Sprintf("0-%d", third-1), fmt.Sprintf("%d-%d", third, 2*third-1), fmt.Sprintf("%d-", 2*third)} {
		part := filepath.Join(dir, fmt.Sprint(i))
		if status := depot.curl(t, path, "-o", part, "-r", r, "-w", "%{http_code}"); status != "206" {
			t.Errorf("range %s of %s: status %s", r, path, status)
		}
		parts = append(parts, part)
	}
	if got := hashFile(t, parts...); got != e.Digest.Encoded() {
		t.Errorf("the ranges of %s come to %s, want %s", path, got, e.Digest)
	}
}

// curl fetches a path of the depot.
func (s *server) curl(t *testing.T, path string, args ...string) string {
	t.Helper()
	return string(ok(t, "curl", append([]string{"-sSf", "--cacert", s.ca, "https://" + s.addr + path}, args...)...).stdout)
}
