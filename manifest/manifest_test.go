package manifest_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// places returns file:line of every SourceError in err.
func places(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		var src *manifest.SourceError
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		} else if errors.As(err, &src) {
			out = append(out, strings.SplitN(src.Error(), ": ", 2)[0])
		}
	}
	walk(err)
	return out
}

func TestEveryEmbeddedReleaseLoads(t *testing.T) {
	fsys := manifest.EmbeddedReleases()
	names, err := manifest.ReleaseNames(fsys)
	if err != nil || len(names) == 0 {
		t.Fatalf("releases %v: %v", names, err)
	}
	for _, name := range names {
		set, err := manifest.LoadRelease(fsys, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range set.Profiles {
			if _, err := manifest.Select(set, nil, manifest.SelectOptions{Profile: p.Name}); err != nil {
				t.Errorf("%s, profile %s: %v", name, p.Name, err)
			}
		}
	}
}

func TestMistakesAreReportedAtOnceWithTheirPlaces(t *testing.T) {
	const doc = `apiVersion: naru/v1
kind: Component
id: x
version: "1"
licence: MIT
images:
  - ref: debian:12
  - ref: docker.io/library/debian:12
    platform: linux/amd64
files:
  - name: tool
    sources:
      - url: http://example.org/tool
        sha256: abc
      - url: https://example.org/tool
        mode: "9"
`
	_, err := manifest.DecodeComponent("components/x.yaml", []byte(doc))
	want := []string{"components/x.yaml:5:1", "components/x.yaml:9:5"}
	if diff := cmp.Diff(want, places(err)); diff != "" {
		t.Errorf("unknown fields (-want +got):\n%s", diff)
	}
	fixed := strings.NewReplacer("licence:", "license:", "platform: linux/amd64", "note: x").Replace(doc)
	_, err = manifest.DecodeComponent("components/x.yaml", []byte(fixed))
	want = []string{"components/x.yaml:7:10", "components/x.yaml:13:14", "components/x.yaml:14:17", "components/x.yaml:15:9", "components/x.yaml:16:15"}
	got := places(err)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s\n%v", diff, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"empty":          "",
		"not a mapping":  "- a\n",
		"two documents":  "apiVersion: naru/v1\nkind: Component\nid: x\nversion: '1'\n---\na: b\n",
		"other kind":     "apiVersion: naru/v1\nkind: Release\nid: x\nversion: '1'\n",
		"repeated field": "apiVersion: naru/v1\nkind: Component\nid: x\nid: y\nversion: '1'\n",
		"alias":          "apiVersion: naru/v1\nkind: Component\nid: &a x\nversion: *a\n",
		"list for value": "apiVersion: naru/v1\nkind: Component\nid: [x]\nversion: '1'\n",
		"value for list": "apiVersion: naru/v1\nkind: Component\nid: x\nversion: '1'\nimages: none\n",
		"bad yaml":       "a: [",
		"other file":     "apiVersion: naru/v1\nkind: Component\nid: y\nversion: '1'\n",
	} {
		if c, err := manifest.DecodeComponent("components/x.yaml", []byte(doc)); err == nil {
			t.Errorf("%s: decoded as %+v", name, c)
		}
	}
	_, err := manifest.DecodeComponent("x.yaml", []byte("apiVersion: naru/v2\nkind: Component\nsomething: new\n"))
	var version *manifest.VersionError
	if !errors.As(err, &version) || version.APIVersion != "naru/v2" {
		t.Errorf("newer version: %v", err)
	}
}

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestLockEncodingIsCanonical(t *testing.T) {
	a := manifest.LockedImage{Ref: "a.io/a:1", Digest: digestA, Source: "a.io/a:1", PinnedBy: manifest.PinnedByBuild,
		Platforms: []manifest.LockedPlatform{{Platform: "linux/arm64", Digest: digestA}, {Platform: "linux/amd64", Digest: digestA}}}
	b := manifest.LockedImage{Ref: "b.io/b:1", Digest: digestA, Source: "b.io/b:1", PinnedBy: manifest.PinnedBySite}
	f := manifest.LockedFile{Component: "c", Name: "f", Version: "1", URL: "https://x.io/f", Digest: digestA, Source: "x", PinnedBy: manifest.PinnedBySite}
	one, two := manifest.NewLock("r"), manifest.NewLock("r")
	one.Images, two.Images = []manifest.LockedImage{a, b}, []manifest.LockedImage{b, a}
	one.Files, two.Files = []manifest.LockedFile{f}, []manifest.LockedFile{f}
	first, err := one.Encode()
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("order shows:\n%s", diff)
	}
	decoded, err := manifest.DecodeLock("lock.yaml", first)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, decoded); diff != "" {
		t.Errorf("round trip:\n%s", diff)
	}
	twice := *decoded
	twice.Images = append(twice.Images, a)
	data, err := twice.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.DecodeLock("lock.yaml", data); err == nil {
		t.Error("an image locked twice was taken")
	}
}

func TestLockMergeReplaces(t *testing.T) {
	base, over := manifest.NewLock("r"), manifest.NewLock("r")
	other := digest.FromString("other")
	base.Images = []manifest.LockedImage{{Ref: "a.io/a:1", Digest: digestA}, {Ref: "b.io/b:1", Digest: digestA}}
	over.Images = []manifest.LockedImage{{Ref: "a.io/a:1", Digest: other}}
	merged := base.Merge(over)
	if got := merged.Image("a.io/a:1").Digest; got != other {
		t.Errorf("a is %s", got)
	}
	if merged.Image("b.io/b:1") == nil {
		t.Error("b is gone")
	}
	if base.Image("a.io/a:1").Digest != digestA {
		t.Error("merging changed its receiver")
	}
}

// release builds a file system with one release of components given as id -> requires.
func release(t *testing.T, order []string, requires map[string][]string) *manifest.ReleaseSet {
	t.Helper()
	fsys := fstest.MapFS{}
	list := strings.Join(order, ", ")
	fsys["r/release.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: naru/v1\nkind: Release\nname: r\nplatforms: [linux/amd64]\ncomponents: [" + list +
		"]\nprofiles:\n  - {name: first, components: [" + order[0] + "]}\ndefaultProfile: first\n")}
	for _, id := range order {
		doc := "apiVersion: naru/v1\nkind: Component\nid: " + id + "\nversion: '1'\nrequires: [" + strings.Join(requires[id], ", ") + "]\n"
		fsys["r/components/"+id+".yaml"] = &fstest.MapFile{Data: []byte(doc)}
	}
	set, err := manifest.LoadRelease(fsys, "r")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSelectClosesOverRequiresInInstallOrder(t *testing.T) {
	set := release(t, []string{"app", "db", "net", "extra"}, map[string][]string{"app": {"db"}, "db": {"net"}})
	sel, err := manifest.Select(set, nil, manifest.SelectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"net", "db", "app"}, sel.IDs()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"db": "app", "net": "db"}, sel.Pulled); diff != "" {
		t.Error(diff)
	}
	for name, opts := range map[string]manifest.SelectOptions{
		"required left out": {Without: []string{"net"}},
		"unknown":           {With: []string{"nett"}},
		"no such profile":   {Profile: "second"},
		"bad platform":      {Platforms: []string{"amd64"}},
		"nothing left":      {Without: []string{"app"}},
	} {
		if sel, err := manifest.Select(set, nil, opts); err == nil {
			t.Errorf("%s: selected %v", name, sel.IDs())
		}
	}
}

func TestContentReplacesAndAdds(t *testing.T) {
	set := release(t, []string{"app", "db"}, map[string][]string{"app": {"db"}})
	content, err := manifest.DecodeContent("site.yaml", []byte(`apiVersion: naru/v1
kind: Content
components:
  - {id: db, version: "2"}
images:
  - ref: registry.site/team/app:1
`))
	if err != nil {
		t.Fatal(err)
	}
	sel, err := manifest.Select(set, []*manifest.Content{content}, manifest.SelectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"db", "app", manifest.SiteComponent}, sel.IDs()); diff != "" {
		t.Error(diff)
	}
	if got := sel.Components[0].Version; got != "2" {
		t.Errorf("db has version %s", got)
	}
	if set.Specs["db"].Version != "1" {
		t.Error("selecting changed the release")
	}
}

func TestRequiresInACircle(t *testing.T) {
	fsys := fstest.MapFS{
		"r/release.yaml":      {Data: []byte("apiVersion: naru/v1\nkind: Release\nname: r\nplatforms: [linux/amd64]\ncomponents: [a, b]\nprofiles: [{name: p, components: [a]}]\ndefaultProfile: p\n")},
		"r/components/a.yaml": {Data: []byte("apiVersion: naru/v1\nkind: Component\nid: a\nversion: '1'\nrequires: [b]\n")},
		"r/components/b.yaml": {Data: []byte("apiVersion: naru/v1\nkind: Component\nid: b\nversion: '1'\nrequires: [a]\n")},
	}
	if _, err := manifest.LoadRelease(fsys, "r"); err == nil || !strings.Contains(err.Error(), "a -> b -> a") {
		t.Errorf("circle: %v", err)
	}
	if _, err := manifest.LoadRelease(fsys, "q"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing release: %v", err)
	}
}

func TestParseReference(t *testing.T) {
	for s, want := range map[string]manifest.Reference{
		"registry.k8s.io/pause:3.10":             {Host: "registry.k8s.io", Repository: "pause", Tag: "3.10"},
		"docker.io/library/debian:12@" + digestA: {Host: "docker.io", Repository: "library/debian", Tag: "12", Digest: digestA},
		"localhost:5000/a/b@" + digestA:          {Host: "localhost:5000", Repository: "a/b", Digest: digestA},
	} {
		got, err := manifest.ParseReference(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "debian", "debian:12", "library/debian:12", "docker.io/library/debian", "docker.io/Library/x:1", "docker.io/x:1@sha256:abc", "https://docker.io/x:1"} {
		if got, err := manifest.ParseReference(s); err == nil {
			t.Errorf("%q parsed as %+v", s, got)
		}
	}
}

func FuzzDecodeLock(f *testing.F) {
	f.Add([]byte("apiVersion: naru/v1\nkind: Lock\nrelease: r\nimages:\n  - ref: a.io/a:1\n    digest: " + digestA + "\n    source: x\n    pinnedBy: site\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := manifest.DecodeLock("lock.yaml", data)
		if err != nil {
			return
		}
		encoded, err := lock.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.DecodeLock("lock.yaml", encoded)
		if err != nil {
			t.Fatalf("what was decoded does not decode again: %v\n%s", err, encoded)
		}
		if diff := cmp.Diff(lock, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeComponent(f *testing.F) {
	f.Add([]byte("apiVersion: naru/v1\nkind: Component\nid: x\nversion: '1'\nfiles:\n  - {name: a, sources: [{url: https://x.io/a, members: [{path: a/b}]}]}\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = manifest.DecodeComponent("components/x.yaml", data)
		_, _ = manifest.DecodeContent("x.yaml", data)
	})
}
