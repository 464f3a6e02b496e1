package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"naru/internal/carried"
	"naru/internal/intake"
)

// TestDamagedVolumeIsBroughtAgain: a depot was taken to hold a bundle whose volumes had the
// right sizes, whatever was in them. A rerun is cheap all the same: what was verified when
// it arrived is read again only where the file is another one, and the medium not at all.
func TestDamagedVolumeIsBroughtAgain(t *testing.T) {
	media := newBundle(t, "")
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{media}, SkipVerify: true}))(t)
	defer func() { _ = b.Close() }()
	c, hosts := planes(t, "a")
	c.Site.Depot.Dir, c.Set = "/var/lib/naru/bundles", &carried.Set{Bundles: []*intake.Bundle{b}}
	host := hosts["a"]
	dir := filepath.Join(host.dir, c.bundleDir(b))
	from := b.Volumes()[0].Path
	to, mark := filepath.Join(dir, filepath.Base(from)), filepath.Join(dir, completeName)
	stale := filepath.Join(host.dir, depotStale)
	task := c.carryTask(c.Hosts[0], b)
	is := func(when string, want bool) {
		t.Helper()
		if has, err := task.Done(t.Context()); err != nil || has != want {
			t.Fatalf("%s: the depot has it: %v, %v, want %v", when, has, err, want)
		}
	}
	do := func(when string) {
		t.Helper()
		ok(t, task.Do(t.Context()))
		is(when, true)
		if !bytes.Equal(must(os.ReadFile(to))(t), must(os.ReadFile(from))(t)) {
			t.Fatalf("%s: the volume differs", when)
		}
		ok(t, os.Remove(stale)) // a depot that runs has the former file open: it is to be started again
	}
	is("before", false)
	do("carried")
	placed := time.Now().Add(-time.Hour).Truncate(time.Second)
	ok(t, os.Chtimes(mark, placed, placed))

	size := must(os.Stat(to))(t).Size()
	ok(t, overwrite(to, size/2, 1))
	is("one byte changed", false)
	do("brought again")
	if at := must(os.Stat(mark))(t).ModTime(); !at.Equal(placed) {
		t.Errorf("the bundle's place among the others moved to %v", at)
	}

	ok(t, os.Chtimes(to, placed, placed))
	is("another time, the same content", true)
	ok(t, os.Truncate(to, size-1))
	is("cut off", false)
	do("brought again")

	// What an earlier version carried has no notes; it is compared, and not carried again.
	ok(t, os.RemoveAll(filepath.Join(dir, verifiedDir)))
	is("without notes", false)
	before := must(os.Stat(to))(t)
	do("compared")
	if !os.SameFile(before, must(os.Stat(to))(t)) {
		t.Error("a volume that was there was carried again")
	}

	// A carry that was cut off before its mark goes on without reading the medium.
	ok(t, os.Remove(mark))
	ok(t, os.Rename(from, from+".away"))
	is("cut off before the mark", false)
	ok(t, task.Do(t.Context()))
	is("completed without the medium", true)
}

// TestLinkedVolume: where the depot is the host with the medium, nothing is copied and
// nothing hashed; a file that is no longer the medium's is linked again.
func TestLinkedVolume(t *testing.T) {
	media := newBundle(t, "")
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{media}, SkipVerify: true}))(t)
	defer func() { _ = b.Close() }()
	c, hosts := planes(t, "a")
	c.Site.Hosts[0].Local = true
	c.Site.Depot.Dir, c.Set = "/var/lib/naru/bundles", &carried.Set{Bundles: []*intake.Bundle{b}}
	from := b.Volumes()[0].Path
	to := filepath.Join(hosts["a"].dir, c.bundleDir(b), filepath.Base(from))
	task := c.carryTask(c.Hosts[0], b)
	for _, when := range []string{"first", "replaced"} {
		if has, err := task.Done(t.Context()); err != nil || has {
			t.Errorf("%s: the depot has it: %v, %v", when, has, err)
		}
		ok(t, task.Do(t.Context()))
		if has, err := task.Done(t.Context()); err != nil || !has || !os.SameFile(must(os.Stat(from))(t), must(os.Stat(to))(t)) {
			t.Errorf("%s: linked: %v, %v", when, has, err)
		}
		ok(t, os.Remove(to))
		ok(t, os.WriteFile(to, make([]byte, must(os.Stat(from))(t).Size()), 0o600))
	}
}

// TestFileSum: what is read of a slow medium ends with the run.
func TestFileSum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "volume")
	for _, size := range []int{0, 5, 16 << 20, 16<<20 + 1} {
		data := bytes.Repeat([]byte("x"), size)
		ok(t, os.WriteFile(path, data, 0o600))
		if got, want := must(fileSum(t.Context(), path))(t), fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
			t.Errorf("%d bytes: %s, want %s", size, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fileSum(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
