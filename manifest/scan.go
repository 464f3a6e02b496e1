package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Names of the scan's files in a bundle. All are metadata files, so contents.json
// and with it the signature of bundle.json cover them.
const (
	// ScanReportName is the ScanReport; it is there unless the verdict is
	// VerdictSkipped.
	ScanReportName = "reports/scan.json"
	// ScanPolicyName is the ScanPolicy that judged, as the site wrote it.
	ScanPolicyName = "reports/policy.yaml"
	// VEXPrefix and two digits and .json name the OpenVEX documents, in the order
	// they were given in.
	VEXPrefix = "reports/vex/"
	// SBOMPrefix, the hex digits of an artifact's digest, and SBOMSuffix name its
	// CycloneDX SBOM; SPDXSuffix names the SPDX one where that was asked for.
	SBOMPrefix = "sbom/"
	SBOMSuffix = ".cdx.json"
	SPDXSuffix = ".spdx.json"
	// BundleSBOMName is the CycloneDX SBOM of everything.
	BundleSBOMName = SBOMPrefix + "bundle" + SBOMSuffix
)

// Kinds of the scan's documents.
const (
	KindScanReport = "ScanReport"
	KindScanPolicy = "ScanPolicy"
)

// ScanVerdict is the outcome of a scan, or of one artifact in it.
type ScanVerdict string

// The verdicts. Skipped means that no scanner ran, not judged that one ran and no
// policy said what is acceptable. A build stops at VerdictFail, so that no bundle
// carries it; a bundle that is judged again may get it.
const (
	VerdictPass       ScanVerdict = "pass"
	VerdictExceptions ScanVerdict = "pass with exceptions"
	VerdictFail       ScanVerdict = "fail"
	VerdictNotJudged  ScanVerdict = "not judged"
	VerdictSkipped    ScanVerdict = "skipped"
)

// Scan is what bundle.json says of the scan: the verdict with what it rests on.
// The report itself is reports/scan.json, bound through contents.json.
type Scan struct {
	Verdict ScanVerdict `json:"verdict"`
	// Database is the digest of the OCI manifest of the vulnerability database,
	// DatabaseDate when its maker updated it, RFC 3339.
	Database     digest.Digest `json:"database,omitempty"`
	DatabaseDate string        `json:"databaseDate,omitempty"`
	// Exceptions are those that the verdict needed, sorted as in the report.
	Exceptions []ScanException `json:"exceptions,omitempty"`
	// ScannerVersion is "trivy 0.72.0".
	ScannerVersion string `json:"scannerVersion,omitempty"`
	// Policy is the digest of the policy file.
	Policy digest.Digest `json:"policy,omitempty"`
	// JavaDatabase is the database that names Java archives by checksum.
	JavaDatabase     digest.Digest `json:"javaDatabase,omitempty"`
	JavaDatabaseDate string        `json:"javaDatabaseDate,omitempty"`
}

// ScanException accepts one finding of one artifact.
type ScanException struct {
	ID       string `json:"id" yaml:"id"`
	Artifact string `json:"artifact" yaml:"artifact"`
	Reason   string `json:"reason" yaml:"reason"`
	Approver string `json:"approver" yaml:"approver"`
	// Expires is the last day that it holds, YYYY-MM-DD, UTC.
	Expires string `json:"expires" yaml:"expires"`
}

// ScanReport is reports/scan.json: everything found, artifact by artifact. It
// depends on the content, the databases, the policy and the scanner alone: it has
// no date of its own.
type ScanReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Scanner is "trivy 0.72.0".
	Scanner   string         `json:"scanner"`
	Databases []ScanDatabase `json:"databases"`
	// Policy is the digest of the policy file; empty when there was none.
	Policy digest.Digest `json:"policy,omitempty"`
	// PolicyTitle is what the policy file calls itself.
	PolicyTitle string      `json:"policyTitle,omitempty"`
	Verdict     ScanVerdict `json:"verdict"`
	// Reasons say, one line each, why the verdict is fail.
	Reasons  []string   `json:"reasons,omitempty"`
	Warnings []string   `json:"warnings,omitempty"`
	Totals   ScanTotals `json:"totals"`
	// Artifacts are in the order of index.json, platforms sorted.
	Artifacts []ScannedArtifact `json:"artifacts"`
	// Exceptions are all of the policy, in its order.
	Exceptions []ExceptionUse `json:"exceptions,omitempty"`
	// Advisories describe the ids of findings, sorted by id.
	Advisories []Advisory `json:"advisories,omitempty"`
}

// ScanDatabase is a database that was used.
type ScanDatabase struct {
	// Name is "vulnerability" or "java".
	Name string `json:"name"`
	// Reference it was pulled by; empty when it came from a file.
	Reference string `json:"reference,omitempty"`
	// Digest is that of its OCI manifest.
	Digest digest.Digest `json:"digest"`
	// Updated is when its maker updated it, RFC 3339, UTC.
	Updated string `json:"updated"`
}

// Names of databases.
const (
	DatabaseVulnerability = "vulnerability"
	DatabaseJava          = "java"
)

// Severity of a finding, upper case.
type Severity string

// The severities, as Trivy has them.
const (
	SeverityCritical Severity = "CRITICAL"
	SeverityHigh     Severity = "HIGH"
	SeverityMedium   Severity = "MEDIUM"
	SeverityLow      Severity = "LOW"
	SeverityUnknown  Severity = "UNKNOWN"
)

// Severities lists all of them, the worst first.
var severities = []Severity{SeverityCritical, SeverityHigh, SeverityMedium, SeverityLow, SeverityUnknown}

// Severities are all severities, the worst first.
func Severities() []Severity { return slices.Clone(severities) }

// AtLeast tells whether s is as bad as limit, or worse. Unknown is the least.
func (s Severity) AtLeast(limit Severity) bool {
	i, j := slices.Index(severities, s), slices.Index(severities, limit)
	return i >= 0 && j >= 0 && i <= j
}

// SeverityCounts counts findings by severity.
type SeverityCounts struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Unknown  int `json:"unknown"`
}

// Add counts one finding.
func (c *SeverityCounts) Add(s Severity) {
	switch s {
	case SeverityCritical:
		c.Critical++
	case SeverityHigh:
		c.High++
	case SeverityMedium:
		c.Medium++
	case SeverityLow:
		c.Low++
	default:
		c.Unknown++
	}
}

// Sum is the number of all.
func (c SeverityCounts) Sum() int { return c.Critical + c.High + c.Medium + c.Low + c.Unknown }

// ScanTotals counts findings of all artifacts, one for every artifact that has it.
type ScanTotals struct {
	// Artifacts scanned, Packages found in them.
	Artifacts int `json:"artifacts"`
	Packages  int `json:"packages"`
	// Open are the vulnerabilities that nothing accepts, Accepted those under an
	// exception, NotAffected those that a VEX document rules out.
	Open        SeverityCounts `json:"open"`
	Accepted    SeverityCounts `json:"accepted"`
	NotAffected SeverityCounts `json:"notAffected"`
	// The open findings of the other classes.
	Misconfigurations SeverityCounts `json:"misconfigurations"`
	Secrets           SeverityCounts `json:"secrets"`
	Licenses          SeverityCounts `json:"licenses"`
}

// ScannedArtifact is one manifest that was scanned: a platform of an image or a
// file, a chart, a set of OS packages.
type ScannedArtifact struct {
	// Ref is the artifact's name in index.json, Entry the digest it has there; Digest
	// is that of the manifest scanned, which differs from Entry where that is an index.
	Ref       string        `json:"ref"`
	Kind      ArtifactKind  `json:"kind"`
	Component string        `json:"component"`
	Platform  string        `json:"platform,omitempty"`
	Entry     digest.Digest `json:"entry"`
	Digest    digest.Digest `json:"digest"`
	// OS is "debian 12.5"; empty when none was found.
	OS string `json:"os,omitempty"`
	// EndOfLife says that the OS gets no more advisories.
	EndOfLife bool `json:"endOfLife,omitempty"`
	// Packages is how many packages were found.
	Packages int         `json:"packages"`
	Verdict  ScanVerdict `json:"verdict"`
	// SBOM and SPDX name the SBOM files in the bundle; empty when there is none.
	SBOM     string    `json:"sbom,omitempty"`
	SPDX     string    `json:"spdx,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Note says what could not be scanned, and why.
	Note string `json:"note,omitempty"`
}

// FindingClass says what a finding is about.
type FindingClass string

// The classes of findings.
const (
	ClassVulnerability    FindingClass = "vulnerability"
	ClassMisconfiguration FindingClass = "misconfiguration"
	ClassSecret           FindingClass = "secret"
	ClassLicense          FindingClass = "license"
)

// FindingState says what became of a finding.
type FindingState string

// The states. Open findings count; the state of an accepted one comes from an
// exception, of a not affected one from a VEX document.
const (
	StateOpen        FindingState = "open"
	StateAccepted    FindingState = "accepted"
	StateNotAffected FindingState = "not affected"
)

// Finding is one thing found in one artifact.
type Finding struct {
	Class FindingClass `json:"class"`
	// ID is a CVE or other advisory id, a check's id, a secret rule's id, or an SPDX
	// license id.
	ID       string       `json:"id"`
	Severity Severity     `json:"severity"`
	State    FindingState `json:"state"`
	// Stops says that the policy counts it against the bundle.
	Stops bool `json:"stops,omitempty"`
	// Package and Installed say what is affected, Fixed in which version it is not;
	// empty where there is no fix.
	Package   string `json:"package,omitempty"`
	Installed string `json:"installed,omitempty"`
	Fixed     string `json:"fixed,omitempty"`
	// PURL is the package URL of the package.
	PURL string `json:"purl,omitempty"`
	// Target is the file in the artifact, Line the place in it where one is known.
	Target string `json:"target,omitempty"`
	Line   int    `json:"line,omitempty"`
	// Why is the exception's reason, or the VEX document's justification.
	Why string `json:"why,omitempty"`
}

// Advisory describes an id.
type Advisory struct {
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
	URL   string `json:"url,omitempty"`
	// Severity is the worst that a finding of this id has.
	Severity Severity `json:"severity"`
	// Published is a date, YYYY-MM-DD.
	Published string `json:"published,omitempty"`
}

// ExceptionState says what an exception did.
type ExceptionState string

// The states of an exception. An expired one accepts nothing; an unused one found
// nothing to accept.
const (
	ExceptionUsed    ExceptionState = "used"
	ExceptionUnused  ExceptionState = "unused"
	ExceptionExpired ExceptionState = "expired"
)

// ExceptionUse is an exception with what became of it.
type ExceptionUse struct {
	ScanException
	State ExceptionState `json:"state"`
	// Findings is how many it accepted, or would have if it had not expired.
	Findings int `json:"findings"`
}

// Encode returns the canonical bytes of r.
func (r *ScanReport) Encode() ([]byte, error) { return EncodeJSON(r) }

// DecodeScanReport decodes reports/scan.json strictly, as DecodeBundle does.
func DecodeScanReport(data []byte) (*ScanReport, error) {
	var r ScanReport
	if err := DecodeJSON(data, KindScanReport, &r); err != nil {
		return nil, fmt.Errorf("decoding the scan report: %w", err)
	}
	again, err := r.Encode()
	if err != nil {
		return nil, fmt.Errorf("decoding the scan report: %w", err)
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("decoding the scan report: %w", ErrNotCanonical)
	}
	return &r, nil
}

// Count fills Totals out of the artifacts.
func (r *ScanReport) Count() {
	t := ScanTotals{Artifacts: len(r.Artifacts)}
	for i := range r.Artifacts {
		t.Packages += r.Artifacts[i].Packages
		for _, f := range r.Artifacts[i].Findings {
			t.count(f)
		}
	}
	r.Totals = t
}

func (t *ScanTotals) count(f Finding) {
	open := f.State == StateOpen
	switch {
	case f.Class == ClassVulnerability && open:
		t.Open.Add(f.Severity)
	case f.State == StateAccepted:
		t.Accepted.Add(f.Severity)
	case f.State == StateNotAffected:
		t.NotAffected.Add(f.Severity)
	case f.Class == ClassMisconfiguration:
		t.Misconfigurations.Add(f.Severity)
	case f.Class == ClassSecret:
		t.Secrets.Add(f.Severity)
	case f.Class == ClassLicense:
		t.Licenses.Add(f.Severity)
	}
}

// SortFindings puts findings into their one order: class, severity, id, package, place.
func SortFindings(list []Finding) {
	slices.SortFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class),
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Installed, b.Installed),
			cmp.Compare(a.Target, b.Target), cmp.Compare(a.Line, b.Line))
	})
}

// Summary is what bundle.json says of the report.
func (r *ScanReport) Summary() Scan {
	s := Scan{Verdict: r.Verdict, ScannerVersion: r.Scanner, Policy: r.Policy}
	for _, db := range r.Databases {
		switch db.Name {
		case DatabaseVulnerability:
			s.Database, s.DatabaseDate = db.Digest, db.Updated
		case DatabaseJava:
			s.JavaDatabase, s.JavaDatabaseDate = db.Digest, db.Updated
		}
	}
	for _, e := range r.Exceptions {
		if e.State == ExceptionUsed {
			s.Exceptions = append(s.Exceptions, e.ScanException)
		}
	}
	return s
}
