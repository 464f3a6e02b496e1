package rpm

import (
	"cmp"
	"fmt"
	"slices"
)

// index finds candidates by what they provide.
type index struct {
	names      map[string][]*Package
	provided   map[string][]*Package // capabilities and paths
	obsoleting map[string][]*Package // by the name they obsolete
	byID       map[string][]*Package // "repository\x00id"
	excluded   map[string]*Package   // one of a name that modules keep out
}

func newIndex() *index {
	return &index{names: map[string][]*Package{}, provided: map[string][]*Package{}, obsoleting: map[string][]*Package{},
		byID: map[string][]*Package{}, excluded: map[string]*Package{}}
}

func (x *index) add(p *Package) {
	x.names[p.Name] = append(x.names[p.Name], p)
	for _, d := range p.Provides {
		x.provide(d.Name, p)
	}
	for _, f := range p.Files {
		x.provide(f, p)
	}
	for _, d := range p.Obsoletes {
		x.obsoleting[d.Name] = append(x.obsoleting[d.Name], p)
	}
	key := p.Repository + "\x00" + p.ID
	x.byID[key] = append(x.byID[key], p)
}

func (x *index) exclude(p *Package) { x.excluded[p.Name] = p }

func (x *index) provide(name string, p *Package) {
	if list := x.provided[name]; len(list) == 0 || list[len(list)-1] != p {
		x.provided[name] = append(list, p)
	}
}

// addFile notes a file that filelists found in a package.
func (x *index) addFile(repository, id, path string) {
	for _, p := range x.byID[repository+"\x00"+id] {
		p.Files = append(slices.Clip(p.Files), path)
		x.provide(path, p)
	}
}

// providers are the candidates that provide a dependency.
func (x *index) providers(d Dependency) []*Package {
	var out []*Package
	for _, p := range x.provided[d.Name] {
		if p.provides(d) {
			out = append(out, p)
		}
	}
	return out
}

// meeting are the candidates that meet an expression by themselves: that provide a
// plain one, and for "with" and "without" all of it at once.
func (x *index) meeting(e *Expr) []*Package {
	first := e
	for first.Op != "" {
		if first.Op == OpOr {
			var out []*Package
			for _, a := range first.Args {
				out = append(out, x.meeting(a)...)
			}
			return slices.DeleteFunc(out, func(p *Package) bool { return !p.meets(e) })
		}
		first = first.Args[0]
	}
	return slices.DeleteFunc(slices.Clone(x.providers(first.Dep)), func(p *Package) bool { return !p.meets(e) })
}

// meets tells whether the package alone meets an expression.
func (p *Package) meets(e *Expr) bool {
	switch e.Op {
	case "":
		return p.provides(e.Dep)
	case OpOr:
		return slices.ContainsFunc(e.Args, p.meets)
	case OpWithout:
		return p.meets(e.Args[0]) && !p.meets(e.Args[1])
	case OpIf, OpUnless:
		return p.meets(e.Args[0])
	}
	for _, a := range e.Args {
		if !p.meets(a) {
			return false
		}
	}
	return true
}

func (p *Package) provides(d Dependency) bool {
	if d.File() && slices.Contains(p.Files, d.Name) {
		return true
	}
	return slices.ContainsFunc(p.Provides, d.Overlaps)
}

// obsoletes tells whether p takes the place of q. Obsoletes speak of names, not of
// what is provided.
func (p *Package) obsoletes(q *Package) bool {
	return p.Name != q.Name && slices.ContainsFunc(p.Obsoletes, Dependency{Name: q.Name, Sense: Equal, EVR: q.EVR}.Overlaps)
}

// newest keeps, of packages of one name, those of the newest version: one a
// repository that has it.
func newest(list []*Package) []*Package {
	best := map[string]EVR{}
	for _, p := range list {
		if old, ok := best[p.Name]; !ok || p.EVR.Compare(old) > 0 {
			best[p.Name] = p.EVR
		}
	}
	var out []*Package
	for _, p := range list {
		if p.EVR.Compare(best[p.Name]) == 0 && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b *Package) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// broken are the chosen packages that cannot be installed, with the reason: those
// with a requirement that no chosen package which can be installed meets.
func (r *resolver) broken() map[*Package]string {
	broken := map[*Package]string{}
	for again := true; again; {
		again = false
		for _, p := range r.order {
			if broken[p] != "" {
				continue
			}
			for _, e := range r.requires[p] {
				if !r.possible(p, e, broken) {
					broken[p] = fmt.Sprintf("%s requires %s, which nothing that can be installed provides", p, e)
					again = true
					break
				}
			}
		}
	}
	return broken
}

// possible tells whether a requirement can be met. A condition can be false, since
// nobody need install what it speaks of.
func (r *resolver) possible(p *Package, e *Expr, broken map[*Package]string) bool {
	can := func(a *Expr) bool { return r.possible(p, a, broken) }
	switch e.Op {
	case OpAnd:
		return !slices.ContainsFunc(e.Args, func(a *Expr) bool { return !can(a) })
	case OpOr:
		return slices.ContainsFunc(e.Args, can)
	case OpIf:
		return can(e.Args[0]) || len(e.Args) < 3 || can(e.Args[2])
	case OpUnless:
		return can(e.Args[0]) || (len(e.Args) == 3 && can(e.Args[2]))
	}
	if p.meets(e) {
		return true
	}
	return slices.ContainsFunc(r.index.meeting(e), func(q *Package) bool { return r.chosen[q] && broken[q] == "" })
}

// explain is the chain of reasons why a package cannot be installed.
func (r *resolver) explain(p *Package, broken map[*Package]string) string {
	text := broken[p]
	seen := map[*Package]bool{p: true}
	for {
		next := r.cause(p, broken, seen)
		if next == nil {
			return text
		}
		p, seen[next] = next, true
		text += ": " + broken[p]
	}
}

// cause is a broken package that another would need.
func (r *resolver) cause(p *Package, broken map[*Package]string, seen map[*Package]bool) *Package {
	for _, e := range r.requires[p] {
		if r.possible(p, e, broken) {
			continue
		}
		for _, q := range r.index.meeting(e) {
			if broken[q] != "" && !seen[q] {
				return q
			}
		}
	}
	return nil
}
