package scan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/scan"
)

var day = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// found is an image with a critical finding that can be fixed, a high one that
// cannot, and a low one.
func found() *scan.Result {
	a := scan.Artifact{ScannedArtifact: manifest.ScannedArtifact{Ref: "registry.lab.test/app:1", Kind: manifest.ArtifactImage, Component: "app",
		Platform: "linux/amd64", Entry: digest.FromString("index"), Digest: digest.FromString("image"), Packages: 2, Findings: []manifest.Finding{
			{Class: manifest.ClassVulnerability, ID: "CVE-2026-1", Severity: manifest.SeverityCritical, Package: "libc6", Installed: "1", Fixed: "2", PURL: "pkg:deb/debian/libc6@1"},
			{Class: manifest.ClassVulnerability, ID: "CVE-2026-2", Severity: manifest.SeverityHigh, Package: "libc6", Installed: "1", PURL: "pkg:deb/debian/libc6@1"},
			{Class: manifest.ClassSecret, ID: "aws-access-key-id", Severity: manifest.SeverityCritical, Target: "root/key"},
			{Class: manifest.ClassVulnerability, ID: "CVE-2026-3", Severity: manifest.SeverityLow, Package: "bash", Installed: "5", Fixed: "6", PURL: "pkg:deb/debian/bash@5"},
		}}, Contents: []scan.Package{
		{ID: "bash@5", Name: "bash", Version: "5", Kind: "debian", PURL: "pkg:deb/debian/bash@5", Licenses: []string{"GPL-3.0-or-later"}, DependsOn: []string{"libc6@1"}},
		{ID: "libc6@1", Name: "libc6", Version: "1", Kind: "debian", PURL: "pkg:deb/debian/libc6@1", Licenses: []string{"LGPL-2.1-only"}},
	}}
	return &scan.Result{Scanner: "trivy 0", Artifacts: []scan.Artifact{a}, Advisories: map[string]manifest.Advisory{"CVE-2026-1": {Title: "one"}}}
}

func policy(t *testing.T, rest string) *manifest.ScanPolicy {
	t.Helper()
	p, err := manifest.DecodeScanPolicy("policy.yaml", []byte("apiVersion: naru/v1\nkind: ScanPolicy\n"+rest))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const exception = `exceptions: [{id: CVE-2026-1, artifact: "registry.lab.test/*", reason: not reachable, approver: kim, expires: "2026-06-01"}]` + "\n"

func TestJudge(t *testing.T) {
	databases := []manifest.ScanDatabase{{Name: manifest.DatabaseVulnerability, Updated: "2026-05-25T12:00:00Z"}}
	tests := []struct {
		name    string
		policy  string
		at      time.Time
		want    manifest.ScanVerdict
		stopped []string
		reason  string
	}{
		{"critical stops", "rule: {severity: critical}\n", day, manifest.VerdictFail, []string{"CVE-2026-1"}, "1 findings"},
		{"high and worse", "rule: {severity: high}\n", day, manifest.VerdictFail, []string{"CVE-2026-1", "CVE-2026-2"}, ""},
		{"only fixed", "rule: {severity: high, onlyFixed: true}\n", day, manifest.VerdictFail, []string{"CVE-2026-1"}, ""},
		{"secrets", "rule: {secret: high}\n", day, manifest.VerdictFail, []string{"aws-access-key-id"}, ""},
		{"a rule of nothing", "rule: {}\n", day, manifest.VerdictPass, nil, ""},
		{"the component's own rule", "rule: {severity: low}\ncomponents: [{id: app, misconfiguration: low}]\n", day, manifest.VerdictPass, nil, ""},
		{"another component's rule", "rule: {severity: critical}\ncomponents: [{id: other}]\n", day, manifest.VerdictFail, []string{"CVE-2026-1"}, ""},
		{"exception on its last day", "rule: {severity: critical}\n" + exception, day, manifest.VerdictExceptions, nil, ""},
		{"exception a day after", "rule: {severity: critical}\n" + exception, day.AddDate(0, 0, 1), manifest.VerdictFail, []string{"CVE-2026-1"}, "expired on 2026-06-01"},
		{"unused exception", "rule: {}\n" + exception, day, manifest.VerdictPass, nil, ""},
		{"old database", "rule: {}\ndatabase: {maxAge: 6d}\n", day, manifest.VerdictFail, nil, "older than 6d"},
		{"database young enough", "rule: {}\ndatabase: {maxAge: 7d}\n", day, manifest.VerdictPass, nil, ""},
		{"denied license", "rule: {}\nlicenses: {deny: [gpl-3.0-or-later]}\n", day, manifest.VerdictFail, []string{"GPL-3.0-or-later"}, ""},
		{"license not allowed", "rule: {}\nlicenses: {allow: [GPL-3.0-or-later, Apache-2.0]}\n", day, manifest.VerdictFail, []string{"LGPL-2.1-only"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := scan.Judge(found(), scan.Judgement{Policy: policy(t, tt.policy), At: tt.at, Databases: databases, Licenses: map[string]string{"app": "Apache-2.0"}})
			if r.Verdict != tt.want || !strings.Contains(strings.Join(r.Reasons, "\n"), tt.reason) {
				t.Errorf("verdict %q for %q, want %q for %q", r.Verdict, r.Reasons, tt.want, tt.reason)
			}
			var stopped []string
			for _, f := range r.Artifacts[0].Findings {
				if f.Stops {
					stopped = append(stopped, f.ID)
				}
			}
			slices.Sort(stopped)
			if !slices.Equal(stopped, tt.stopped) {
				t.Errorf("stopped by %v, want %v", stopped, tt.stopped)
			}
			data, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := manifest.DecodeScanReport(data); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestScannersData: a database of the scanner is noted, and stops nothing.
func TestScannersData(t *testing.T) {
	result := found()
	result.Artifacts[0].Data = "a database"
	r := scan.Judge(result, scan.Judgement{At: day, Policy: policy(t, "rule: {}\n")})
	if r.Verdict != manifest.VerdictPass || r.Artifacts[0].Note != "a database" {
		t.Errorf("%s, note %q, %q", r.Verdict, r.Artifacts[0].Note, r.Reasons)
	}
}

// TestContentThatWasNotScanned: what no scanner could look into passed every policy.
func TestContentThatWasNotScanned(t *testing.T) {
	for text, want := range map[string]manifest.ScanVerdict{
		"rule: {}\n":                  manifest.VerdictFail,
		"rule: {}\nunscanned: fail\n": manifest.VerdictFail,
		"rule: {}\nunscanned: pass\n": manifest.VerdictPass,
		"":                            manifest.VerdictNotJudged,
	} {
		result := found()
		result.Artifacts[0].Note = "content of type x was not scanned"
		j := scan.Judgement{At: day}
		if text != "" {
			j.Policy = policy(t, text)
		}
		r := scan.Judge(result, j)
		if r.Verdict != want || r.Artifacts[0].Verdict != want || want == manifest.VerdictFail && !strings.Contains(strings.Join(r.Reasons, " "), "registry.lab.test/app:1 was not scanned whole") {
			t.Errorf("%q: %s, %s, %q", text, r.Verdict, r.Artifacts[0].Verdict, r.Reasons)
		}
	}
	if _, err := manifest.DecodeScanPolicy("p", []byte("apiVersion: naru/v1\nkind: ScanPolicy\nunscanned: maybe\n")); err == nil {
		t.Error("unscanned: maybe was taken")
	}
}

func TestJudgeWithoutPolicy(t *testing.T) {
	r := scan.Judge(found(), scan.Judgement{At: day})
	if r.Verdict != manifest.VerdictNotJudged || r.Totals.Open.Sum() != 3 || r.Totals.Secrets.Critical != 1 || r.Advisories[0].Title != "one" {
		t.Errorf("report %+v", r)
	}
}

func TestExceptionsInReport(t *testing.T) {
	p := policy(t, "rule: {severity: critical}\n"+exception)
	r := scan.Judge(found(), scan.Judgement{Policy: p, At: day})
	if s := r.Summary(); len(s.Exceptions) != 1 || s.Exceptions[0].Approver != "kim" || s.Policy != p.Digest() {
		t.Errorf("summary %+v", s)
	}
	if f := r.Artifacts[0].Findings; !slices.ContainsFunc(f, func(f manifest.Finding) bool { return f.State == manifest.StateAccepted && f.Why == "not reachable" }) {
		t.Errorf("no accepted finding in %+v", f)
	}
	unused := scan.Judge(found(), scan.Judgement{Policy: policy(t, "rule: {}\n"+exception), At: day})
	if unused.Exceptions[0].State != manifest.ExceptionUnused || len(unused.Warnings) != 1 {
		t.Errorf("exceptions %+v, warnings %q", unused.Exceptions, unused.Warnings)
	}
}

func TestPolicyErrorNamesFindings(t *testing.T) {
	r := scan.Judge(found(), scan.Judgement{Policy: policy(t, "rule: {severity: critical}\n"), At: day})
	err := (&scan.PolicyError{Report: r}).Error()
	if !strings.Contains(err, "CRITICAL CVE-2026-1 in registry.lab.test/app:1: libc6 1 (fixed in 2)") {
		t.Error(err)
	}
}

func vexOf(product, status string) string {
	return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://lab.test/vex/1","author":"kim","timestamp":"2026-05-01T00:00:00Z","version":1,
"statements":[{"vulnerability":{"name":"CVE-2026-1"},"products":[` + product + `],"status":"` + status + `"` +
		map[string]string{"not_affected": `,"justification":"vulnerable_code_not_in_execute_path"`, "affected": `,"action_statement":"wait"`}[status] + `}]}`
}

func TestVEX(t *testing.T) {
	image := `{"@id":"pkg:oci/app@` + strings.Replace(digest.FromString("image").String(), ":", "%3A", 1) + `"}`
	tests := []struct {
		name, product, status string
		ruledOut              bool
	}{
		{"by reference", `{"@id":"registry.lab.test/app:1"}`, "not_affected", true},
		{"by digest", image, "not_affected", true},
		{"by package", `{"@id":"pkg:deb/debian/libc6@1"}`, "not_affected", true},
		{"by image and package", `{"@id":"registry.lab.test/app:1","subcomponents":[{"@id":"pkg:deb/debian/libc6@1"}]}`, "fixed", true},
		{"another package of the image", `{"@id":"registry.lab.test/app:1","subcomponents":[{"@id":"pkg:deb/debian/bash@5"}]}`, "not_affected", false},
		{"another image", `{"@id":"registry.lab.test/other:1"}`, "not_affected", false},
		{"affected", `{"@id":"registry.lab.test/app:1"}`, "affected", false},
		{"under investigation", `{"@id":"registry.lab.test/app:1"}`, "under_investigation", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := scan.ParseVEX("vex.json", []byte(vexOf(tt.product, tt.status)))
			if err != nil {
				t.Fatal(err)
			}
			r := scan.Judge(found(), scan.Judgement{Policy: policy(t, "rule: {severity: critical}\n"), VEX: scan.Join(nil, v), At: day})
			if got := r.Verdict == manifest.VerdictPass; got != tt.ruledOut || (r.Totals.NotAffected.Critical == 1) != tt.ruledOut {
				t.Errorf("verdict %q, totals %+v", r.Verdict, r.Totals)
			}
		})
	}
}

func TestParseVEXRefuses(t *testing.T) {
	good := vexOf(`{"@id":"a"}`, "not_affected")
	for name, bad := range map[string]string{
		"not JSON":         "x",
		"another context":  strings.Replace(good, "ns/v0.2.0", "ns/v9", 1),
		"no justification": strings.Replace(good, `,"justification":"vulnerable_code_not_in_execute_path"`, "", 1),
		"unknown status":   strings.Replace(good, `"not_affected"`, `"fine"`, 1),
		"no product":       vexOf("", "not_affected"),
		"no timestamp":     strings.Replace(good, `"timestamp":"2026-05-01T00:00:00Z",`, "", 1),
	} {
		var at *manifest.SourceError
		if _, err := scan.ParseVEX("vex.json", []byte(bad)); !errors.As(err, &at) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzParseVEX(f *testing.F) {
	f.Add([]byte(vexOf(`{"@id":"registry.lab.test/app:1","subcomponents":[{"@id":"pkg:deb/debian/libc6@1"}]}`, "not_affected")))
	f.Add([]byte(vexOf(`{"@id":"pkg:oci/app"}`, "affected")))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := scan.ParseVEX("vex.json", data)
		if err != nil {
			return
		}
		a := &found().Artifacts[0]
		for i := range a.Findings {
			v.NotAffected(&a.ScannedArtifact, &a.Findings[i])
		}
	})
}

func TestSBOM(t *testing.T) {
	a := &found().Artifacts[0]
	opts := scan.SBOMOptions{Scanner: "trivy 0", Date: "2026-01-01T00:00:00Z", Name: "lab"}
	type encoder func(*scan.Artifact, scan.SBOMOptions) ([]byte, error)
	merged := func(a *scan.Artifact, o scan.SBOMOptions) ([]byte, error) {
		return scan.Merged([]scan.Artifact{*a, *a}, o)
	}
	for name, encode := range map[string]encoder{"cyclonedx": scan.CycloneDX, "merged": merged, "spdx": scan.SPDX} {
		one, err := encode(a, opts)
		if err != nil {
			t.Fatal(err)
		}
		two, err := encode(&found().Artifacts[0], opts)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s: two runs differ", name)
		}
		for _, want := range []string{"pkg:deb/debian/libc6@1", digest.FromString("image").Encoded(), "GPL-3.0-or-later", "2026-01-01T00:00:00Z", "urn:uuid:"} {
			if !strings.Contains(string(one), want) {
				t.Errorf("%s: %q is not in it", name, want)
			}
		}
		if strings.Count(string(one), `"naru:path"`) != 0 && name == "spdx" {
			t.Error("spdx has properties")
		}
		var any map[string]any
		if err := json.Unmarshal(one, &any); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
