package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// packageSet pins a and b for component one, b and c for two.
func packageSet(snapshot string, components ...string) manifest.LockedPackages {
	d := digest.FromString(snapshot)
	file := manifest.LockedMetadata{Path: "dists/s/InRelease", Digest: d, Size: 1}
	p := manifest.LockedPackages{Distribution: "debian-12", Platform: "linux/amd64", PinnedBy: manifest.PinnedBySite,
		Sources: []manifest.LockedPackageSource{{Name: "main", URL: "https://h/d", Suite: "s", Sections: []string{"main"}, Digest: d, Size: 1, Files: []manifest.LockedMetadata{file}}}}
	all := map[string][]string{"one": {"a", "b"}, "two": {"b", "c"}}
	in := map[string][]string{}
	for _, c := range components {
		p.Roots = append(p.Roots, manifest.LockedRoots{Component: c, Names: all[c]})
		for _, name := range all[c] {
			in[name] = append(in[name], c)
		}
	}
	for _, name := range []string{"c", "b", "a"} {
		if len(in[name]) > 0 {
			p.Packages = append(p.Packages, manifest.LockedPackage{Name: name, Version: "1", Arch: "amd64", Source: "main", Path: "pool/" + name + ".deb",
				Digest: digest.FromString(name), Size: 1, Components: in[name]})
		}
	}
	return p
}

func lockOf(sets ...manifest.LockedPackages) *manifest.Lock {
	l := manifest.NewLock("r")
	l.Packages = sets
	return l
}

func encoded(t *testing.T, l *manifest.Lock) string {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLockedPackages(t *testing.T) {
	whole := encoded(t, lockOf(packageSet("x", "one", "two")))
	back, err := manifest.DecodeLock("lock.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, encoded(t, back)); diff != "" {
		t.Errorf("read and written again:\n%s", diff)
	}
	// What two runs pinned over the same metadata is what one would have.
	for _, pair := range [][2]string{{"one", "two"}, {"two", "one"}} {
		merged := lockOf(packageSet("x", pair[0])).Merge(lockOf(packageSet("x", pair[1])))
		if diff := cmp.Diff(whole, encoded(t, merged)); diff != "" {
			t.Errorf("%s, then %s:\n%s", pair[0], pair[1], diff)
		}
	}
	// Over other metadata the later one counts alone.
	if diff := cmp.Diff(encoded(t, lockOf(packageSet("y", "two"))), encoded(t, lockOf(packageSet("x", "one")).Merge(lockOf(packageSet("y", "two"))))); diff != "" {
		t.Errorf("another snapshot:\n%s", diff)
	}
	set := back.PackageSet("debian-12", "linux/amd64")
	if !set.Covers(manifest.LockedRoots{Component: "one", Names: []string{"a", "b"}}) || set.Covers(manifest.LockedRoots{Component: "one", Names: []string{"a"}}) {
		t.Error("what the closure was computed for is not what it covers")
	}
	only := set.Only([]string{"one"})
	if len(only.Packages) != 2 || len(only.Roots) != 1 || len(set.Of("two")) != 2 {
		t.Errorf("for one component: %+v", only)
	}
}

func TestMalformedLockedPackages(t *testing.T) {
	good := encoded(t, lockOf(packageSet("x", "one")))
	for name, pair := range map[string][2]string{
		"path above":     {"path: pool/a.deb", "path: ../a.deb"},
		"absolute path":  {"path: dists/s/InRelease", "path: /InRelease"},
		"no such source": {"source: main", "source: other"},
		"no size":        {"size: 1\n        components", "size: 0\n        components"},
		"digest":         {"digest: sha256:", "digest: md5:"},
		"platform":       {"linux/amd64", "amd64"},
	} {
		bad := strings.Replace(good, pair[0], pair[1], 1)
		if bad == good {
			t.Fatalf("%s: %q is not in\n%s", name, pair[0], good)
		}
		if _, err := manifest.DecodeLock("lock.yaml", []byte(bad)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
