package deb

import (
	"cmp"
	"slices"
)

// universe are the packages of all sources for one architecture. It is filled, then
// only read.
type universe struct {
	arch   string
	byName map[string][]*Package
	// providers are the packages that provide a name.
	providers map[string][]*Package
	essential []*Package
	// siblings are the candidates that hosts most often have, by their source package.
	siblings map[string][]*Package
	// automatic tells, by source, whether its packages are candidates.
	automatic []bool
}

func newUniverse(arch string, automatic []bool) *universe {
	return &universe{arch: arch, byName: map[string][]*Package{}, providers: map[string][]*Package{}, siblings: map[string][]*Package{}, automatic: automatic}
}

func (u *universe) add(p *Package) {
	u.byName[p.Name] = append(u.byName[p.Name], p)
	for _, r := range p.Provides {
		u.providers[r.Name] = append(u.providers[r.Name], p)
	}
}

// finish orders each name's packages, the newest first; of one version those of the
// earlier source.
func (u *universe) finish() {
	for _, list := range u.byName {
		slices.SortStableFunc(list, func(a, b *Package) int {
			return cmp.Or(CompareVersions(b.Version, a.Version), cmp.Compare(a.source, b.source))
		})
	}
	for name := range u.byName {
		c := u.candidate(name)
		if c != nil && c.Essential {
			u.essential = append(u.essential, c)
		}
		if c != nil && c.Standard {
			u.siblings[c.From] = append(u.siblings[c.From], c)
		}
	}
	slices.SortFunc(u.essential, func(a, b *Package) int { return cmp.Compare(a.Name, b.Name) })
}

// candidate is what apt would install of a name, or nil.
func (u *universe) candidate(name string) *Package {
	for _, p := range u.byName[name] {
		if u.automatic[p.source] {
			return p
		}
	}
	return nil
}

// twins are the packages of other sources that are the same file as p, p among them:
// apt takes whichever it comes to first.
func (u *universe) twins(p *Package) []*Package {
	var out []*Package
	for _, o := range u.byName[p.Name] {
		if o.SHA256 == p.SHA256 && o.Version == p.Version {
			out = append(out, o)
		}
	}
	return out
}

// targets are all packages that meet a relation, as far as apt may choose them: of
// each name one.
func (u *universe) targets(r Relation) []*Package {
	var out []*Package
	if p := u.best(r.Name, func(p *Package) bool { return u.named(p, r) }); p != nil {
		out = append(out, p)
	}
	seen := map[string]bool{r.Name: true}
	for _, provider := range u.providers[r.Name] {
		if seen[provider.Name] {
			continue
		}
		seen[provider.Name] = true
		if p := u.best(provider.Name, func(p *Package) bool { return u.provides(p, r) }); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// best is the candidate of a name where it fits, else the highest version that does.
func (u *universe) best(name string, fits func(*Package) bool) *Package {
	if c := u.candidate(name); c != nil && fits(c) {
		return c
	}
	for _, p := range u.byName[name] {
		if fits(p) && u.automatic[p.source] {
			return p
		}
	}
	return nil
}

// exact is the package of a name and version, from any source, or nil.
func (u *universe) exact(name, version string) *Package {
	for _, p := range u.byName[name] {
		if CompareVersions(p.Version, version) == 0 {
			return p
		}
	}
	return nil
}

// named tells whether a package meets a relation by its own name.
func (u *universe) named(p *Package, r Relation) bool {
	return u.archFits(p, r.Arch) && r.Allows(p.Version)
}

// provides tells whether a package meets a relation by what it provides. A versioned
// relation needs a versioned provision.
func (u *universe) provides(p *Package, r Relation) bool {
	if !u.archFits(p, r.Arch) {
		return false
	}
	return slices.ContainsFunc(p.Provides, func(have Relation) bool {
		return have.Name == r.Name && (have.Arch == "" || have.Arch == u.arch || have.Arch == "any") &&
			(r.Op == "" || have.Op == "=" && r.Allows(have.Version))
	})
}

func (u *universe) archFits(p *Package, qualifier string) bool {
	switch qualifier {
	case "", "native":
		return true
	case "any":
		return p.MultiArch == "allowed"
	}
	return qualifier == u.arch // packages of "all" count as of the native architecture
}
