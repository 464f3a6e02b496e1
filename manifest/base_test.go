package manifest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func component(id, image string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("apiVersion: naru/v1\nkind: Component\nid: " + id + "\nversion: \"1\"\nimages: [{ref: \"" + image + "\"}]\n")}
}

func lockOf(release string, images ...string) *fstest.MapFile {
	text := "apiVersion: naru/v1\nkind: Lock\nrelease: " + release + "\nimages:\n"
	for _, ref := range images {
		text += "  - {ref: \"" + ref + "\", digest: sha256:" + strings.Repeat("a", 64) + ", source: " + release + ", pinnedBy: release}\n"
	}
	return &fstest.MapFile{Data: []byte(text)}
}

func baseFS() fstest.MapFS {
	return fstest.MapFS{
		"one/release.yaml": {Data: []byte("apiVersion: naru/v1\nkind: Release\nname: one\nkubernetes: 1.1.0\nplatforms: [linux/amd64]\ncomponents: [a, b]\n" +
			"profiles: [{name: all, components: [a, b]}]\ndefaultProfile: all\n")},
		"one/components/a.yaml": component("a", "r.test/a:1"),
		"one/components/b.yaml": component("b", "r.test/b:1"),
		"one/lock.yaml":         lockOf("one", "r.test/a:1", "r.test/b:1"),
		"two/release.yaml":      {Data: []byte("apiVersion: naru/v1\nkind: Release\nname: two\nbase: one\nkubernetes: 1.2.0\n")},
		"two/components/b.yaml": component("b", "r.test/b:2"),
		"two/lock.yaml":         lockOf("two", "r.test/b:2"),
	}
}

// TestBase: a release takes from its base what it leaves out, and the base's pins
// as far as they are still about the same content.
func TestBase(t *testing.T) {
	set, err := LoadRelease(baseFS(), "two")
	if err != nil {
		t.Fatal(err)
	}
	if set.Name != "two" || set.Kubernetes != "1.2.0" || set.DefaultProfile != "all" {
		t.Errorf("head is %+v", set.Release)
	}
	if a, b := set.Specs["a"].Images[0].Ref, set.Specs["b"].Images[0].Ref; a != "r.test/a:1" || b != "r.test/b:2" {
		t.Errorf("images are %q and %q", a, b)
	}
	var pinned []string
	for _, img := range set.Shipped.Images {
		pinned = append(pinned, img.Ref+" "+img.Source)
	}
	if want := []string{"r.test/a:1 one", "r.test/b:2 two"}; !slices.Equal(pinned, want) || set.Shipped.Release != "two" {
		t.Errorf("lock of %q pins %q, want %q", set.Shipped.Release, pinned, want)
	}
	// What a bundle carries of it is whole without the base.
	alone := fstest.MapFS{}
	for name, data := range set.Raw {
		alone["two/"+name] = &fstest.MapFile{Data: data}
	}
	again, err := LoadRelease(alone, "two")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set.Specs, again.Specs); diff != "" || again.Base != "" || !slices.Equal(again.Components, set.Components) {
		t.Errorf("loaded from what is carried: %+v\n%s", again.Release, diff)
	}
}

func TestBaseMistakes(t *testing.T) {
	fsys := baseFS()
	fsys["two/release.yaml"].Data = []byte("apiVersion: naru/v1\nkind: Release\nname: two\nbase: none\n")
	if _, err := LoadRelease(fsys, "two"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a base that is not there: %v", err)
	}
	fsys = baseFS()
	fsys["three/release.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: naru/v1\nkind: Release\nname: three\nbase: two\nplatforms: [linux/amd64]\ncomponents: []\n")}
	if _, err := LoadRelease(fsys, "three"); err == nil || !strings.Contains(err.Error(), "has a base itself") {
		t.Errorf("a base with a base: %v", err)
	}
	fsys = baseFS()
	delete(fsys, "one/components/a.yaml")
	if _, err := LoadRelease(fsys, "two"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a component that neither has: %v", err)
	}
}
