//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
)

// Real cosign verifies, in a network without a way out, the signatures and
// attestations of a registry that install push filled; one by a key of another is
// refused.
func TestCosignVerifiesWhatWasPushed(t *testing.T) {
	n := newSealed(t)
	const registry = "127.0.0.1:5000"
	config := write(t, "registry.yml", fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n",
		filepath.Join(t.TempDir(), "registry"), registry))
	start(t, n.command(t.Context(), "docker-registry", "serve", config))
	n.ok(t, "curl", "-sf", "--retry", "40", "--retry-connrefused", "--retry-delay", "1", "-o", "/dev/null", "http://"+registry+"/v2/")
	n.ok(t, "install", "push", w.demo, "--key", w.pub, "--to", registry, "--plain-http", "--progress", "none")

	ok(t, "bundle", "keygen", "--out-prefix", w.path("stranger"))
	root := filepath.Join(w.demo, "trusted_root.json")
	offline := []string{"--private-infrastructure", "--trusted-root", root}
	for _, image := range w.pushed(t) {
		ref := registry + "/" + image
		for _, tool := range []string{"cosign2", "cosign3"} {
			verify := append([]string{"verify", "--new-bundle-format=false", "--output", "json"}, offline...)
			n.ok(t, tool, append(verify, "--key", w.pub, ref)...)
			if r, err := finish(n.command(t.Context(), tool, append(verify, "--key", w.path("stranger.pub"), ref)...)); err != nil || r.code == 0 {
				t.Errorf("%s accepted %s by another key: %v", tool, ref, err)
			}
		}
		for kind, tool := range map[string]string{"cyclonedx": "cosign2", "vuln": "cosign3"} {
			args := append([]string{"verify-attestation", "--key", w.pub, "--type", kind}, offline...)
			if tool == "cosign2" {
				args = append(args, "--new-bundle-format")
			}
			n.ok(t, tool, append(args, ref)...)
		}
	}
	signedAnew(t, n, registry, offline)
	if sent := n.strangers(t); sent != 0 {
		t.Errorf("%d packets were sent to others", sent)
	}
}

// signedAnew pushes the same content, signed by another key, to the same registry: real
// cosign finds both signatures then, and pushing either again changes nothing.
func signedAnew(t *testing.T, n *sealed, registry string, offline []string) {
	t.Helper()
	next, key := filepath.Join(t.TempDir(), "next"), w.path("next-signer")
	ok(t, "bundle", "keygen", "--out-prefix", key)
	ok(t, "bundle", w.build(next, "--key", key+".key", "--no-installer")...)
	push := func(media string) result {
		return n.ok(t, "install", "push", media, "--key", w.pub, "--key", key+".pub", "--to", registry, "--plain-http", "--progress", "none", "--output", "json")
	}
	push(next)
	for _, media := range []string{next, w.demo} {
		var again struct {
			Push struct {
				Pushed []struct{ Ref string }
				Blobs  struct{ Uploaded, Mounted int }
			}
		}
		if err := json.Unmarshal(push(media).stdout, &again); err != nil || len(again.Push.Pushed)+again.Push.Blobs.Uploaded+again.Push.Blobs.Mounted != 0 {
			t.Errorf("pushing %s again: %+v, %v", media, again, err)
		}
	}
	image := registry + "/" + w.pushed(t)[0]
	for _, public := range []string{w.pub, key + ".pub"} {
		verify := append([]string{"verify", "--new-bundle-format=false", "--output", "json"}, offline...)
		n.ok(t, "cosign2", append(verify, "--key", public, image)...)
		n.ok(t, "cosign3", append(verify, "--key", public, image)...)
	}
}

// pushed are the platform manifests of the demo's images, "host/repository@digest".
func (next *world) pushed(t *testing.T) []string {
	t.Helper()
	var report struct {
		Artifacts []struct{ Ref, Kind, Digest, Platform, SBOM string }
	}
	dir := t.TempDir()
	ok(t, "bundle", "extract", next.demo, "--key", next.pub, "--to", dir, "--progress", "none")
	data, err := os.ReadFile(filepath.Join(dir, "reports", "scan.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range report.Artifacts {
		if a.Kind == "image" && a.Platform == "linux/amd64" {
			name, _, _ := strings.Cut(a.Ref, "@")
			if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
				name = name[:i]
			}
			out = append(out, name+"@"+a.Digest)
		}
	}
	if len(out) < 3 {
		t.Fatalf("the report has %d images", len(out))
	}
	return out[:3]
}

// databaseLayout is the lab's database as an OCI layout of its own.
func databaseLayout(t *testing.T) string {
	t.Helper()
	dir, to := filepath.Join(t.TempDir(), "db"), filepath.Join(t.TempDir(), "layout")
	if err := trivydb.Build(dir, trivydb.Default(), trivydb.Date()); err != nil {
		t.Fatal(err)
	}
	lw, err := layout.NewWriter(to)
	if err == nil {
		err = trivydb.Add(lw, trivydb.Ref, dir)
	}
	if err == nil {
		_, err = lw.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// A bundle is scanned again with no network, out of its volumes, and the findings are
// those of the build; a policy stops it with exit code 11.
func TestScanWithoutNetwork(t *testing.T) {
	n := newSealed(t)
	db, cache := databaseLayout(t), t.TempDir()
	args := []string{"scan", w.demo, "--key", w.pub, "--db", db, "--java-db", "none", "--cache", cache, "--progress", "none", "--output", "json"}
	var report struct {
		Verdict string
		Totals  struct {
			Open struct{ Critical, High, Medium int }
		}
	}
	if err := json.Unmarshal(n.ok(t, "bundle", args...).stdout, &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != "not judged" || report.Totals.Open.Critical == 0 || report.Totals.Open.Medium == 0 {
		t.Errorf("report %+v", report)
	}
	policy := write(t, "policy.yaml", "apiVersion: naru/v1\nkind: ScanPolicy\nrule: {severity: critical}\n")
	r, err := finish(n.command(t.Context(), "bundle", append(args, "--policy", policy)...))
	if err != nil || r.code != 11 || !strings.Contains(string(r.stderr), "CVE-2019-1010022") {
		t.Errorf("with a policy: exit code %d, %v\n%s", r.code, err, r.stderr)
	}
	if sent := n.strangers(t); sent != 0 || len(n.questions) != 0 {
		t.Errorf("%d packets were sent to others, and asked for %v", sent, n.questions)
	}
}
