package dossier

import (
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// Kinds of assets, in the order that they are listed in. A package is one file of
// an OS distribution, metadata the vendor's signed indexes of one source.
const (
	KindPackage  manifest.ArtifactKind = "package"
	KindMetadata manifest.ArtifactKind = "metadata"
)

var kinds = []manifest.ArtifactKind{
	manifest.ArtifactImage, manifest.ArtifactChart, manifest.ArtifactFile, KindPackage, KindMetadata, manifest.ArtifactReferrer,
}

// Asset is one thing that comes in.
type Asset struct {
	Kind manifest.ArtifactKind `json:"kind"`
	Name string                `json:"name"`
	// Version is the tag of an image.
	Version  string `json:"version,omitempty"`
	Platform string `json:"platform,omitempty"`
	// Size is in bytes; of an image manifest, config and layers together.
	Size   int64         `json:"size"`
	Digest digest.Digest `json:"digest"`
	// Source is where it was fetched from.
	Source  string `json:"source"`
	Maker   string `json:"maker,omitempty"`
	License string `json:"license,omitempty"`
	// PinnedBy is release, site or build.
	PinnedBy manifest.PinnedBy `json:"pinnedBy"`
	// Components that list it, sorted.
	Components []string `json:"components"`
}

// catalog tells which components list what.
type catalog struct {
	order  []string
	specs  map[string]*manifest.ComponentSpec
	images map[string][]string // component ids by reference
}

func newCatalog(specs []*manifest.ComponentSpec) *catalog {
	c := &catalog{specs: map[string]*manifest.ComponentSpec{}, images: map[string][]string{}}
	for _, s := range specs {
		c.order = append(c.order, s.ID)
		c.specs[s.ID] = s
		for _, img := range s.Images {
			c.images[img.Ref] = append(c.images[img.Ref], s.ID)
		}
	}
	return c
}

// assets flattens a lock: by kind, then in the lock's order, which is by name.
func (c *catalog) assets(lock *manifest.Lock) []Asset {
	out := c.imageAssets(lock)
	for _, l := range lock.Charts {
		base := Asset{Kind: manifest.ArtifactChart, Name: l.Name, Version: l.Version, Size: l.Size, Digest: l.Digest, Source: l.Source, PinnedBy: l.PinnedBy}
		out = append(out, c.of(base, l.Component))
		for _, r := range l.Referrers {
			a := base
			a.Kind, a.Size, a.Digest = manifest.ArtifactReferrer, 0, r.Digest
			out = append(out, c.of(a, l.Component))
		}
	}
	for _, l := range lock.Files {
		out = append(out, c.of(Asset{Kind: manifest.ArtifactFile, Name: l.Name, Version: l.Version, Platform: l.Platform, Size: l.Size, Digest: l.Digest, Source: l.URL, PinnedBy: l.PinnedBy}, l.Component))
	}
	for i := range lock.Packages {
		out = append(out, c.packageAssets(&lock.Packages[i])...)
	}
	slices.SortStableFunc(out, func(a, b Asset) int { return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind) })
	return out
}

func (c *catalog) imageAssets(lock *manifest.Lock) []Asset {
	var out []Asset
	for _, l := range lock.Images {
		name, version := splitRef(l.Ref)
		base := Asset{Kind: manifest.ArtifactImage, Name: name, Version: version, Source: l.Source, PinnedBy: l.PinnedBy}
		for _, p := range l.Platforms {
			a := base
			a.Platform, a.Size, a.Digest = p.Platform, p.Content, p.Digest
			out = append(out, c.of(a, c.images[l.Ref]...))
		}
		if len(l.Platforms) == 0 { // an artifact that has none, such as a database
			a := base
			a.Size, a.Digest = l.Size, l.Digest
			out = append(out, c.of(a, c.images[l.Ref]...))
		}
		for _, r := range l.Referrers {
			a := base
			a.Kind, a.Digest = manifest.ArtifactReferrer, r.Digest
			out = append(out, c.of(a, c.images[l.Ref]...))
		}
	}
	return out
}

func (c *catalog) packageAssets(set *manifest.LockedPackages) []Asset {
	var out []Asset
	urls := map[string]string{}
	for _, s := range set.Sources {
		urls[s.Name] = strings.TrimSuffix(s.URL, "/")
		var size int64
		for _, f := range s.Files {
			size += f.Size
		}
		out = append(out, Asset{Kind: KindMetadata, Name: set.Distribution + "/" + s.Name, Version: s.Date, Platform: set.Platform,
			Size: size, Digest: s.Digest, Source: s.URL, Maker: set.Distribution, PinnedBy: set.PinnedBy})
	}
	for _, p := range set.Packages {
		a := Asset{Kind: KindPackage, Name: set.Distribution + "/" + p.Name, Version: p.Version, Platform: set.Platform, Size: p.Size,
			Digest: p.Digest, Source: urls[p.Source] + "/" + p.Path, Maker: set.Distribution, PinnedBy: set.PinnedBy, Components: p.Components}
		out = append(out, a)
	}
	return out
}

// of gives an asset its components, and maker and licence of the first of them.
func (c *catalog) of(a Asset, ids ...string) Asset {
	a.Components = ids
	if len(ids) > 0 && c.specs[ids[0]] != nil {
		a.Maker, a.License = c.specs[ids[0]].Upstream, c.specs[ids[0]].License
	}
	return a
}

// splitRef is name and tag of a reference, or name and digest of one without a tag.
func splitRef(s string) (name, version string) {
	ref, err := manifest.ParseReference(s)
	if err != nil {
		return s, ""
	}
	if ref.Tag == "" {
		return ref.Name(), ref.Digest.String()
	}
	return ref.Name(), ref.Tag
}
