package scan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"naru/manifest"
)

// Judgement is what a result is judged under.
type Judgement struct {
	// Policy of the site; nil where there is none, which makes the verdict
	// manifest.VerdictNotJudged.
	Policy *manifest.ScanPolicy
	// VEX documents; what they rule out does not count.
	VEX *VEX
	// Licenses are the stated licenses of components, SPDX expressions by id.
	Licenses map[string]string
	// Databases that were used.
	Databases []manifest.ScanDatabase
	// At is the day of judgement, for the expiry of exceptions and the age of the
	// database.
	At time.Time
}

// Judge makes the report of a result. The artifacts of the result are copied.
func Judge(result *Result, j Judgement) *manifest.ScanReport {
	r := &manifest.ScanReport{
		APIVersion: manifest.APIVersion, Kind: manifest.KindScanReport,
		Scanner: result.Scanner, Databases: j.Databases, Verdict: manifest.VerdictNotJudged,
		Warnings: slices.Clone(result.Warnings),
	}
	if r.Databases == nil {
		r.Databases = []manifest.ScanDatabase{}
	}
	w := &judge{Judgement: j, report: r, uses: map[int]int{}}
	r.Artifacts = make([]manifest.ScannedArtifact, 0, len(result.Artifacts))
	for i := range result.Artifacts {
		r.Artifacts = append(r.Artifacts, w.artifact(&result.Artifacts[i]))
	}
	if j.Policy != nil {
		w.conclude()
	}
	r.Advisories = advisories(r.Artifacts, result.Advisories)
	r.Count()
	return r
}

// judge is the state of one judgement.
type judge struct {
	Judgement
	report *manifest.ScanReport
	// uses counts the findings that each exception of the policy is for.
	uses    map[int]int
	stopped int
}

// artifact judges one artifact.
func (w *judge) artifact(a *Artifact) manifest.ScannedArtifact {
	out := a.ScannedArtifact
	out.Findings = slices.Clone(out.Findings)
	if w.Policy != nil {
		out.Findings = append(out.Findings, w.licenses(a)...)
	}
	out.Verdict = manifest.VerdictNotJudged
	if w.Policy != nil {
		out.Verdict = manifest.VerdictPass
	}
	for i := range out.Findings {
		f := &out.Findings[i]
		f.State = manifest.StateOpen
		if why, ok := w.VEX.NotAffected(&out, f); ok {
			f.State, f.Why = manifest.StateNotAffected, why
			continue
		}
		if w.Policy == nil || !w.counts(&out, f) {
			continue
		}
		w.apply(&out, f)
		switch {
		case f.Stops:
			out.Verdict = manifest.VerdictFail
			w.stopped++
		case f.State == manifest.StateAccepted && out.Verdict == manifest.VerdictPass:
			out.Verdict = manifest.VerdictExceptions
		}
	}
	if w.Policy != nil && out.Note != "" && w.Policy.Unscanned != manifest.UnscannedPass {
		out.Verdict = manifest.VerdictFail
		w.report.Reasons = append(w.report.Reasons, fmt.Sprintf("%s was not scanned whole, which the policy does not accept (unscanned): %s", out.Ref, out.Note))
	}
	out.Note = cmp.Or(out.Note, a.Data)
	manifest.SortFindings(out.Findings)
	return out
}

// counts tells whether the policy's rule is about a finding.
func (w *judge) counts(a *manifest.ScannedArtifact, f *manifest.Finding) bool {
	rule := w.Policy.RuleFor(a.Component)
	vulnerability, misconfiguration, secret := rule.Limits()
	switch f.Class {
	case manifest.ClassVulnerability:
		return vulnerability != "" && f.Severity.AtLeast(vulnerability) && (f.Fixed != "" || !rule.OnlyFixed)
	case manifest.ClassMisconfiguration:
		return misconfiguration != "" && f.Severity.AtLeast(misconfiguration)
	case manifest.ClassSecret:
		return secret != "" && f.Severity.AtLeast(secret)
	}
	return true // licenses are found by the policy alone
}

// apply looks for an exception: one that holds accepts the finding, otherwise it stops.
func (w *judge) apply(a *manifest.ScannedArtifact, f *manifest.Finding) {
	f.Stops = true
	for i := range w.Policy.Exceptions {
		e := &w.Policy.Exceptions[i]
		if !e.Matches(f.ID, a) {
			continue
		}
		w.uses[i]++
		if f.Stops && !e.Expired(w.At) {
			f.State, f.Stops, f.Why = manifest.StateAccepted, false, e.Reason
		}
	}
}

// licenses are findings for what the policy does not let in: the packages of an
// artifact, and what the artifact's component states.
func (w *judge) licenses(a *Artifact) []manifest.Finding {
	rule := w.Policy.Licenses
	if len(rule.Allow)+len(rule.Deny) == 0 {
		return nil
	}
	seen := map[manifest.Finding]bool{}
	note := func(license string, f manifest.Finding) {
		for _, id := range splitLicense(license) {
			if refused(rule, id) {
				f.Class, f.ID, f.Severity = manifest.ClassLicense, id, manifest.SeverityHigh
				seen[f] = true
			}
		}
	}
	note(w.Licenses[a.Component], manifest.Finding{})
	for _, p := range a.Contents {
		for _, l := range p.Licenses {
			note(l, manifest.Finding{Package: p.Name, Installed: p.Version, PURL: p.PURL, Target: p.Target})
		}
	}
	out := slices.Collect(maps.Keys(seen))
	manifest.SortFindings(out)
	return out
}

// splitLicense are the license ids of an SPDX expression. Of alternatives each is
// named, since the policy's author is to see them all.
func splitLicense(expression string) []string {
	fields := strings.FieldsFunc(expression, func(r rune) bool { return r == '(' || r == ')' || r == ' ' || r == ',' })
	var ids []string
	for i, f := range fields {
		switch strings.ToUpper(f) {
		case "AND", "OR", "WITH":
			continue
		}
		if i > 0 && strings.EqualFold(fields[i-1], "WITH") {
			continue // an exception to a license is none itself
		}
		ids = append(ids, f)
	}
	return ids
}

// refused tells whether the rule keeps a license out. Ids compare without case.
func refused(rule manifest.LicenseRule, id string) bool {
	has := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, id) })
	}
	if len(rule.Allow) > 0 {
		return !has(rule.Allow)
	}
	return has(rule.Deny)
}

// conclude settles the verdict of the whole.
func (w *judge) conclude() {
	r, p := w.report, w.Policy
	r.Policy, r.PolicyTitle, r.Verdict = p.Digest(), p.Title, manifest.VerdictPass
	for i, e := range p.Exceptions {
		use := manifest.ExceptionUse{ScanException: e, State: manifest.ExceptionUsed, Findings: w.uses[i]}
		switch {
		case e.Expired(w.At):
			use.State = manifest.ExceptionExpired
			if use.Findings > 0 {
				r.Reasons = append(r.Reasons, fmt.Sprintf("the exception for %s of %s expired on %s", e.ID, e.Artifact, e.Expires))
			} else {
				r.Warnings = append(r.Warnings, fmt.Sprintf("the exception for %s of %s expired on %s and is not needed", e.ID, e.Artifact, e.Expires))
			}
		case use.Findings == 0:
			use.State = manifest.ExceptionUnused
			r.Warnings = append(r.Warnings, fmt.Sprintf("the exception for %s of %s accepts nothing", e.ID, e.Artifact))
		default:
			r.Verdict = manifest.VerdictExceptions
		}
		r.Exceptions = append(r.Exceptions, use)
	}
	if w.stopped > 0 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d findings that the policy does not accept", w.stopped))
	}
	w.checkAge()
	if len(r.Reasons) > 0 {
		r.Verdict = manifest.VerdictFail
	}
}

// checkAge compares the vulnerability database with the policy's bound.
func (w *judge) checkAge() {
	limit := w.Policy.Database.Age()
	if limit == 0 {
		return
	}
	for _, db := range w.Databases {
		if db.Name != manifest.DatabaseVulnerability {
			continue
		}
		updated, err := time.Parse(time.RFC3339, db.Updated)
		if err != nil || w.At.Sub(updated) > limit {
			w.report.Reasons = append(w.report.Reasons, fmt.Sprintf("the vulnerability database of %s is older than %s", db.Updated, w.Policy.Database.MaxAge))
		}
	}
}

// advisories are the descriptions of what was found, sorted.
func advisories(artifacts []manifest.ScannedArtifact, known map[string]manifest.Advisory) []manifest.Advisory {
	worst := map[string]manifest.Severity{}
	for _, a := range artifacts {
		for _, f := range a.Findings {
			if old, ok := worst[f.ID]; !ok || f.Severity.AtLeast(old) {
				worst[f.ID] = f.Severity
			}
		}
	}
	var out []manifest.Advisory
	for _, id := range slices.Sorted(maps.Keys(worst)) {
		adv := known[id]
		adv.ID, adv.Severity = id, worst[id]
		out = append(out, adv)
	}
	return out
}

// PolicyError says that the policy does not let the content in.
type PolicyError struct {
	Report *manifest.ScanReport
}

func (e *PolicyError) Error() string {
	lines := []string{"judging the scan: the policy does not let this in"}
	for _, r := range e.Report.Reasons {
		lines = append(lines, "  "+r)
	}
	const most = 20
	n := 0
	for _, a := range e.Report.Artifacts {
		for _, f := range a.Findings {
			if !f.Stops {
				continue
			}
			if n++; n <= most {
				lines = append(lines, "  "+describe(&a, &f))
			}
		}
	}
	if n > most {
		lines = append(lines, fmt.Sprintf("  and %d more", n-most))
	}
	return strings.Join(lines, "\n")
}

// describe is one finding in one line.
func describe(a *manifest.ScannedArtifact, f *manifest.Finding) string {
	s := fmt.Sprintf("%s %s in %s", f.Severity, f.ID, a.Ref)
	if f.Package != "" {
		s += fmt.Sprintf(": %s %s", f.Package, f.Installed)
	}
	if f.Fixed != "" {
		s += fmt.Sprintf(" (fixed in %s)", f.Fixed)
	}
	return s
}
