package dossier_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/internal/dossier"
	"naru/manifest"
)

// sample is a source with something of everything, and text that would break out of
// a page if it were not escaped.
func sample() dossier.Source {
	d := func(s string) digest.Digest { return digest.FromString(s) }
	lock := manifest.NewLock("sample")
	lock.Images = []manifest.LockedImage{{
		Ref: "registry.k8s.io/pause:3.10", Digest: d("index"), Source: "registry.k8s.io/pause:3.10", PinnedBy: manifest.PinnedByRelease,
		Platforms: []manifest.LockedPlatform{{Platform: "linux/amd64", Digest: d("amd64"), Size: 10, Content: 1234567}, {Platform: "linux/arm64", Digest: d("arm64"), Size: 10, Content: 1200000}},
		Referrers: []manifest.LockedReferrer{{Digest: d("sig"), Subject: d("index"), Tag: "sha256-x.sig"}},
	}}
	lock.Charts = []manifest.LockedChart{{Component: "app", Name: "app", Version: "1.2.3+b", Digest: d("chart"), Size: 4096, Source: "https://charts.example/app-1.2.3.tgz", PinnedBy: manifest.PinnedBySite}}
	lock.Files = []manifest.LockedFile{{Component: "app", Name: "tool", Version: "1", Platform: "linux/amd64", URL: "https://example/<script>alert(1)</script>", Digest: d("file"), Size: 99, PinnedBy: manifest.PinnedByBuild}}
	lock.Packages = []manifest.LockedPackages{{
		Distribution: "debian-12", Platform: "linux/amd64", PinnedBy: manifest.PinnedByRelease,
		Sources:  []manifest.LockedPackageSource{{Name: "main", URL: "https://deb.example/debian", Digest: d("inrelease"), Size: 5, Date: "2026-01-01T00:00:00Z"}},
		Packages: []manifest.LockedPackage{{Name: "haproxy", Version: "=2.6", Arch: "amd64", Source: "main", Path: "pool/h/haproxy.deb", Digest: d("deb"), Size: 77, Components: []string{"app"}}},
	}}
	report := &manifest.ScanReport{
		Scanner: "trivy 0.72.0", PolicyTitle: "site policy", Policy: d("policy"), Verdict: manifest.VerdictExceptions,
		Databases: []manifest.ScanDatabase{{Name: manifest.DatabaseVulnerability, Reference: "ghcr.io/aquasecurity/trivy-db:2", Digest: d("db"), Updated: "2026-11-01T00:00:00Z"}},
		Warnings:  []string{"an exception is not used"},
		Artifacts: []manifest.ScannedArtifact{{Ref: "registry.k8s.io/pause:3.10", Component: "pause", Platform: "linux/amd64", Findings: []manifest.Finding{
			{Class: manifest.ClassVulnerability, ID: "CVE-2024-0002", Severity: manifest.SeverityHigh, State: manifest.StateOpen, Package: "libc6", Installed: "2.36", Fixed: "2.37"},
			{Class: manifest.ClassVulnerability, ID: "CVE-2024-0001", Severity: manifest.SeverityCritical, State: manifest.StateAccepted, Package: "zlib", Why: "not reachable"},
		}, Note: "a layer could not be read"}},
		Exceptions: []manifest.ExceptionUse{{ScanException: manifest.ScanException{ID: "CVE-2024-0001", Artifact: "registry.k8s.io/pause:3.10", Reason: "not reachable", Approver: "김보안", Expires: "2027-01-01"}, State: manifest.ExceptionUsed, Findings: 1}},
		Advisories: []manifest.Advisory{{ID: "CVE-2024-0002", Title: "overflow in <b>libc</b>"}},
	}
	report.Count()
	previous := manifest.NewLock("sample")
	previous.Images = []manifest.LockedImage{{Ref: "registry.k8s.io/pause:3.9", Digest: d("old"), Source: "x", Platforms: []manifest.LockedPlatform{{Platform: "linux/amd64", Digest: d("old64"), Content: 3}}}}
	previous.Charts = []manifest.LockedChart{{Component: "app", Name: "gone", Version: "1", Digest: d("gone")}}
	previous.Files = lock.Files
	return dossier.Source{
		Bundle: &manifest.Bundle{Release: "sample", Profile: "full", NetworkClass: "S", Created: "2026-11-26T00:00:00Z", Platforms: []string{"linux/amd64", "linux/arm64"}, Components: []string{"app", "pause"},
			Builder: manifest.Builder{Version: "v1", RegistryMap: map[string]string{"docker.io": "mirror.example"}, Flags: []string{"--with=app"}}, Scan: manifest.Scan{Verdict: manifest.VerdictExceptions, ScannerVersion: "trivy 0.72.0", Policy: d("policy")}},
		Digest: d("bundle"), Lock: lock, Report: report,
		Components: []*manifest.ComponentSpec{
			{ID: "pause", Title: "Pause", Version: "3.10", License: "Apache-2.0", Upstream: "https://kubernetes.io", EndOfLife: "2027-02-28", Images: []manifest.Image{{Ref: "registry.k8s.io/pause:3.10"}}},
			{ID: "app", Version: "1.2.3", License: "BUSL-1.1"},
		},
		Volumes:  []dossier.Volume{{Number: 1, Name: "sample-1.tar.zst", Size: 4700000000, SHA256: strings.Repeat("ab", 32)}, {Number: 2, Name: "sample-2.tar.zst", Size: 12, SHA256: strings.Repeat("cd", 32)}},
		Signer:   "sha256:" + strings.Repeat("0123456789abcdef", 4),
		Previous: &dossier.Previous{Bundle: &manifest.Bundle{Release: "sample", Created: "2026-10-01T00:00:00Z"}, Digest: d("before"), Lock: previous},
	}
}

func TestPageSaysEverythingInBothLanguages(t *testing.T) {
	for lang, words := range map[dossier.Lang][]string{
		dossier.Korean:  {"반입 자산 목록", "해시값", "취약점 점검 결과", "예외 승인", "매체 관리 번호", "예외 승인 후 적합", "S (민감, Sensitive)", "매체 1 / 2", "김보안", "서명 키 지문"},
		dossier.English: {"What comes in", "pass with exceptions", "Medium 2 of 2", "S (sensitive)", "0123", "mirror.example", "BUSL-1.1"},
	} {
		html, err := dossier.New(sample()).Page(lang)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range append(words, "registry.k8s.io/pause", "1,234,567", digest.FromString("amd64").Encoded(), "CVE-2024-0002", "libc6", "debian-12/haproxy", digest.FromString("before").Encoded()) {
			if !bytes.Contains(html, []byte(w)) {
				t.Errorf("%s: %q is not on the page", lang, w)
			}
		}
		if bytes.Contains(html, []byte("<script")) || bytes.Contains(html, []byte("<b>libc")) {
			t.Errorf("%s: text was taken for markup", lang)
		}
	}
}

// TestPageNeedsNothingElse looks for anything that a browser would fetch.
func TestPageNeedsNothingElse(t *testing.T) {
	html, err := dossier.New(sample()).Page(dossier.Korean)
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?i)(src|href|action)="(?:https?:|//)|@import|url\(`).Find(html); m != nil {
		t.Errorf("the page fetches something: %s", m)
	}
}

func TestSkippedUnsignedAndAloneAreSaid(t *testing.T) {
	s := sample()
	s.Report, s.Previous, s.Signer, s.Bundle.NetworkClass = nil, nil, "", ""
	s.Bundle.Scan = manifest.Scan{Verdict: manifest.VerdictSkipped}
	html, err := dossier.New(s).Page(dossier.English)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"This bundle was not scanned", "not signed", "No previous bundle", "not stated"} {
		if !bytes.Contains(html, []byte(w)) {
			t.Errorf("%q is not on the page", w)
		}
	}
}

func TestSameSourceSameBytes(t *testing.T) {
	var first []dossier.File
	for range 8 {
		files, err := dossier.New(sample()).Files(dossier.Langs()...)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = files
		}
		for i, f := range files {
			if f.Name != first[i].Name || !bytes.Equal(f.Data, first[i].Data) {
				t.Fatalf("%s differs", f.Name)
			}
		}
	}
}

// TestOrderOfComponentsDoesNotMatter: a build knows the order of the installation,
// the bundle alone does not.
func TestOrderOfComponentsDoesNotMatter(t *testing.T) {
	one, other := sample(), sample()
	slices.Reverse(other.Components)
	a, err := dossier.New(one).Files(dossier.Korean)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dossier.New(other).Files(dossier.Korean)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if !bytes.Equal(a[i].Data, b[i].Data) {
			t.Errorf("%s differs", a[i].Name)
		}
	}
}

func TestChanges(t *testing.T) {
	c := dossier.New(sample()).Changes
	got := fmt.Sprint(len(c.Added), len(c.Changed), len(c.Removed), c.Unchanged)
	// Added: pause arm64, chart app, index and package of debian-12; changed: pause amd64; removed: chart gone.
	if got != "4 1 1 1" {
		t.Errorf("added, changed, removed, unchanged: %s", got)
	}
	if c.Changed[0].Old.Version != "3.9" || c.Changed[0].New.Version != "3.10" {
		t.Errorf("changed: %+v", c.Changed[0])
	}
}

// TestTablesAreSafeInSpreadsheets: a cell is never a formula, and every row is
// read back as it was.
func TestTablesAreSafeInSpreadsheets(t *testing.T) {
	data, err := dossier.New(sample()).AssetsCSV(dossier.Korean)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+7 {
		t.Errorf("%d rows, want a heading and 7 assets", len(rows))
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("cell %q is a formula", cell)
			}
		}
	}
}
