package install

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/internal/journal"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/harbor"
	"naru/pkg/mirror/push"
)

// KindSeedReport is the kind of a SeedReport.
const KindSeedReport = "SeedReport"

// SeedReport says what a Harbor was found to hold of bundles after they were pushed into
// it: every digest of their locks, one line each. It is signed with the site key.
type SeedReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Time is RFC 3339, UTC, by the host's clock.
	Time   string `json:"time"`
	Harbor string `json:"harbor"`
	// Version of the Harbor, and who pushed.
	Version string `json:"version"`
	User    string `json:"user"`
	// Bundles are the digests of their bundle.json.
	Bundles  []digest.Digest `json:"bundles"`
	Projects []string        `json:"projects"`
	// Immutable are the projects whose tags are, after this run.
	Immutable []string   `json:"immutable"`
	Lock      []LockLine `json:"lock"`
	// Checked counts tags, manifests and blobs that Harbor was asked for.
	Checked  int            `json:"checked"`
	Findings []push.Finding `json:"findings"`
	// Mappings are the tags that hold a platform, or an index over the carried ones,
	// in place of an upstream index of which not all is carried, and those that hold
	// signatures of others beside the bundles'.
	Mappings []push.Mapping `json:"mappings"`
	// Orphans are signatures and the like of which the subject is not in Harbor.
	Orphans []push.Orphan `json:"orphans"`
	Blobs   push.Blobs    `json:"blobs"`
	// SiteKey is the fingerprint of the key that signed this.
	SiteKey string `json:"siteKey"`
}

// States of a LockLine.
const (
	LockHeld    = "held"     // Harbor holds these bytes
	LockMapped  = "mapped"   // an upstream index or a list of signatures that a Mapping stands in for
	LockLeftOut = "left out" // not pushed, as wanted: OS packages, or what was not chosen
	LockAbsent  = "absent"   // not there, though it should be
)

// LockLine is one digest of a lock.
type LockLine struct {
	Kind     string        `json:"kind"`
	Name     string        `json:"name"`
	Platform string        `json:"platform,omitempty"`
	Digest   digest.Digest `json:"digest"`
	State    string        `json:"state"`
}

// err is a *DifferenceError when something is not there.
func (r *SeedReport) err() error {
	findings := slices.Clone(r.Findings)
	for _, l := range r.Lock {
		if l.State == LockAbsent && !slices.ContainsFunc(findings, func(f push.Finding) bool { return f.Ref == l.Name }) {
			findings = append(findings, push.Finding{Kind: l.Kind, Ref: l.Name, Want: l.Digest})
		}
	}
	if len(findings) > 0 {
		return &DifferenceError{Findings: findings}
	}
	return nil
}

// whole tells whether all that bundles carry was meant to be in Harbor, but OS packages,
// and no tag of it to move.
func (r *SeedReport) whole() bool {
	chosen := slices.ContainsFunc(r.Lock, func(l LockLine) bool { return l.State == LockLeftOut && l.Kind != "packages" })
	return !chosen && !slices.ContainsFunc(r.Projects, func(name string) bool { return !slices.Contains(r.Immutable, name) })
}

// report lays out what was found.
func (s *seeding) report(ctx context.Context, fixed []string) (*SeedReport, error) {
	r := &SeedReport{
		APIVersion: manifest.APIVersion, Kind: KindSeedReport, Time: s.Now().UTC().Format(time.RFC3339),
		Harbor: s.client.URL(), Version: s.info.Version, User: s.Harbor.User,
		Bundles: []digest.Digest{}, Projects: projectNames(s.projects), Immutable: append([]string{}, fixed...), Lock: []LockLine{},
		Checked: s.check.Checked, Findings: s.check.Findings, Mappings: s.check.Mappings, Orphans: s.check.Orphans,
		Blobs: s.result.Pushed.Blobs, SiteKey: s.key.Public().Fingerprint(),
	}
	states := s.states()
	for _, b := range s.bundles {
		r.Bundles = append(r.Bundles, b.BundleDigest())
		data, err := b.ReadFile(ctx, archive.LockName)
		if err != nil {
			return nil, err
		}
		lock, err := manifest.DecodeLock(archive.LockName, data)
		if err != nil {
			return nil, err
		}
		r.Lock = append(r.Lock, s.lockLines(lock, states)...)
	}
	return r, nil
}

func projectNames(list []harbor.Project) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// states says of every digest of the plan what became of it. One that lies in several
// repositories counts as held when it is in all of them.
func (s *seeding) states() map[digest.Digest]string {
	states := map[digest.Digest]string{}
	worst := func(d digest.Digest, state string) {
		if states[d] != LockAbsent && states[d] != LockMapped || state == LockAbsent {
			states[d] = state
		}
	}
	for _, c := range s.check.Compared {
		worst(c.Digest, map[string]string{push.StateHeld: LockHeld, push.StateMapped: LockMapped, push.StateAbsent: LockAbsent}[c.State])
	}
	missing := map[string]bool{}
	for _, f := range s.check.Findings {
		if f.Kind == push.FindingBlob {
			missing[f.Repository+"@"+f.Want.String()] = true
		}
	}
	for _, a := range s.result.Plan.Artifacts {
		for _, m := range a.Manifests {
			for _, b := range m.Blobs {
				state := LockHeld
				if missing[a.Repository+"@"+b.Digest.String()] {
					state = LockAbsent
				}
				worst(b.Digest, state)
			}
		}
	}
	// A refused signature of an index that a mapping stands in for is told of among
	// the orphans: nobody can ask Harbor for it, and nothing is missing.
	for _, o := range s.check.Orphans {
		if states[o.Digest] == LockAbsent && states[o.Subject] == LockMapped {
			states[o.Digest] = LockMapped
		}
	}
	return states
}

// lockLines is a line for every digest of a lock that a bundle carries.
func (s *seeding) lockLines(lock *manifest.Lock, states map[digest.Digest]string) []LockLine {
	var lines []LockLine
	add := func(kind, name, platform string, d digest.Digest) {
		state, planned := states[d]
		switch {
		case planned:
		case len(s.Only) > 0 || kind == "packages":
			state = LockLeftOut
		default:
			state = LockAbsent
		}
		lines = append(lines, LockLine{Kind: kind, Name: name, Platform: platform, Digest: d, State: state})
	}
	for _, img := range lock.Images {
		add("image", img.Ref, "", img.Digest)
		for _, p := range img.Platforms {
			add("image", img.Ref, p.Platform, p.Digest)
		}
		for _, ref := range img.Referrers {
			add("referrer", img.Ref, "", ref.Digest)
		}
	}
	for _, c := range lock.Charts {
		add("chart", c.Name+":"+c.Version, "", c.Digest)
		for _, ref := range c.Referrers {
			add("referrer", c.Name+":"+c.Version, "", ref.Digest)
		}
	}
	for _, f := range lock.Files {
		if len(f.Members) == 0 {
			add("file", f.Component+"/"+f.Name+":"+f.Version, f.Platform, f.Digest)
		}
		for _, m := range f.Members {
			add("file", f.Component+"/"+m.Name+":"+f.Version, f.Platform, m.Digest)
		}
	}
	for _, p := range lock.Packages {
		for _, pkg := range p.Packages {
			add("packages", p.Distribution+"/"+pkg.Name, p.Platform, pkg.Digest)
		}
	}
	return lines
}

// write signs the report, and notes in the journal what it says.
func (s *seeding) write(r *SeedReport) error {
	name := "seed-" + s.Now().UTC().Format("20060102T150405Z") + ".json"
	path := filepath.Join(s.State, "reports", name)
	if err := s.key.WriteSigned(path, r); err != nil {
		return err
	}
	data, err := manifest.EncodeJSON(r)
	if err != nil {
		return err
	}
	outcome := "even"
	if err := r.err(); err != nil {
		outcome = "differs"
	}
	note := map[string]any{
		"harbor": r.Harbor, "user": r.User, "bundles": r.Bundles, "checked": r.Checked, "outcome": outcome,
		"uploaded": r.Blobs.Bytes, "report": name, "digest": digest.FromBytes(data),
	}
	if _, err := journal.Append(filepath.Join(s.State, "journal.jsonl"), s.key, "harbor-seeded", note); err != nil {
		return fmt.Errorf("writing down what was pushed: %w", err)
	}
	s.result.Report, s.result.Path = r, path
	return nil
}
