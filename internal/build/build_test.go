package build_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/build"
	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
	"naru/test/lab/upstream"
)

func TestSignedBundleHoldsAllAndRerunAsksNobody(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	signer, pub := newSigner(t)
	o.Signer, o.Unsigned = signer, false
	first := w.run(o)
	if first.Images != 2 || first.Files != 2 || !first.Signed || first.UpToDate {
		t.Errorf("%+v", first)
	}
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{o.OutDir}, Keys: []string{pub}}))(t)
	defer func() { _ = b.Close() }()
	must(b.Verify(t.Context(), archive.VerifyOptions{}))(t)
	if n := must(intake.CheckMedia(t.Context(), intake.Options{Paths: []string{o.OutDir}, Keys: []string{pub}}, b))(t); n < 5 {
		t.Errorf("%d files beside the volumes are listed, want 5 at least", n)
	}

	before := tree(t, o.OutDir)
	w.closed()
	start := time.Now()
	again := w.run(o)
	if !again.UpToDate || again.Bundle != first.Bundle {
		t.Errorf("the second run: up to date %v, %s, want %s", again.UpToDate, again.Bundle, first.Bundle)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("the second run made %d requests", n)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("the second run took %s", d)
	}
	if diff := cmp.Diff(before, tree(t, o.OutDir)); diff != "" {
		t.Errorf("the second run changed the folder (-before +after):\n%s", diff)
	}
}

// TestSameBytesFromSameLock builds with other jobs, folders and caches, discovering
// referrers once and taking them from the lock then.
func TestSameBytesFromSameLock(t *testing.T) {
	w := newWorld(t)
	first := w.options()
	w.run(first)
	want := tree(t, first.OutDir)
	for _, jobs := range []int{1, 7} {
		o := w.options()
		o.LockFile, o.Locked, o.Jobs = filepath.Join(first.OutDir, "lock.yaml"), true, jobs
		w.up.ResetRequests()
		w.run(o)
		if diff := cmp.Diff(want, tree(t, o.OutDir)); diff != "" {
			t.Errorf("-j %d from the lock differs (-discovered +pinned):\n%s", jobs, diff)
		}
		for _, r := range w.up.Requests() {
			if strings.Contains(r.Path, "/referrers/") {
				t.Errorf("with a lock upstream was asked for %s", r.Path)
			}
		}
	}
}

// TestPlatformsOfOneLock builds one platform out of a lock made for two.
func TestPlatformsOfOneLock(t *testing.T) {
	w := newWorld(t)
	both := w.options()
	both.Select.Platforms = []string{"linux/amd64", "linux/arm64"}
	w.run(both)
	one := w.options()
	one.LockFile, one.Locked = filepath.Join(both.OutDir, "lock.yaml"), true
	fromLock := w.run(one)
	discovered := w.run(w.options())
	if fromLock.Blobs != discovered.Blobs || fromLock.Bytes != discovered.Bytes {
		t.Errorf("one platform of the lock for two has %d blobs, %d bytes, discovered %d, %d", fromLock.Blobs, fromLock.Bytes, discovered.Blobs, discovered.Bytes)
	}
}

func TestVolumesHoldWhatOneVolumeHolds(t *testing.T) {
	w := newWorld(t)
	one, many := w.options(), w.options()
	many.VolumeSize = 400_000
	a, b := w.run(one), w.run(many)
	if len(a.Volumes) != 1 || len(b.Volumes) < 2 {
		t.Fatalf("%d and %d volumes", len(a.Volumes), len(b.Volumes))
	}
	if a.Bundle != b.Bundle {
		t.Errorf("the bundle depends on its volumes: %s, %s", a.Bundle, b.Bundle)
	}
	for _, v := range b.Volumes {
		if v.Size > many.VolumeSize {
			t.Errorf("volume %s has %d bytes", v.Name, v.Size)
		}
	}
	r := must(intake.Open(t.Context(), intake.Options{Paths: []string{many.OutDir}, SkipVerify: true}))(t)
	defer func() { _ = r.Close() }()
	must(r.Verify(t.Context(), archive.VerifyOptions{}))(t)
}

func TestNeitherKeyNorUnsigned(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Unsigned = false
	if _, err := build.Build(t.Context(), o); !errors.Is(err, build.ErrUnsigned) {
		t.Errorf("got %v, want ErrUnsigned", err)
	}
}

func TestLockedNamesAllThatIsNotPinned(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Locked = true
	_, err := build.Build(t.Context(), o)
	var unpinned *build.UnpinnedError
	if !errors.As(err, &unpinned) {
		t.Fatalf("got %v, want an *UnpinnedError", err)
	}
	slices.Sort(unpinned.Names)
	if diff := cmp.Diff([]string{appRef, plain, "site/notes", "site/tool"}, unpinned.Names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("%d requests before the refusal", n)
	}
}

func TestMovedTagAndFreshRun(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	w.run(o)
	ok(t, w.up.SetTag(app, "1.0", w.newer.Digest.String()))
	before := tree(t, o.OutDir)

	// What is pinned and held is not asked for again; what is not held must be.
	if r := w.run(o); !r.UpToDate {
		t.Error("a moved tag is no news to a cache that holds what is pinned")
	}
	o.CacheDir = t.TempDir()
	_, err := build.Build(t.Context(), o)
	var moved *mirror.MovedTagError
	if !errors.As(err, &moved) || moved.Pinned != w.index.Digest || moved.Now != w.newer.Digest {
		t.Fatalf("got %v, want a *MovedTagError from %s to %s", err, w.index.Digest, w.newer.Digest)
	}
	if diff := cmp.Diff(before, tree(t, o.OutDir)); diff != "" {
		t.Errorf("the refusal changed the folder (-before +after):\n%s", diff)
	}

	o.Fresh, o.Replace = true, true
	if r := w.run(o); r.UpToDate {
		t.Error("a fresh run kept the old lock")
	}
	path := filepath.Join(o.OutDir, "lock.yaml")
	lock := must(manifest.DecodeLock(path, must(os.ReadFile(path))(t)))(t)
	if got := lock.Image(appRef).Digest; got != w.newer.Digest {
		t.Errorf("the fresh lock has %s, want %s", got, w.newer.Digest)
	}
}

func TestUnpinTakesTheMoveOfOneTag(t *testing.T) {
	w := newWorld(t)
	first := w.options()
	w.run(first)
	ok(t, w.up.SetTag(app, "1.0", w.newer.Digest.String()))
	o := w.options()
	o.LockFile, o.Unpin, o.PinnedBy = filepath.Join(first.OutDir, "lock.yaml"), []string{appRef}, manifest.PinnedBySite
	before := must(manifest.DecodeLock(o.LockFile, must(os.ReadFile(o.LockFile))(t)))(t)
	lock := must(build.Pin(t.Context(), o))(t)
	if img := lock.Image(appRef); img.Digest != w.newer.Digest || img.PinnedBy != manifest.PinnedBySite {
		t.Errorf("pinned anew: %+v", img)
	}
	if was, is := before.Image(plain).Digest, lock.Image(plain).Digest; was != is {
		t.Errorf("the pin of another changed from %s to %s", was, is)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.DryRun, o.Unsigned = true, false
	r := w.run(o)
	if !r.DryRun || r.Fetched < layerSize || r.NeededCache < layerSize || r.NeededOut < layerSize || r.Images != 2 {
		t.Errorf("%+v", r)
	}
	if got := tree(t, o.OutDir); len(got) != 0 {
		t.Errorf("a dry run wrote %v", got)
	}
	for _, q := range w.up.Requests() {
		if strings.Contains(q.Path, "/blobs/") && q.Bytes > 10_000 {
			t.Errorf("a dry run fetched %s", q.Path)
		}
	}
	built := w.options()
	w.run(built)
	before := tree(t, built.OutDir)
	built.DryRun = true
	if r := w.run(built); r.Fetched != 0 {
		t.Errorf("%d bytes to fetch where all is there", r.Fetched)
	}
	if diff := cmp.Diff(before, tree(t, built.OutDir)); diff != "" {
		t.Errorf("a dry run changed the folder (-before +after):\n%s", diff)
	}
}

func TestAnotherBundleIsReplacedOnRequestOnly(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.VolumeSize = 400_000
	old := w.run(o)
	stranger := filepath.Join(o.OutDir, "small-99.tar.zst")
	ok(t, os.WriteFile(stranger, []byte("somebody else's volume"), 0o600))
	for name, text := range map[string]string{"approval.pdf": "a form", "sub/log.txt": "a log"} {
		path := filepath.Join(o.OutDir, name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
		ok(t, os.WriteFile(path, []byte(text), 0o600))
	}
	before := tree(t, o.OutDir)
	foreign := maps.Clone(before)
	maps.DeleteFunc(foreign, func(name, _ string) bool {
		return name != "approval.pdf" && name != "sub/log.txt"
	})
	if r := w.run(o); !r.UpToDate {
		t.Error("foreign files make a bundle another one")
	}

	o.Select.Platforms, o.VolumeSize = []string{"linux/amd64", "linux/arm64"}, 0
	_, err := build.Build(t.Context(), o)
	var occupied *build.OccupiedError
	if !errors.As(err, &occupied) || occupied.Bundle.String() != old.Bundle {
		t.Fatalf("got %v, want an *OccupiedError that names %s", err, old.Bundle)
	}
	if diff := cmp.Diff(before, tree(t, o.OutDir)); diff != "" {
		t.Errorf("the refusal changed the folder (-before +after):\n%s", diff)
	}

	o.Replace = true
	_, err = build.Build(t.Context(), o)
	var strange *build.StrangerError
	if !errors.As(err, &strange) || !slices.Equal(strange.Names, []string{"small-99.tar.zst"}) {
		t.Fatalf("got %v, want a *StrangerError", err)
	}
	if diff := cmp.Diff(before, tree(t, o.OutDir)); diff != "" {
		t.Errorf("the refusal changed the folder (-before +after):\n%s", diff)
	}
	ok(t, os.Remove(stranger))
	w.run(o)
	after := tree(t, o.OutDir)
	for name, is := range foreign {
		if after[name] != is {
			t.Errorf("foreign file %q: %q, was %q", name, after[name], is)
		}
	}
	for _, v := range old.Volumes {
		if is, there := after[v.Name]; there && is == before[v.Name] {
			t.Errorf("volume %s of the old bundle is left", v.Name)
		}
	}
	r := must(intake.Open(t.Context(), intake.Options{Paths: []string{filepath.Join(o.OutDir, w.run(o).Volumes[0].Name)}, SkipVerify: true}))(t)
	defer func() { _ = r.Close() }()
	must(r.Verify(t.Context(), archive.VerifyOptions{}))(t)
}

// TestNoSpace publishes an image that no disk of ours can hold.
func TestNoSpace(t *testing.T) {
	w := newWorld(t)
	const huge = 1 << 39
	config := must(w.JSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}))(t)
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config}
	m.SchemaVersion = 2
	for i := range 64 {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(string(rune('a' + i))), Size: huge})
	}
	desc := must(w.JSON(m.MediaType, m))(t)
	w.publish("ghcr.io/naru/huge:1", desc)
	l := must(w.Close())(t)
	ok(t, w.up.Add(t.Context(), l))
	o := w.options()
	o.ContentFiles = []string{w.write("huge.yaml", "apiVersion: naru/v1\nkind: Content\nname: huge\nplatforms: [linux/amd64]\nimages: [{ref: 'ghcr.io/naru/huge:1'}]\n")}
	_, err := build.Build(t.Context(), o)
	var space *mirror.NoSpaceError
	if !errors.As(err, &space) || space.Needed < 64*huge || space.Free <= 0 || space.Free >= space.Needed {
		t.Fatalf("got %v, want a *NoSpaceError with bytes needed and free", err)
	}
	for _, q := range w.up.Requests() {
		if strings.Contains(q.Path, m.Layers[0].Digest.Encoded()) {
			t.Error("it began to fetch what there is no space for")
		}
	}
	if got := tree(t, o.OutDir); len(got) != 0 {
		t.Errorf("it wrote %v", got)
	}
}

func TestInstallersLieBesideTheVolumes(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.InstallerDir = t.TempDir()
	_, err := build.Build(t.Context(), o)
	var none *build.NoInstallerError
	if !errors.As(err, &none) || none.Platform != "linux/amd64" {
		t.Fatalf("got %v, want a *NoInstallerError for linux/amd64", err)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("%d requests before it was noticed", n)
	}
	ok(t, os.WriteFile(filepath.Join(o.InstallerDir, "install-linux-amd64"), []byte("#!/bin/true"), 0o600))
	w.run(o)
	if got := tree(t, o.OutDir)["install-linux-amd64"]; got != digest.FromString("#!/bin/true").String()+" -rwxr-xr-x" {
		t.Errorf("install-linux-amd64: %q", got)
	}
	sums := string(must(os.ReadFile(filepath.Join(o.OutDir, "SHA256SUMS")))(t))
	if !strings.Contains(sums, digest.FromString("#!/bin/true").Encoded()+"  install-linux-amd64") {
		t.Errorf("SHA256SUMS does not list it:\n%s", sums)
	}
}

func TestWrongBytesLeaveNoBundle(t *testing.T) {
	w := newWorld(t)
	for name, path := range map[string]string{"a layer": "/blobs/", "a pinned file": "notes"} {
		ok(t, w.up.Inject(upstream.Fault{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: path}}))
		o := w.options()
		if path == "notes" {
			good := w.options()
			w.up.ClearFaults()
			w.run(good)
			o.LockFile = filepath.Join(good.OutDir, "lock.yaml")
			ok(t, w.up.Inject(upstream.Fault{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: path}}))
		}
		_, err := build.Build(t.Context(), o)
		var mismatch *mirror.MismatchError
		if !errors.As(err, &mismatch) || mismatch.Got == mismatch.Want || mismatch.Source == "" {
			t.Errorf("%s: got %v, want a *MismatchError with both digests", name, err)
		}
		if _, err := os.Stat(filepath.Join(o.OutDir, "SHA256SUMS")); err == nil {
			t.Errorf("%s: there is a bundle", name)
		}
		w.up.ClearFaults()
		w.run(o) // and all is well once upstream is
	}
}

func TestInterruptedBuildGoesOn(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Jobs = 1
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = &cancelAfter{n: layerSize, cancel: cancel}
	if _, err := build.Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	o.Progress = nil
	w.run(o)
	if again := upstream.Refetched(w.up.Requests()); len(again) != 0 {
		t.Errorf("fetched twice: %v", again)
	}
}

func TestUpstreamOutOfReach(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	w.closed()
	if _, err := build.Build(t.Context(), o); !remote.IsNetwork(err) {
		t.Errorf("got %v, want an error of the network", err)
	}
}
