package manifest

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// LockedPackages pins the OS packages of one distribution on one platform: the
// signed metadata of every source and the closure that was computed over it.
type LockedPackages struct {
	Distribution string                `yaml:"distribution"`
	Platform     string                `yaml:"platform"`
	PinnedBy     PinnedBy              `yaml:"pinnedBy"`
	Sources      []LockedPackageSource `yaml:"sources"`
	// Roots are the names that the closure was computed for, by component.
	Roots    []LockedRoots   `yaml:"roots"`
	Packages []LockedPackage `yaml:"packages"`
}

// LockedPackageSource pins the metadata of one source.
type LockedPackageSource struct {
	Name string `yaml:"name"`
	// URL is the source's address with the architecture filled in; paths of metadata
	// and packages are below it.
	URL      string   `yaml:"url"`
	Suite    string   `yaml:"suite,omitempty"`
	Sections []string `yaml:"sections,omitempty"`
	// Digest and Size (bytes) are those of InRelease or repomd.xml.
	Digest digest.Digest `yaml:"digest"`
	Size   int64         `yaml:"size"`
	// Date is when the vendor signed it, RFC 3339, UTC; empty where it does not say.
	Date string `yaml:"date,omitempty"`
	// Signer is the fingerprint of the vendor's key that the signature verified with;
	// empty where the vendor does not sign its metadata.
	Signer string `yaml:"signer,omitempty"`
	// Files are all metadata files that are carried, the one of Digest among them.
	Files []LockedMetadata `yaml:"files"`
}

// LockedMetadata pins a metadata file of a source.
type LockedMetadata struct {
	// Path is relative to the source's URL: "dists/bookworm/InRelease".
	Path   string        `yaml:"path"`
	Digest digest.Digest `yaml:"digest"`
	Size   int64         `yaml:"size"`
}

// LockedRoots are the packages that a component asks for, sorted.
type LockedRoots struct {
	Component string   `yaml:"component"`
	Names     []string `yaml:"names"`
}

// LockedPackage pins one package file.
type LockedPackage struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	Arch    string `yaml:"arch"`
	// Source is the name of the source that has it, Path is relative to the source's
	// URL.
	Source string        `yaml:"source"`
	Path   string        `yaml:"path"`
	Digest digest.Digest `yaml:"digest"`
	Size   int64         `yaml:"size"`
	// Components are those whose closure it is in, sorted.
	Components []string `yaml:"components"`
}

// ComparePackages orders packages by name, version as text, architecture and source.
func ComparePackages(a, b LockedPackage) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Path, b.Path))
}

func comparePackageSets(a, b LockedPackages) int {
	return cmp.Or(cmp.Compare(a.Distribution, b.Distribution), cmp.Compare(a.Platform, b.Platform))
}

// sort puts p into canonical order. Sources keep theirs: it is that of the
// distribution.
func (p *LockedPackages) sort() {
	for i := range p.Sources {
		slices.SortFunc(p.Sources[i].Files, func(a, b LockedMetadata) int { return cmp.Compare(a.Path, b.Path) })
	}
	slices.SortFunc(p.Roots, func(a, b LockedRoots) int { return cmp.Compare(a.Component, b.Component) })
	for i := range p.Packages {
		slices.Sort(p.Packages[i].Components)
	}
	slices.SortFunc(p.Packages, ComparePackages)
}

// PackageSet returns the entry that pins a distribution's packages for a platform,
// or nil.
func (l *Lock) PackageSet(distribution, platform string) *LockedPackages {
	for i := range l.Packages {
		if e := &l.Packages[i]; e.Distribution == distribution && e.Platform == platform {
			return e
		}
	}
	return nil
}

// Source returns the entry of a source by its name, or nil.
func (p *LockedPackages) Source(name string) *LockedPackageSource {
	for i := range p.Sources {
		if p.Sources[i].Name == name {
			return &p.Sources[i]
		}
	}
	return nil
}

// Total is the size of all metadata files of the source, in bytes.
func (s *LockedPackageSource) Total() int64 {
	var total int64
	for _, f := range s.Files {
		total += f.Size
	}
	return total
}

// Covers tells whether the closure was computed for what a component asks for.
func (p *LockedPackages) Covers(want LockedRoots) bool {
	return slices.ContainsFunc(p.Roots, func(r LockedRoots) bool {
		return r.Component == want.Component && slices.Equal(r.Names, want.Names)
	})
}

// Of are the packages in the closure of a component.
func (p *LockedPackages) Of(component string) []LockedPackage {
	var out []LockedPackage
	for _, e := range p.Packages {
		if slices.Contains(e.Components, component) {
			out = append(out, e)
		}
	}
	return out
}

// Only is p without what is not in the closure of any of the components.
func (p *LockedPackages) Only(components []string) *LockedPackages {
	out := *p
	out.Roots, out.Packages = nil, nil
	for _, r := range p.Roots {
		if slices.Contains(components, r.Component) {
			out.Roots = append(out.Roots, r)
		}
	}
	for _, e := range p.Packages {
		var kept []string
		for _, c := range e.Components {
			if slices.Contains(components, c) {
				kept = append(kept, c)
			}
		}
		if e.Components = kept; len(kept) > 0 {
			out.Packages = append(out.Packages, e)
		}
	}
	return &out
}

// join is p with the closures of old for components that p has none for, when both
// rest on the same metadata; p as it is otherwise.
func (p LockedPackages) join(old *LockedPackages) LockedPackages {
	if !slices.EqualFunc(p.Sources, old.Sources, func(a, b LockedPackageSource) bool {
		return a.Name == b.Name && a.URL == b.URL && a.Digest == b.Digest && slices.Equal(a.Files, b.Files)
	}) {
		return p
	}
	var missing []string
	for _, r := range old.Roots {
		if !slices.ContainsFunc(p.Roots, func(have LockedRoots) bool { return have.Component == r.Component }) {
			missing = append(missing, r.Component)
		}
	}
	rest := old.Only(missing)
	p.Roots = slices.Concat(p.Roots, rest.Roots)
	p.Packages = slices.Clone(p.Packages)
	for _, e := range rest.Packages {
		i := slices.IndexFunc(p.Packages, func(have LockedPackage) bool { return ComparePackages(have, e) == 0 })
		if i < 0 {
			p.Packages = append(p.Packages, e)
			continue
		}
		p.Packages[i].Components = slices.Concat(p.Packages[i].Components, e.Components)
	}
	return p
}

// mergePackages is what Merge does with the packages of two locks.
func (l *Lock) mergePackages(over *Lock) []LockedPackages {
	var out []LockedPackages
	for _, p := range l.Packages {
		if over.PackageSet(p.Distribution, p.Platform) == nil {
			out = append(out, p)
		}
	}
	for _, p := range over.Packages {
		if old := l.PackageSet(p.Distribution, p.Platform); old != nil {
			p = p.join(old)
		}
		out = append(out, p)
	}
	return out
}

// validate notes what is wrong with an entry read from a file.
func (p *LockedPackages) validate(doc *document, at string) {
	if !idRE.MatchString(p.Distribution) {
		doc.errorf(at+".distribution", "distribution %q is not a name", p.Distribution)
	}
	validatePlatforms(doc, at+".platform", []string{p.Platform})
	for i, s := range p.Sources {
		at := fmt.Sprintf("%s.sources[%d]", at, i)
		if !idRE.MatchString(s.Name) {
			doc.errorf(at+".name", "source %q is not a name", s.Name)
		}
		checkDigest(doc, at+".digest", s.Digest)
		for j, f := range s.Files {
			checkDigest(doc, fmt.Sprintf("%s.files[%d].digest", at, j), f.Digest)
			checkPath(doc, fmt.Sprintf("%s.files[%d].path", at, j), f.Path)
		}
	}
	for i, e := range p.Packages {
		at := fmt.Sprintf("%s.packages[%d]", at, i)
		if p.Source(e.Source) == nil {
			doc.errorf(at+".source", "package %q is of source %q, which is not among the sources", e.Name, e.Source)
		}
		if e.Size <= 0 {
			doc.errorf(at+".size", "package %q has size %d", e.Name, e.Size)
		}
		checkDigest(doc, at+".digest", e.Digest)
		checkPath(doc, at+".path", e.Path)
	}
}

// CleanPath tells whether p is a relative path that stays below where it starts, in
// its one spelling.
func CleanPath(p string) bool {
	return p != "" && p != "." && path.Clean("/" + p)[1:] == p && !strings.ContainsAny(p, "\\\x00")
}

func checkPath(doc *document, at, p string) {
	if !CleanPath(p) {
		doc.errorf(at, "path %q: want a clean relative path", p)
	}
}
