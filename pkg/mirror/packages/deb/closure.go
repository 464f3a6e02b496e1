package deb

import (
	"slices"
	"strings"

	"naru/manifest"
	"naru/pkg/mirror/packages"
)

// node is a package that was reached.
type node struct {
	pkg *Package
	// groups are the packages that meet each group of its dependencies.
	groups [][]*node
	// siblings are packages of the same source that a host most often has: apt upgrades
	// them along with this one.
	siblings []*node
	// broken says that a group has none that can be installed.
	broken bool
	// users are the nodes that reach this one.
	users []*node
}

// graph is everything that was reached from the packages asked for.
type graph struct {
	u     *universe
	nodes map[*Package]*node
	queue []*node
}

// closure resolves the packages that components ask for. The result has, for every
// package, the components whose closure it is in.
func closure(u *universe, roots []manifest.LockedRoots) (map[*Package][]string, []packages.Unmet) {
	g := &graph{u: u, nodes: map[*Package]*node{}}
	base := make([]*node, len(u.essential))
	for i, p := range u.essential {
		base[i] = g.node(p)
	}
	var unmet []packages.Unmet
	starts := make([][][]*node, len(roots))
	for i, root := range roots {
		for _, name := range root.Names {
			targets := g.root(name)
			if len(targets) == 0 {
				unmet = append(unmet, packages.Unmet{Want: name, By: "component " + root.Component})
			}
			starts[i] = append(starts[i], targets)
		}
	}
	g.expand()
	g.breakUnmet()
	out := map[*Package][]string{}
	for i, root := range roots {
		marked := map[*node]bool{}
		for _, targets := range starts[i] {
			if len(targets) > 0 && !slices.ContainsFunc(targets, func(n *node) bool { return !n.broken }) {
				unmet = append(unmet, g.why(targets)...)
			}
			mark(targets, marked)
		}
		mark(base, marked)
		for n := range marked {
			out[n.pkg] = append(out[n.pkg], root.Component)
		}
	}
	return out, sortedUnmet(unmet)
}

// root are the packages that a name asked for stands for: itself, or what provides it.
func (g *graph) root(name string) []*node {
	name, version, pinned := strings.Cut(name, "=")
	if pinned {
		if p := g.u.exact(name, version); p != nil {
			return []*node{g.node(p)}
		}
		return nil
	}
	var out []*node
	for _, p := range g.u.targets(Relation{Name: name}) {
		out = append(out, g.node(p))
	}
	return out
}

// node is the node of a package, queued when it is new.
func (g *graph) node(p *Package) *node {
	n := g.nodes[p]
	if n == nil {
		n = &node{pkg: p}
		g.nodes[p] = n
		g.queue = append(g.queue, n)
	}
	return n
}

// expand follows the dependencies of all that was reached.
func (g *graph) expand() {
	for len(g.queue) > 0 {
		n := g.queue[0]
		g.queue = g.queue[1:]
		for _, group := range n.pkg.Depends {
			var targets []*node
			for _, r := range group {
				for _, p := range g.u.targets(r) {
					t := g.node(p)
					t.users = append(t.users, n)
					targets = append(targets, t)
				}
			}
			n.groups = append(n.groups, targets)
		}
		for _, p := range g.u.siblings[n.pkg.From] {
			n.siblings = append(n.siblings, g.node(p))
		}
	}
}

// breakUnmet marks what cannot be installed, and whatever needs nothing but that.
func (g *graph) breakUnmet() {
	var queue []*node
	for _, n := range g.nodes {
		queue = append(queue, n)
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if n.broken || !slices.ContainsFunc(n.groups, unmetGroup) {
			continue
		}
		n.broken = true
		queue = append(queue, n.users...)
	}
}

func unmetGroup(targets []*node) bool {
	return !slices.ContainsFunc(targets, func(t *node) bool { return !t.broken })
}

// mark marks all that can be reached and installed.
func mark(from []*node, marked map[*node]bool) {
	queue := slices.Clone(from)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if n.broken || marked[n] {
			continue
		}
		marked[n] = true
		for _, targets := range n.groups {
			queue = append(queue, targets...)
		}
		queue = append(queue, n.siblings...)
	}
}

// why are the relations that nothing meets, which break the nodes given.
func (g *graph) why(from []*node) []packages.Unmet {
	var out []packages.Unmet
	seen := map[*node]bool{}
	queue := slices.Clone(from)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if !n.broken || seen[n] {
			continue
		}
		seen[n] = true
		for i, targets := range n.groups {
			if len(targets) == 0 {
				out = append(out, packages.Unmet{Want: n.pkg.Depends[i].String(), By: n.pkg.Name + " " + n.pkg.Version})
			} else if unmetGroup(targets) {
				queue = append(queue, targets...)
			}
		}
	}
	return out
}

func sortedUnmet(list []packages.Unmet) []packages.Unmet {
	slices.SortFunc(list, func(a, b packages.Unmet) int { return strings.Compare(a.Want+"\x00"+a.By, b.Want+"\x00"+b.By) })
	return slices.Compact(list)
}
