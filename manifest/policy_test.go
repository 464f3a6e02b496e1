package manifest_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

const policyText = `apiVersion: naru/v1
kind: ScanPolicy
title: site rule
rule: {severity: high, onlyFixed: true, secret: high}
components:
  - {id: harbor, severity: critical}
exceptions:
  - {id: CVE-2024-1, artifact: "registry.k8s.io/pause:*", reason: not reachable, approver: kim, expires: "2026-12-31"}
licenses: {deny: [AGPL-3.0-only]}
database: {maxAge: 7d}
`

func TestDecodeScanPolicy(t *testing.T) {
	p, err := manifest.DecodeScanPolicy("policy.yaml", []byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	if p.Database.Age() != 7*24*time.Hour {
		t.Errorf("age is %v", p.Database.Age())
	}
	if v, m, s := p.RuleFor("etcd").Limits(); v != manifest.SeverityHigh || m != "" || s != manifest.SeverityHigh {
		t.Errorf("limits %q %q %q", v, m, s)
	}
	if v, _, s := p.RuleFor("harbor").Limits(); v != manifest.SeverityCritical || s != "" {
		t.Errorf("a component's rule stands whole: %q %q", v, s)
	}
	e := p.Exceptions[0]
	a := &manifest.ScannedArtifact{Ref: "registry.k8s.io/pause:3.10", Digest: digest.FromString("a"), Entry: digest.FromString("b")}
	if !e.Matches("CVE-2024-1", a) || e.Matches("CVE-2024-2", a) {
		t.Error("matching by pattern")
	}
	e.Artifact = a.Entry.String()
	if !e.Matches("CVE-2024-1", a) {
		t.Error("matching by digest")
	}
	for at, want := range map[string]bool{"2026-12-31T23:59:59Z": false, "2027-01-01T00:00:00Z": true} {
		tm, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if e.Expired(tm) != want {
			t.Errorf("expired at %s: %v", at, !want)
		}
	}
}

func TestDecodeScanPolicyRefuses(t *testing.T) {
	tests := []struct{ name, old, replacement string }{
		{"unknown field", "title:", "tittle:"},
		{"severity", "severity: high", "severity: HIGH"},
		{"date", `"2026-12-31"`, `"2026-13-31"`},
		{"no approver", "approver: kim", `approver: ""`},
		{"age", "7d", "7 days"},
		{"pattern", "pause:*", "pause:["},
		{"allow and deny", "{deny: [AGPL-3.0-only]}", "{deny: [a], allow: [b]}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.DecodeScanPolicy("policy.yaml", []byte(strings.Replace(policyText, tt.old, tt.replacement, 1)))
			var at *manifest.SourceError
			if !errors.As(err, &at) || at.Line == 0 {
				t.Errorf("got %v, want a SourceError with a line", err)
			}
		})
	}
}

func FuzzDecodeScanPolicy(f *testing.F) {
	f.Add([]byte(policyText))
	f.Add([]byte("apiVersion: naru/v1\nkind: ScanPolicy\nrule: {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := manifest.DecodeScanPolicy("p", data)
		if err != nil {
			return
		}
		for _, e := range p.Exceptions {
			if e.Approver == "" || e.Reason == "" {
				t.Fatal("an exception without approver or reason was accepted")
			}
			e.Expired(time.Unix(0, 0))
			e.Matches(e.ID, &manifest.ScannedArtifact{Ref: "a"})
		}
		p.RuleFor("x").Limits()
		p.Database.Age()
	})
}

func TestScanReportRoundTrip(t *testing.T) {
	r := &manifest.ScanReport{APIVersion: manifest.APIVersion, Kind: manifest.KindScanReport, Scanner: "trivy 1",
		Databases: []manifest.ScanDatabase{{Name: manifest.DatabaseVulnerability, Digest: digest.FromString("db"), Updated: "2026-01-01T00:00:00Z"}},
		Verdict:   manifest.VerdictExceptions,
		Artifacts: []manifest.ScannedArtifact{{Ref: "a", Kind: manifest.ArtifactImage, Findings: []manifest.Finding{
			{Class: manifest.ClassVulnerability, ID: "CVE-1", Severity: manifest.SeverityHigh, State: manifest.StateAccepted},
			{Class: manifest.ClassVulnerability, ID: "CVE-2", Severity: manifest.SeverityLow, State: manifest.StateOpen}}}},
		Exceptions: []manifest.ExceptionUse{{ScanException: manifest.ScanException{ID: "CVE-1"}, State: manifest.ExceptionUsed, Findings: 1},
			{ScanException: manifest.ScanException{ID: "CVE-3"}, State: manifest.ExceptionUnused}},
	}
	r.Count()
	if r.Totals.Open.Sum() != 1 || r.Totals.Accepted.High != 1 {
		t.Errorf("totals %+v", r.Totals)
	}
	if s := r.Summary(); len(s.Exceptions) != 1 || s.DatabaseDate == "" {
		t.Errorf("summary %+v", s)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.DecodeScanReport(data); err != nil {
		t.Error(err)
	}
	if _, err := manifest.DecodeScanReport(append(data, ' ', '\n')); err == nil {
		t.Error("spaces after the document were accepted")
	}
}
