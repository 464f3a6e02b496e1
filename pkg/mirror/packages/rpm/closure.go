package rpm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Repository is one repository to choose packages from.
type Repository struct {
	Name string
	// Packages are all of it, as ReadPrimary gave them.
	Packages []*Package
	// FindFiles looks paths up in filelists, for requirements on files that
	// primary.xml does not list, and calls found with the ID of each package that
	// has one. Nil where the repository has no filelists.
	FindFiles func(ctx context.Context, wanted map[string]bool, found func(id, path string)) error
}

// Universe is everything that packages of one architecture can be chosen from. It
// is not safe for concurrent use.
type Universe struct {
	repositories []*Repository
	index        *index
	notes        []string
	// sought are the paths that filelists were asked for.
	sought map[string]bool
}

// NewUniverse is the universe of an architecture, by rpm's name of it ("x86_64",
// "aarch64"): the packages of it and of noarch in the repositories, without those
// of a second architecture and without those that modules keep out.
func NewUniverse(arch string, repositories []*Repository, modules *Modules) *Universe {
	choice := modules.choose(arch)
	u := &Universe{repositories: repositories, index: newIndex(), notes: choice.notes, sought: map[string]bool{}}
	for _, repo := range repositories {
		for _, p := range repo.Packages {
			p.Repository = repo.Name
			if p.Arch != arch && p.Arch != "noarch" {
				continue
			}
			if choice.admits(p) {
				u.index.add(p)
			} else {
				u.index.exclude(p)
			}
		}
	}
	return u
}

// Notes say what was decided for the whole universe: the module streams taken.
func (u *Universe) Notes() []string { return u.notes }

// Closure is what must be carried so that the packages can be installed on a host
// whatever it has.
type Closure struct {
	// Packages, sorted by repository, name and version.
	Packages []*Package
	// Notes say what was decided on the way: module streams, branches that no
	// source provides, packages that conflict.
	Notes []string
}

// UnresolvedError says that packages cannot be installed from the sources.
type UnresolvedError struct {
	Problems []Problem
}

// Problem is one reason.
type Problem struct {
	// Name asked for, and what stands in the way.
	Name, Reason string
}

func (e *UnresolvedError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%q: %s", p.Name, p.Reason)
	}
	return "resolving packages: " + strings.Join(lines, "; ")
}

// Resolve finds the closure of names from an empty system: every package that
// meets a requirement of one in it, in its newest version that does, with every
// branch of rich dependencies and every alternative provider. A name is that of a
// package, perhaps "name=version", or a capability that packages provide. Weak
// dependencies are not followed. What cannot be had is a *UnresolvedError that
// lists all of it; an alternative that cannot be had is left out where another
// remains.
func (u *Universe) Resolve(ctx context.Context, names []string) (*Closure, error) {
	r := &resolver{Universe: u, chosen: map[*Package]bool{}, requires: map[*Package][]*Expr{}, unseenFiles: map[string]bool{}}
	var roots []root
	var problems []Problem
	for _, name := range names {
		found := u.roots(name)
		if len(found) == 0 {
			problems = append(problems, Problem{name, u.absent(name)})
			continue
		}
		roots = append(roots, root{name, found})
		for _, p := range found {
			r.add(p)
		}
	}
	if err := r.follow(ctx); err != nil {
		return nil, err
	}
	broken := r.broken()
	for _, root := range roots {
		if !slices.ContainsFunc(root.packages, func(p *Package) bool { return broken[p] == "" }) {
			problems = append(problems, Problem{root.name, r.explain(root.packages[0], broken)})
		}
	}
	if len(problems) > 0 {
		return nil, &UnresolvedError{Problems: problems}
	}
	return r.closure(broken), nil
}

// root is a name asked for with the packages that answer it.
type root struct {
	name     string
	packages []*Package
}

// resolver is the state of one Resolve.
type resolver struct {
	*Universe
	chosen   map[*Package]bool
	order    []*Package // chosen, in the order they came
	queue    []*Package
	requires map[*Package][]*Expr
	notes    []string
	// unseenFiles are paths required that no package known so far has, waiting the
	// packages that require them.
	unseenFiles map[string]bool
	waiting     []*Package
}

// roots are the packages that a name asked for means: those of the name, else
// those that provide it.
func (u *Universe) roots(asked string) []*Package {
	name, version, pinned := strings.Cut(asked, "=")
	d := Dependency{Name: name}
	if pinned {
		d.Sense, d.EVR = Equal, ParseEVR(version)
	}
	var named []*Package
	for _, p := range u.index.names[name] {
		if !pinned || d.Overlaps(Dependency{Name: name, Sense: Equal, EVR: p.EVR}) {
			named = append(named, p)
		}
	}
	if len(named) == 0 {
		named = u.index.providers(d)
	}
	return newest(named)
}

// absent says why a name has no candidate.
func (u *Universe) absent(asked string) string {
	name, _, _ := strings.Cut(asked, "=")
	if have := u.index.names[name]; len(have) > 0 {
		return "no source has that version, the newest is " + newest(have)[0].EVR.String()
	}
	if p := u.index.excluded[name]; p != nil && p.Module != "" {
		return fmt.Sprintf("it is in module stream %s only, which is not the default", p.Module)
	}
	return "no source has a package that is named so or provides it"
}

func (r *resolver) add(p *Package) {
	if !r.chosen[p] {
		r.chosen[p] = true
		r.order = append(r.order, p)
		r.queue = append(r.queue, p)
	}
}

// follow adds what the chosen packages require until nothing is added.
func (r *resolver) follow(ctx context.Context) error {
	for len(r.queue) > 0 || len(r.unseenFiles) > 0 {
		for len(r.queue) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := r.queue[0]
			r.queue = r.queue[1:]
			if err := r.visit(p); err != nil {
				return err
			}
		}
		if err := r.seekFiles(ctx); err != nil {
			return err
		}
	}
	return nil
}

// visit adds what one package requires, and what obsoletes it.
func (r *resolver) visit(p *Package) error {
	exprs, ok := r.requires[p]
	if !ok {
		for _, d := range p.Requires {
			if d.ofRPM() {
				continue
			}
			e := &Expr{Dep: d}
			if d.Rich() {
				var err error
				if e, err = ParseRich(d.Name); err != nil {
					return fmt.Errorf("resolving what %s requires: %w", p, err)
				}
			}
			exprs = append(exprs, e)
		}
		r.requires[p] = exprs
	}
	for _, e := range exprs {
		r.want(p, e, false)
	}
	for _, q := range r.index.obsoleting[p.Name] {
		if q.obsoletes(p) {
			r.add(q)
		}
	}
	return nil
}

// want adds the packages of every branch of a requirement. The condition of an
// "if" or "unless" is not wanted by itself.
func (r *resolver) want(p *Package, e *Expr, optional bool) {
	switch e.Op {
	case "", OpWith, OpWithout:
		r.wantOne(p, e, optional)
	case OpIf, OpUnless:
		r.want(p, e.Args[0], true)
		for _, other := range e.Args[min(2, len(e.Args)):] {
			r.want(p, other, true)
		}
	default:
		for _, a := range e.Args {
			r.want(p, a, optional || e.Op == OpOr)
		}
	}
}

// wantOne adds the packages that meet an expression by themselves, each in its
// newest version that does.
func (r *resolver) wantOne(p *Package, e *Expr, optional bool) {
	r.noteFiles(p, e)
	if e.Op == "" && p.provides(e.Dep) {
		return // it meets its own requirement
	}
	found := newest(r.index.meeting(e))
	for _, q := range found {
		r.add(q)
	}
	if len(found) == 0 && optional && !r.pendingFile(e) {
		r.notes = append(r.notes, fmt.Sprintf("%s has a branch that no source provides: %s", p, e))
	}
}

// noteFiles notes the paths of an expression that nothing seen so far has.
func (r *resolver) noteFiles(p *Package, e *Expr) {
	for _, a := range e.Args {
		r.noteFiles(p, a)
	}
	if e.Op == "" && e.Dep.File() && !r.sought[e.Dep.Name] && len(r.index.providers(e.Dep)) == 0 {
		r.unseenFiles[e.Dep.Name] = true
		r.waiting = append(r.waiting, p)
	}
}

// pendingFile tells an expression over a path that filelists were not asked for yet.
func (r *resolver) pendingFile(e *Expr) bool {
	return r.unseenFiles[e.Dep.Name] || slices.ContainsFunc(e.Args, r.pendingFile)
}

// seekFiles looks the unseen files up in all filelists, and has the packages that
// wait for them looked at again.
func (r *resolver) seekFiles(ctx context.Context) error {
	if len(r.unseenFiles) == 0 {
		return nil
	}
	wanted := r.unseenFiles
	r.unseenFiles = map[string]bool{}
	for path := range wanted {
		r.sought[path] = true
	}
	for _, repo := range r.repositories {
		if repo.FindFiles == nil {
			continue
		}
		err := repo.FindFiles(ctx, wanted, func(id, path string) { r.index.addFile(repo.Name, id, path) })
		if err != nil {
			return fmt.Errorf("looking for files in repository %q: %w", repo.Name, err)
		}
	}
	r.queue = append(r.queue, r.waiting...)
	r.waiting = nil
	return nil
}

// closure is the result, without broken alternatives.
func (r *resolver) closure(broken map[*Package]string) *Closure {
	c := &Closure{}
	for _, p := range r.order {
		if broken[p] == "" {
			c.Packages = append(c.Packages, p)
		} else {
			r.notes = append(r.notes, fmt.Sprintf("alternative %s is left out: %s", p, broken[p]))
		}
	}
	slices.SortFunc(c.Packages, func(a, b *Package) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Name, b.Name), a.EVR.Compare(b.EVR), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.Location, b.Location))
	})
	r.noteConflicts(c.Packages)
	slices.Sort(r.notes)
	c.Notes = slices.Compact(r.notes)
	return c
}

// noteConflicts says which packages of the closure cannot be installed together;
// alternatives often cannot.
func (r *resolver) noteConflicts(packages []*Package) {
	for _, p := range packages {
		for _, d := range p.Conflicts {
			e := &Expr{Dep: d}
			if d.Rich() {
				var err error
				if e, err = ParseRich(d.Name); err != nil {
					continue // dnf reads it, no choice here depends on it
				}
				e = e.Args[0]
			}
			for _, q := range packages {
				if q != p && q.Name != p.Name && q.meets(e) {
					r.notes = append(r.notes, fmt.Sprintf("%s conflicts with %s, both are carried", p, q))
				}
			}
		}
	}
}
