//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Two builds from the same lock, with another number of jobs, another cache and
// another folder, differ in nothing but what follows from the signatures; one and
// three volumes in nothing but where blobs are cut and what says so.
func TestDeterminism(t *testing.T) {
	lock := []string{"--lock", filepath.Join(w.demo, "lock.yaml"), "--locked"}
	other := func(args ...string) []string {
		return slices.Concat(lock, []string{"--cache", filepath.Join(t.TempDir(), "store"), "-j", "1"}, args)
	}
	dir := func(name string) string { return filepath.Join(t.TempDir(), name) }

	t.Run("unsigned", func(t *testing.T) {
		one, two := dir("one"), dir("two")
		buildDemo(t, one, append(lock, "--unsigned", "--installers", w.bin, "-j", "8")...)
		buildDemo(t, two, other("--unsigned", "--installers", w.bin)...)
		if diff := differing(tree(t, one), tree(t, two)); len(diff) > 0 {
			t.Errorf("the media differ in %v", diff)
		}
	})
	t.Run("signed", func(t *testing.T) {
		one, two := dir("one"), dir("two")
		buildDemo(t, one, append(lock, "--key", w.key, "--no-installer", "-j", "8")...)
		buildDemo(t, two, append(lock, "--key", w.key, "--no-installer", "-j", "2")...)
		onlyNamed(t, "the media", differing(tree(t, one), tree(t, two)), "bundle.json.sigstore.json", "SHA256SUMS", "SHA256SUMS.sig", "demo.tar.zst",
			"dossier/dossier.en.html", "dossier/dossier.ko.html", "dossier/dossier.json") // they name the volume's checksum
		onlyNamed(t, "the volumes", differing(tree(t, unpack(t, one)[0]), tree(t, unpack(t, two)[0])), "bundle.json.sigstore.json", "toc.json")
	})
	t.Run("volumes", func(t *testing.T) {
		one := dir("one")
		buildDemo(t, one, append(lock, "--unsigned", "--no-installer")...)
		info, err := os.Stat(volumes(t, one)[0])
		if err != nil {
			t.Fatal(err)
		}
		// Whether a volume ends within a blob depends on the content: other sizes are tried
		// until one does.
		for extra := int64(6); extra <= 14; extra += 2 {
			three := dir(fmt.Sprint("three-", extra))
			b := buildDemo(t, three, append(lock, "--unsigned", "--no-installer", "--volume-size", fmt.Sprint(info.Size()/3+extra<<20))...)
			if len(b.Volumes) != 3 {
				t.Fatalf("%d volumes, want 3", len(b.Volumes))
			}
			dirs := unpack(t, three)
			if diff := differing(joined(t, unpack(t, one)), joined(t, dirs)); len(diff) > 0 {
				t.Errorf("one and three volumes differ in %v", diff)
			}
			if hasCut(t, dirs) {
				return
			}
		}
		t.Error("no blob was cut, so nothing is shown about it")
	})
	t.Run("clock", func(t *testing.T) {
		// Another date changes bundle.json and, of what it covers, the SBOMs, which are
		// dated, and the list of contents that has their digests.
		one, two := dir("one"), dir("two")
		buildDemo(t, one, append(lock, "--unsigned", "--no-installer")...)
		cmd := w.command(t.Context(), "bundle", w.build(two, append(lock, "--unsigned", "--no-installer")...)...)
		cmd.Env = append(cmd.Env, "SOURCE_DATE_EPOCH=1000000000")
		if r, err := finish(cmd); err != nil || r.code != 0 {
			t.Fatalf("building: %d %v %s", r.code, err, r.stderr)
		}
		diff := differing(tree(t, unpack(t, one)[0]), tree(t, unpack(t, two)[0]))
		diff = slices.DeleteFunc(diff, func(name string) bool { return strings.HasPrefix(name, "sbom/") })
		onlyNamed(t, "the volumes", diff, "bundle.json", "contents.json", "volume.json", "toc.json")
	})
}

// hasCut tells whether a blob lies in more than one of the unpacked volumes.
func hasCut(t *testing.T, dirs []string) bool {
	t.Helper()
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return slices.ContainsFunc(filesOf(t, dir), func(name string) bool { return strings.Contains(name, "-of-") })
	})
}

// onlyNamed fails the test if diff holds other names than these.
func onlyNamed(t *testing.T, what string, diff []string, names ...string) {
	t.Helper()
	diff = slices.DeleteFunc(diff, func(name string) bool { return slices.Contains(names, name) })
	if len(diff) > 0 {
		t.Errorf("%s differ in %v, and may in %v", what, diff, names)
	}
}
