package deb

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"naru/manifest"
	"naru/pkg/mirror/packages"
)

func roots(names ...string) []manifest.LockedRoots {
	return []manifest.LockedRoots{{Component: "c", Names: names}}
}

// universeOf has one source an index.
func universeOf(t testing.TB, indexes ...string) *universe {
	t.Helper()
	automatic := make([]bool, len(indexes))
	u := newUniverse("amd64", automatic)
	for i, text := range indexes {
		list, err := readIndex(text)
		if err != nil {
			t.Fatal(err)
		}
		automatic[i] = true
		for _, p := range list {
			p.source = i
			u.add(p)
		}
	}
	u.finish()
	return u
}

// names are those of a closure with their versions, sorted.
func names(closure map[*Package][]string) []string {
	var out []string
	for p := range closure {
		out = append(out, p.Name+"="+p.Version)
	}
	slices.Sort(out)
	return out
}

func TestClosure(t *testing.T) {
	for name, c := range map[string]struct {
		indexes []string
		ask     []string
		want    string
	}{
		"dependencies of both kinds, no recommends": {
			[]string{entry("a", "1", "Depends: b", "Pre-Depends: c", "Recommends: d") + entry("b", "1", "Depends: a") + entry("c", "1") + entry("d", "1")},
			[]string{"a"}, "a=1 b=1 c=1"},
		"every branch": {
			[]string{entry("a", "1", "Depends: b | c | missing") + entry("b", "1") + entry("c", "1", "Depends: d") + entry("d", "1")},
			[]string{"a"}, "a=1 b=1 c=1 d=1"},
		"every provider, and the package of the name": {
			[]string{entry("a", "1", "Depends: v") + entry("v", "1") + entry("p", "1", "Provides: v") + entry("q", "1", "Provides: v (= 3)")},
			[]string{"a"}, "a=1 p=1 q=1 v=1"},
		"a versioned relation needs a versioned provision": {
			[]string{entry("a", "1", "Depends: v (>= 2)") + entry("p", "1", "Provides: v") + entry("q", "1", "Provides: v (= 3)") + entry("r", "9", "Provides: v (= 1)")},
			[]string{"a"}, "a=1 q=1"},
		"the newest of all sources": {
			[]string{entry("a", "1", "Depends: b") + entry("b", "1"), entry("b", "1+sec1")},
			[]string{"a"}, "a=1 b=1+sec1"},
		"an older one where the newest does not do": {
			[]string{entry("a", "1", "Depends: b (= 1)") + entry("b", "1"), entry("b", "2")},
			[]string{"a"}, "a=1 b=1"},
		"pinned": {
			[]string{entry("a", "1", "Depends: l (= 1)") + entry("l", "1"), entry("a", "2", "Depends: l (= 2)") + entry("l", "2")},
			[]string{"a=1"}, "a=1 l=1"},
		"essential packages": {
			[]string{entry("a", "1") + entry("base", "1", "Essential: yes", "Depends: l") + entry("l", "1")},
			[]string{"a"}, "a=1 base=1 l=1"},
		"any needs a package that allows it": {
			[]string{entry("a", "1", "Depends: p:any | q:any | r:amd64 | s:i386") + entry("p", "1", "Multi-Arch: allowed") + entry("q", "1") + entry("r", "1") + entry("s", "1")},
			[]string{"a"}, "a=1 p=1 r=1"},
		"a branch that cannot be installed is left out": {
			[]string{entry("a", "1", "Depends: b | c") + entry("b", "1", "Depends: x") + entry("x", "1", "Depends: missing") + entry("c", "1")},
			[]string{"a"}, "a=1 c=1"},
		"a circle that cannot be installed": {
			[]string{entry("a", "1", "Depends: b | c") + entry("b", "1", "Depends: d, missing") + entry("d", "1", "Depends: b") + entry("c", "1")},
			[]string{"a"}, "a=1 c=1"},
		"what a host has of the same source": {
			[]string{entry("a", "1", "Depends: liba") + entry("liba", "1", "Source: s") + entry("toola", "1", "Source: s (0.9)", "Priority: required", "Depends: b") +
				entry("devel", "1", "Source: s", "Priority: optional") + entry("b", "1") + entry("broken", "1", "Source: s", "Priority: important", "Depends: missing")},
			[]string{"a"}, "a=1 b=1 liba=1 toola=1"},
		"a virtual package asked for": {
			[]string{entry("p", "1", "Provides: v")}, []string{"v"}, "p=1"},
	} {
		got, unmet := closure(universeOf(t, c.indexes...), roots(c.ask...))
		if text := strings.Join(names(got), " "); text != c.want || len(unmet) > 0 {
			t.Errorf("%s: %s, unmet %v, want %s", name, text, unmet, c.want)
		}
	}
}

func TestUnmet(t *testing.T) {
	u := universeOf(t, entry("a", "1", "Depends: b | c")+entry("b", "1", "Depends: x (>= 2)")+entry("x", "1")+entry("c", "2", "Pre-Depends: y"))
	_, unmet := closure(u, roots("a", "nothing", "x=7"))
	want := []packages.Unmet{{Want: "nothing", By: "component c"}, {Want: "x (>= 2)", By: "b 1"}, {Want: "x=7", By: "component c"}, {Want: "y", By: "c 2"}}
	if diff := cmp.Diff(want, unmet); diff != "" {
		t.Error(diff)
	}
}

// TestNotAutomatic holds that a suite such as backports counts only for what is asked
// for by version.
func TestNotAutomatic(t *testing.T) {
	u := universeOf(t, entry("a", "1", "Depends: b")+entry("b", "1"), entry("a", "2", "Depends: b")+entry("b", "2"))
	u.automatic[1] = false
	if got, _ := closure(u, roots("a")); strings.Join(names(got), " ") != "a=1 b=1" {
		t.Errorf("got %v", names(got))
	}
	if got, _ := closure(u, roots("a=2")); strings.Join(names(got), " ") != "a=2 b=1" {
		t.Errorf("pinned: got %v", names(got))
	}
}

// TestClosureByComponent holds that each component has its own closure, the base in
// every one.
func TestClosureByComponent(t *testing.T) {
	u := universeOf(t, entry("a", "1", "Depends: l")+entry("b", "1", "Depends: l")+entry("l", "1")+entry("base", "1", "Essential: yes"))
	got, _ := closure(u, []manifest.LockedRoots{{Component: "one", Names: []string{"a"}}, {Component: "two", Names: []string{"b"}}})
	want := map[string]string{"a": "one", "b": "two", "l": "one two", "base": "one two"}
	for p, components := range got {
		if text := strings.Join(components, " "); text != want[p.Name] {
			t.Errorf("%s is for %q, want %q", p.Name, text, want[p.Name])
		}
	}
}
