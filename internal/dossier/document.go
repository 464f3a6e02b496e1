// Package dossier makes the papers of a carry-in: what a bundle holds, from whom,
// under which licence, what was found in it, who signed it, on which media it
// lies, and lines for those who approve. One document, shown as a page in Korean
// or English, as tables (CSV) and as JSON.
//
// Everything in it is taken from documents under the bundle's signature and from
// the volumes' checksums, so that it can be made again from the bundle at any time,
// byte for byte.
package dossier

import (
	"cmp"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// KindDossier is the kind of dossier.json.
const KindDossier = "Dossier"

// NetworkClass is the class of the network a bundle is for, by the Korean national
// network security framework (N2SF).
type NetworkClass string

// The classes: classified, sensitive, open.
const (
	ClassClassified NetworkClass = "C"
	ClassSensitive  NetworkClass = "S"
	ClassOpen       NetworkClass = "O"
)

// Source is what a dossier is made of.
type Source struct {
	// Bundle is bundle.json, Digest its digest.
	Bundle *manifest.Bundle
	Digest digest.Digest
	Lock   *manifest.Lock
	// Components are those carried, in any order.
	Components []*manifest.ComponentSpec
	// Report is nil where no scanner ran.
	Report  *manifest.ScanReport
	Volumes []Volume
	// Signer is the fingerprint of the key that signed; empty for an unsigned bundle.
	Signer string
	// Previous is the bundle to compare with; nil for none.
	Previous *Previous
}

// Volume is one file to label a medium for.
type Volume struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Previous is an earlier bundle.
type Previous struct {
	Bundle *manifest.Bundle
	Digest digest.Digest
	Lock   *manifest.Lock
}

// Document is dossier.json.
type Document struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	BundleID   digest.Digest `json:"bundleId"`
	Release    string        `json:"release"`
	Profile    string        `json:"profile,omitempty"`
	// Created is that of the bundle, RFC 3339, UTC.
	Created       string       `json:"created"`
	Builder       string       `json:"builder"`
	Platforms     []string     `json:"platforms"`
	Distributions []string     `json:"distributions,omitempty"`
	Class         NetworkClass `json:"networkClass,omitempty"`
	Signer        string       `json:"signer,omitempty"`
	// RegistryMap and Flags are what the builder changed of where content came from
	// and what was selected.
	RegistryMap map[string]string `json:"registryMap,omitempty"`
	Flags       []string          `json:"flags,omitempty"`

	Volumes    []Volume    `json:"volumes"`
	Components []Component `json:"components"`
	Totals     []Total     `json:"totals"`
	Assets     []Asset     `json:"assets"`
	Scan       Scan        `json:"scan"`
	Changes    *Changes    `json:"changes,omitempty"`
}

// Component is one system with what its assets sum up to.
type Component struct {
	ID        string `json:"id"`
	Title     string `json:"title"`
	Version   string `json:"version"`
	License   string `json:"license,omitempty"`
	Maker     string `json:"maker,omitempty"`
	EndOfLife string `json:"endOfLife,omitempty"`
	Assets    int    `json:"assets"`
	// Size is the sum of its assets' sizes in bytes; content that components share
	// counts for each.
	Size int64 `json:"size"`
	// Open are its open vulnerabilities.
	Open manifest.SeverityCounts `json:"open"`
}

// Total counts the assets of a kind.
type Total struct {
	Kind   manifest.ArtifactKind `json:"kind"`
	Assets int                   `json:"assets"`
	Size   int64                 `json:"size"`
}

// Scan is what is known of the vulnerabilities.
type Scan struct {
	Verdict      manifest.ScanVerdict    `json:"verdict"`
	Scanner      string                  `json:"scanner,omitempty"`
	Policy       string                  `json:"policy,omitempty"`
	PolicyDigest digest.Digest           `json:"policyDigest,omitempty"`
	Databases    []manifest.ScanDatabase `json:"databases,omitempty"`
	Totals       manifest.ScanTotals     `json:"totals"`
	Reasons      []string                `json:"reasons,omitempty"`
	Warnings     []string                `json:"warnings,omitempty"`
	Exceptions   []manifest.ExceptionUse `json:"exceptions,omitempty"`
	Findings     []Finding               `json:"findings,omitempty"`
	Unscanned    []Unscanned             `json:"unscanned,omitempty"`
}

// Finding is a finding with the artifact it is in.
type Finding struct {
	Artifact  string `json:"artifact"`
	Component string `json:"component"`
	Platform  string `json:"platform,omitempty"`
	manifest.Finding
	Title string `json:"title,omitempty"`
}

// Unscanned is an artifact of which something could not be scanned.
type Unscanned struct {
	Artifact string `json:"artifact"`
	Note     string `json:"note"`
}

// New puts the document together. The same source gives the same document.
func New(s Source) *Document {
	b := s.Bundle
	// By id, as bundle.json lists them: the order of the installation is not in it.
	specs := slices.SortedFunc(slices.Values(s.Components), func(x, y *manifest.ComponentSpec) int { return cmp.Compare(x.ID, y.ID) })
	d := &Document{
		APIVersion: manifest.APIVersion, Kind: KindDossier,
		BundleID: s.Digest, Release: b.Release, Profile: b.Profile, Created: b.Created,
		Builder: "bundle " + b.Builder.Version, Platforms: b.Platforms, Class: NetworkClass(b.NetworkClass), Signer: s.Signer,
		RegistryMap: b.Builder.RegistryMap, Flags: b.Builder.Flags,
		Volumes: s.Volumes,
	}
	for _, p := range s.Lock.Packages {
		d.Distributions = append(d.Distributions, p.Distribution)
	}
	slices.Sort(d.Distributions)
	d.Distributions = slices.Compact(d.Distributions)
	d.Assets = newCatalog(specs).assets(s.Lock)
	d.Scan = newScan(b.Scan, s.Report)
	d.Components = d.components(specs)
	d.Totals = totals(d.Assets)
	if s.Previous != nil {
		d.Changes = newChanges(s.Previous, newCatalog(specs).assets(s.Previous.Lock), d.Assets)
	}
	return d
}

// Encode returns dossier.json.
func (d *Document) Encode() ([]byte, error) { return manifest.EncodeJSON(d) }

// components sums assets and open vulnerabilities by component.
func (d *Document) components(specs []*manifest.ComponentSpec) []Component {
	out := make([]Component, 0, len(specs))
	for _, c := range specs {
		row := Component{ID: c.ID, Title: cmp.Or(c.Title, c.ID), Version: c.Version, License: c.License, Maker: c.Upstream, EndOfLife: c.EndOfLife}
		for _, a := range d.Assets {
			if slices.Contains(a.Components, c.ID) {
				row.Assets++
				row.Size += a.Size
			}
		}
		for _, f := range d.Scan.Findings {
			if f.Component == c.ID && f.Class == manifest.ClassVulnerability && f.State == manifest.StateOpen {
				row.Open.Add(f.Severity)
			}
		}
		out = append(out, row)
	}
	return out
}

func totals(assets []Asset) []Total {
	var out []Total
	for _, kind := range kinds {
		t := Total{Kind: kind}
		for _, a := range assets {
			if a.Kind == kind {
				t.Assets++
				t.Size += a.Size
			}
		}
		if t.Assets > 0 {
			out = append(out, t)
		}
	}
	return out
}

// newScan takes the findings out of the report, the worst first.
func newScan(signed manifest.Scan, r *manifest.ScanReport) Scan {
	s := Scan{Verdict: signed.Verdict, Scanner: signed.ScannerVersion, PolicyDigest: signed.Policy}
	if r == nil {
		return s
	}
	s.Policy, s.Databases, s.Totals = r.PolicyTitle, r.Databases, r.Totals
	s.Reasons, s.Warnings, s.Exceptions = r.Reasons, r.Warnings, r.Exceptions
	titles := map[string]string{}
	for _, a := range r.Advisories {
		titles[a.ID] = a.Title
	}
	for _, a := range r.Artifacts {
		if a.Note != "" {
			s.Unscanned = append(s.Unscanned, Unscanned{Artifact: a.Ref, Note: a.Note})
		}
		for _, f := range a.Findings {
			s.Findings = append(s.Findings, Finding{Artifact: a.Ref, Component: a.Component, Platform: a.Platform, Finding: f, Title: titles[f.ID]})
		}
	}
	order := manifest.Severities()
	slices.SortStableFunc(s.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity)),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.Artifact, b.Artifact), cmp.Compare(a.Platform, b.Platform), cmp.Compare(a.Package, b.Package))
	})
	return s
}
