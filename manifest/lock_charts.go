package manifest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// LockedChart pins a packaged chart.
type LockedChart struct {
	Component  string `yaml:"component"`
	Name       string `yaml:"name"`
	Version    string `yaml:"version"`
	Repository string `yaml:"repository"`
	// Digest and Size (bytes) are those of the packaged chart (.tgz).
	Digest digest.Digest `yaml:"digest"`
	Size   int64         `yaml:"size,omitempty"`
	// Manifest is the digest of the upstream's own manifest; empty for a chart from
	// an HTTP repository, whose manifest follows from the rest.
	Manifest digest.Digest `yaml:"manifest,omitempty"`
	// Provenance is the digest of the .prov file; empty where upstream has none.
	Provenance digest.Digest `yaml:"provenance,omitempty"`
	// Referrers speak of Manifest. An entry with a size was made by a build that looked
	// for them; where it has none upstream had none.
	Referrers []LockedReferrer `yaml:"referrers,omitempty"`
	// Source is the URL of the .tgz, or the reference in an OCI registry.
	Source   string   `yaml:"source"`
	PinnedBy PinnedBy `yaml:"pinnedBy"`
}

func (c *LockedChart) validate(doc *document, at string) {
	checkDigest(doc, at+".digest", c.Digest)
	if c.Manifest != "" {
		checkDigest(doc, at+".manifest", c.Manifest)
	}
	if c.Provenance != "" {
		checkDigest(doc, at+".provenance", c.Provenance)
	}
	for i := range c.Referrers {
		c.Referrers[i].validate(doc, fmt.Sprintf("%s.referrers[%d]", at, i))
	}
	if !idRE.MatchString(c.Name) || c.Component == "" {
		doc.errorf(at, "chart %q of component %q is not named properly", c.Name, c.Component)
	}
}

func compareCharts(a, b LockedChart) int {
	return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name))
}

// Chart returns the entry that pins a component's chart, or nil. A chart whose
// version or repository has changed since is not pinned by it.
func (l *Lock) Chart(component string, c *Chart) *LockedChart {
	for i := range l.Charts {
		e := &l.Charts[i]
		if e.Component == component && e.Name == c.Name && e.Version == c.Version && e.Repository == c.Repository {
			return e
		}
	}
	return nil
}

// mergeCharts are the charts of over, and those of list that it does not have.
func mergeCharts(list, over []LockedChart) []LockedChart {
	out := slices.Clone(over)
	for _, c := range list {
		if !slices.ContainsFunc(over, func(o LockedChart) bool { return compareCharts(o, c) == 0 }) {
			out = append(out, c)
		}
	}
	return out
}
