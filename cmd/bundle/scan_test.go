package main

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/manifest"
	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
	"naru/test/lab/upstream"
)

const debianRef = "ghcr.io/naru/debian:12"

// addDebian publishes an image of two platforms with a vulnerable C library, and the
// databases; newer are advisories that the database does not have yet.
func (w *world) addDebian(t *testing.T) {
	t.Helper()
	files := map[string]string{
		"etc/debian_version":         "12.5\n",
		"etc/os-release":             "ID=debian\nVERSION_ID=\"12\"\n",
		"var/lib/dpkg/status.d/libc": "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u4\nMaintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>\n",
	}
	var children []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		layer := must(w.Layer(layout.Gzip, "base "+arch, func(tw *tar.Writer) error {
			for _, name := range []string{"etc/debian_version", "etc/os-release", "var/lib/dpkg/status.d/libc"} {
				if err := layout.AddFile(tw, name, 0o644, int64(len(files[name])), strings.NewReader(files[name])); err != nil {
					return err
				}
			}
			return layout.AddFile(tw, "arch", 0o644, int64(len(arch)), strings.NewReader(arch))
		}))(t)
		children = append(children, must(w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}}))(t))
	}
	w.Name(layout.Image{Ref: debianRef}, must(w.Multi("", children))(t))
	db, java := filepath.Join(w.dir, "db"), filepath.Join(w.dir, "java")
	ok(t, trivydb.Build(db, trivydb.Default(), trivydb.Date()))
	ok(t, trivydb.Add(w.Writer, trivydb.Ref, db))
	ok(t, trivydb.BuildJava(java, trivydb.Date()))
	ok(t, trivydb.Add(w.Writer, trivydb.JavaRef, java))
}

// databaseLayout is a database as an OCI layout of its own.
func (w *world) databaseLayout(t *testing.T, advisories ...trivydb.Advisory) string {
	t.Helper()
	dir, to := filepath.Join(t.TempDir(), "db"), filepath.Join(t.TempDir(), "layout")
	ok(t, trivydb.Build(dir, append(trivydb.Default(), advisories...), trivydb.Date().AddDate(0, 1, 0)))
	lw := must(layout.NewWriter(to))(t)
	ok(t, trivydb.Add(lw, trivydb.Ref, dir))
	must(lw.Close())(t)
	return to
}

func policyFile(w *world, rest string) string {
	return w.write("policy.yaml", "apiVersion: naru/v1\nkind: ScanPolicy\ntitle: lab\n"+rest)
}

func TestScanJudgesTheBuild(t *testing.T) {
	w := newWorldWith(t, upstream.Options{}, func(w *world) { w.addDebian(t) })
	w.scans = true
	w.content = w.write("debian.yaml", contentOf("{ref: '"+debianRef+"'}"))
	critical := "rule: {severity: critical}\n"
	except := func(day string) string {
		return critical + "exceptions: [{id: CVE-2019-1010022, artifact: 'ghcr.io/naru/*', reason: disputed upstream, approver: kim, expires: '" + day + "'}]\n"
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1780000000") // 2026-05-28

	expect(t, bundle(t, w.build("--policy", policyFile(w, critical))...), cli.ExitPolicy, "CRITICAL CVE-2019-1010022 in "+debianRef, "libc6 2.36-9+deb12u4", "hint: ")
	if _, err := os.Stat(w.out()); err == nil {
		t.Error("a build that the policy stopped wrote its folder")
	}
	expect(t, bundle(t, w.build("--policy", policyFile(w, except("2026-05-27")))...), cli.ExitPolicy, "expired on 2026-05-27")
	passed := result[build.Result](t, bundle(t, w.build("--policy", policyFile(w, except("2026-05-28")), "--output", "json")...))
	if passed.Scan != string(manifest.VerdictExceptions) {
		t.Errorf("the verdict is %q", passed.Scan)
	}
	again := result[build.Result](t, bundle(t, w.build("--policy", policyFile(w, except("2026-05-28")), "--output", "json")...))
	if !again.UpToDate {
		t.Errorf("the second build wrote another bundle: %+v", again)
	}
	said := result[struct{ Document manifest.Bundle }](t, bundle(t, "inspect", w.out(), "--key", w.key+".pub", "--output", "json"))
	if s := said.Document.Scan; len(s.Exceptions) != 1 || s.Exceptions[0].Approver != "kim" || s.Database == "" || s.DatabaseDate != "2025-05-20T00:00:00Z" || s.Policy == "" {
		t.Errorf("bundle.json says %+v", s)
	}
	verified := result[struct{ Signatures, Attestations int }](t, bundle(t, "verify", w.out(), "--key", w.key+".pub", "--output", "json"))
	if verified.Signatures != 2 || verified.Attestations != 2 {
		t.Errorf("verified %+v, want the signatures of index and image, and the image's two attestations", verified)
	}
	for old, edited := range map[string]string{`"pass with exceptions"`: `"pass"`, `"approver":"kim"`: `"approver":"lee"`} {
		t.Run("edited "+edited, func(t *testing.T) {
			copied := w.tampered(t, old, edited)
			if o := bundle(t, "verify", copied, "--key", w.key+".pub"); o.code == 0 {
				t.Error("an edited verdict passed")
			}
		})
	}
}

// tampered is a copy of the bundle's folder in which a text of the same length stands
// in the place of another, in every file of it.
func (w *world) tampered(t *testing.T, old, edited string) string {
	t.Helper()
	edited += strings.Repeat(" ", max(0, len(old)-len(edited)))
	dir := t.TempDir()
	found := false
	for _, e := range must(os.ReadDir(w.out()))(t) {
		if e.IsDir() {
			continue
		}
		data := string(must(os.ReadFile(filepath.Join(w.out(), e.Name())))(t))
		found = found || strings.Contains(data, old)
		ok(t, os.WriteFile(filepath.Join(dir, e.Name()), []byte(strings.ReplaceAll(data, old, edited)), 0o600))
	}
	if !found {
		t.Fatalf("%q is nowhere in the bundle", old)
	}
	return dir
}

func TestScanOfABundle(t *testing.T) {
	w := newWorldWith(t, upstream.Options{}, func(w *world) { w.addDebian(t) })
	w.scans = true
	w.content = w.write("debian.yaml", contentOf("{ref: '"+debianRef+"'}, {ref: '"+trivydb.Ref+"', artifact: true}"))
	built := result[build.Result](t, bundle(t, w.build("--output", "json", "--sbom", "spdx")...))
	if built.Scan != string(manifest.VerdictNotJudged) {
		t.Errorf("without a policy the verdict is %q", built.Scan)
	}
	ok(t, w.up.Close())
	w.up.ResetRequests()

	cache := filepath.Join(w.dir, "rescan")
	args := []string{"scan", w.out(), "--key", w.key + ".pub", "--cache", cache, "--output", "json"}
	carried := result[manifest.ScanReport](t, bundle(t, args...)) // with the database that it carries
	if carried.Totals.Open.Critical != 1 || carried.Verdict != manifest.VerdictNotJudged {
		t.Errorf("the report says %+v, %q", carried.Totals, carried.Verdict)
	}
	newer := w.databaseLayout(t, trivydb.Advisory{CVE: "CVE-2025-4802", Bucket: trivydb.Debian, Package: "glibc", Fixed: "2.36-9+deb12u11", Severity: 3, Title: "glibc", Date: "2025-05-16"})
	found := result[manifest.ScanReport](t, bundle(t, append(args, "--db", newer, "--report", filepath.Join(w.dir, "report"))...))
	if found.Totals.Open.High != carried.Totals.Open.High+1 || found.Databases[0].Updated != "2025-06-20T00:00:00Z" {
		t.Errorf("with a newer database: %+v of %s", found.Totals, found.Databases[0].Updated)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "report", manifest.BundleSBOMName)); err != nil {
		t.Error(err)
	}
	o := bundle(t, append(args, "--policy", policyFile(w, "rule: {severity: critical}\n"))...)
	if o.code != cli.ExitPolicy || !strings.Contains(strings.ReplaceAll(o.stdout, " ", ""), `"verdict":"fail"`) {
		t.Errorf("judged again: exit code %d\n%s", o.code, o.stderr)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("the scans of the bundle asked the network %d times", n)
	}
}

func TestScanFlagsAreChecked(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	w.scans = true
	expect(t, bundle(t, w.build("--policy", w.write("p.yaml", "apiVersion: naru/v1\nkind: ScanPolicy\nrule: {severity: worst}\n"))...), cli.ExitDocument, "p.yaml:3", "worst")
	expect(t, bundle(t, w.build("--vex", w.write("v.json", "{}"), "--db", w.databaseLayout(t), "--java-db", "none")...), cli.ExitDocument, "v.json", "@context")
	expect(t, bundle(t, w.build("--sbom", "excel")...), cli.ExitUsage, "excel")
	expect(t, bundle(t, w.build()...), cli.ExitNetwork, "vulnerability database", "ghcr.io/aquasecurity/trivy-db:2", "--no-scan")
}

// TestPolicyTakesTheScannersData holds that a bundle may carry the scanner's databases
// and checks, as every release with a Harbor does, under a policy that accepts nothing
// unscanned; and that other content that nobody can look into still stops it.
func TestPolicyTakesTheScannersData(t *testing.T) {
	const checksRef, oddRef = "ghcr.io/naru/checks:2", "ghcr.io/naru/odd:1"
	w := newWorldWith(t, upstream.Options{}, func(w *world) {
		w.addDebian(t)
		checks := must(w.Layer(layout.Gzip, "checks", func(tw *tar.Writer) error {
			rego := "# aws_access_key_id = AKIA" + "QHZ7P4M5XY2WNB3C\npackage lab\n"
			return layout.AddFile(tw, "policies/lab.rego", 0o644, int64(len(rego)), strings.NewReader(rego))
		}))(t).Descriptor
		for ref, mediaType := range map[string]string{checksRef: "application/vnd.cncf.openpolicyagent.layer.v1.tar+gzip", oddRef: "application/vnd.lab.odd"} {
			checks.MediaType = mediaType
			w.Name(layout.Image{Ref: ref}, must(w.Artifact(layout.ArtifactSpec{Layers: []ocispec.Descriptor{checks}}))(t))
		}
	})
	w.scans = true
	artifact := func(ref string) string { return "{ref: '" + ref + "', artifact: true}" }
	carried := "{ref: '" + debianRef + "'}, " + artifact(trivydb.Ref) + ", " + artifact(trivydb.JavaRef) + ", " + artifact(checksRef)
	w.content = w.write("databases.yaml", contentOf(carried))
	policy := policyFile(w, "rule: {}\n")
	if passed := result[build.Result](t, bundle(t, w.build("--policy", policy, "--output", "json")...)); passed.Scan != string(manifest.VerdictPass) {
		t.Errorf("the verdict is %q", passed.Scan)
	}
	said := result[manifest.ScanReport](t, bundle(t, "scan", w.out(), "--key", w.key+".pub", "--cache", t.TempDir(), "--output", "json"))
	notes := map[string]string{}
	for _, a := range said.Artifacts {
		notes[a.Ref] = a.Note
	}
	if notes[trivydb.Ref] == "" || notes[trivydb.JavaRef] == "" || notes[checksRef] != "" {
		t.Errorf("the report says of them %q", notes)
	}
	// The checks are looked into like any archive.
	expect(t, bundle(t, w.build("--policy", policyFile(w, "rule: {secret: low}\n"), "--replace")...), cli.ExitPolicy, "aws-access-key-id in "+checksRef)
	w.content = w.write("odd.yaml", contentOf(carried+", "+artifact(oddRef)))
	expect(t, bundle(t, w.build("--policy", policy, "--replace")...), cli.ExitPolicy, oddRef+" was not scanned whole")
}
