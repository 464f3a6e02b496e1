package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// ScanPolicy is the site's rule of what may enter: bundle build --policy FILE.
//
//	apiVersion: naru/v1
//	kind: ScanPolicy
//	title: 반입 보안 기준 2026
//	rule: {severity: high, onlyFixed: true}
//	components:
//	  - {id: harbor, severity: critical}
//	exceptions:
//	  - {id: CVE-2024-1234, artifact: "registry.k8s.io/pause:*", reason: not reachable, approver: kim, expires: "2026-12-31"}
//	licenses: {deny: [AGPL-3.0-only]}
//	database: {maxAge: 7d}
type ScanPolicy struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Title      string `yaml:"title,omitempty"`
	// Rule holds for every component that has none of its own.
	Rule ScanRule `yaml:"rule"`
	// Components have rules that stand in the place of Rule, whole.
	Components []ComponentRule `yaml:"components,omitempty"`
	Exceptions []ScanException `yaml:"exceptions,omitempty"`
	Licenses   LicenseRule     `yaml:"licenses,omitempty"`
	Database   DatabaseRule    `yaml:"database,omitempty"`
	// Unscanned says what becomes of an artifact of which something could not be
	// scanned: UnscannedFail, which an empty one means, or UnscannedPass, which notes it.
	Unscanned string `yaml:"unscanned,omitempty"`

	// Raw is the file as it was read.
	Raw []byte `yaml:"-"`
}

// What Unscanned may be.
const (
	UnscannedFail = "fail"
	UnscannedPass = "pass"
)

// ScanRule says which findings stop a bundle. A severity stands for itself and
// everything worse: critical, high, medium, low, unknown; empty means that no
// finding of the class stops.
type ScanRule struct {
	// Severity of vulnerabilities.
	Severity string `yaml:"severity,omitempty"`
	// OnlyFixed lets vulnerabilities pass for which there is no fixed version.
	OnlyFixed bool `yaml:"onlyFixed,omitempty"`
	// Misconfiguration and Secret are the severities of those classes.
	Misconfiguration string `yaml:"misconfiguration,omitempty"`
	Secret           string `yaml:"secret,omitempty"`
}

// ComponentRule is the rule of one component.
type ComponentRule struct {
	ID       string `yaml:"id"`
	ScanRule `yaml:",inline"`
}

// LicenseRule says which licenses of packages and components may enter, as SPDX
// ids. Where Allow is given, any other stops; a package that states none is not
// counted, since distributions leave them out.
type LicenseRule struct {
	Allow []string `yaml:"allow,omitempty"`
	Deny  []string `yaml:"deny,omitempty"`
}

// DatabaseRule bounds the age of the vulnerability database.
type DatabaseRule struct {
	// MaxAge between the database's date and the day of judgement: "7d" or "36h".
	MaxAge string `yaml:"maxAge,omitempty"`
}

// Age is the parsed MaxAge; 0 where there is none.
func (r DatabaseRule) Age() time.Duration {
	d, err := parseAge(r.MaxAge)
	if err != nil {
		return 0
	}
	return d
}

func parseAge(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	unit := time.Hour
	text := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		unit, text = 24*time.Hour, days+"h"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > 100*365*time.Hour {
		return 0, fmt.Errorf("age %q: want days or hours, as in 7d or 36h", s)
	}
	return d * (unit / time.Hour), nil
}

// severityOf reads a policy's spelling of a severity; empty is "".
func severityOf(s string) (Severity, bool) {
	sev := Severity(strings.ToUpper(s))
	return sev, s == "" || (s == strings.ToLower(s) && slices.Contains(severities, sev))
}

// Limits are the rule's severities, "" where a class does not stop.
func (r ScanRule) Limits() (vulnerability, misconfiguration, secret Severity) {
	vulnerability, _ = severityOf(r.Severity)
	misconfiguration, _ = severityOf(r.Misconfiguration)
	secret, _ = severityOf(r.Secret)
	return vulnerability, misconfiguration, secret
}

// RuleFor is the rule that holds for a component.
func (p *ScanPolicy) RuleFor(component string) ScanRule {
	for _, c := range p.Components {
		if c.ID == component {
			return c.ScanRule
		}
	}
	return p.Rule
}

// Digest of the file, which bundle.json names.
func (p *ScanPolicy) Digest() digest.Digest { return digest.FromBytes(p.Raw) }

// Matches tells whether the exception is for a finding of an artifact, by the
// artifact's reference, in which * and ? match within an element of the path, or by
// one of its digests.
func (e *ScanException) Matches(id string, a *ScannedArtifact) bool {
	if e.ID != id {
		return false
	}
	if e.Artifact == a.Digest.String() || e.Artifact == a.Entry.String() {
		return true
	}
	ok, err := path.Match(e.Artifact, a.Ref)
	return err == nil && ok
}

// Expired tells whether the exception has ended at a time: it holds to the end of
// its last day, UTC.
func (e *ScanException) Expired(at time.Time) bool {
	day, err := time.Parse(time.DateOnly, e.Expires)
	return err != nil || !at.UTC().Before(day.AddDate(0, 0, 1))
}

// DecodeScanPolicy decodes and validates a policy file. All mistakes are returned
// at once, each a *SourceError.
func DecodeScanPolicy(file string, data []byte) (*ScanPolicy, error) {
	p := ScanPolicy{Raw: data}
	doc, err := decodeYAML(file, data, KindScanPolicy, &p)
	if err != nil {
		return nil, err
	}
	p.Rule.validate(doc, "rule")
	if !slices.Contains([]string{"", UnscannedFail, UnscannedPass}, p.Unscanned) {
		doc.errorf("unscanned", "unscanned %q: want %s or %s", p.Unscanned, UnscannedFail, UnscannedPass)
	}
	seen := map[string]bool{}
	for i, c := range p.Components {
		at := fmt.Sprintf("components[%d]", i)
		if !idRE.MatchString(c.ID) || seen[c.ID] {
			doc.errorf(at+".id", "component id %q is not a name, or given twice", c.ID)
		}
		seen[c.ID] = true
		c.validate(doc, at)
	}
	p.validateExceptions(doc)
	if len(p.Licenses.Allow) > 0 && len(p.Licenses.Deny) > 0 {
		doc.errorf("licenses", "licenses has allow and deny: give one of them")
	}
	if _, err := parseAge(p.Database.MaxAge); err != nil {
		doc.errorf("database.maxAge", "%v", err)
	}
	return &p, doc.err()
}

func (r ScanRule) validate(doc *document, at string) {
	for field, s := range map[string]string{"severity": r.Severity, "misconfiguration": r.Misconfiguration, "secret": r.Secret} {
		if _, ok := severityOf(s); !ok {
			doc.errorf(at+"."+field, "severity %q: want critical, high, medium, low or unknown", s)
		}
	}
}

func (p *ScanPolicy) validateExceptions(doc *document) {
	seen := map[[2]string]bool{}
	for i, e := range p.Exceptions {
		at := fmt.Sprintf("exceptions[%d]", i)
		for field, s := range map[string]string{"id": e.ID, "artifact": e.Artifact, "reason": e.Reason, "approver": e.Approver} {
			if strings.TrimSpace(s) == "" {
				doc.errorf(at+"."+field, "an exception needs id, artifact, reason, approver and expires: %s is missing", field)
			}
		}
		if _, err := path.Match(e.Artifact, ""); err != nil {
			doc.errorf(at+".artifact", "artifact %q is no pattern: %v", e.Artifact, err)
		}
		if t, err := time.Parse(time.DateOnly, e.Expires); err != nil || t.Format(time.DateOnly) != e.Expires {
			doc.errorf(at+".expires", "expires %q: want a date, YYYY-MM-DD", e.Expires)
		}
		if key := [2]string{e.ID, e.Artifact}; seen[key] {
			doc.errorf(at, "exception for %q of %q is given twice", e.ID, e.Artifact)
		} else {
			seen[key] = true
		}
	}
}
