package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
)

// TestVolumeSize packs with many limits: no volume is larger than its limit or its
// plan, and what is in them is the same.
func TestVolumeSize(t *testing.T) {
	f := standard(t)
	var tooSmall *archive.VolumeSizeError
	_, err := archive.NewPlan(f.input, f.options(1))
	if !errors.As(err, &tooSmall) || tooSmall.Limit != 1 {
		t.Fatal(err)
	}
	least := tooSmall.Minimum
	if _, err := archive.NewPlan(f.input, f.options(least-1)); !errors.As(err, &tooSmall) || tooSmall.Minimum != least {
		t.Errorf("limit %d below the minimum %d: %v", least-1, least, err)
	}
	for limit := least; limit < 40<<20; limit += 3<<20 + 12345 {
		dir := t.TempDir()
		plan := f.plan(t, limit)
		paths := f.pack(t, dir, limit)
		for i, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > limit || info.Size() != plan.Volumes[i].Size || filepath.Base(path) != plan.Volumes[i].Name {
				t.Errorf("limit %d: volume %q of %d bytes, planned %v", limit, path, info.Size(), plan.Volumes[i])
			}
		}
		r := f.open(t, paths[len(paths)-1])
		if _, err := r.Verify(context.Background(), archive.VerifyOptions{}); err != nil {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

func TestVolumeNames(t *testing.T) {
	f := standard(t)
	if got := f.plan(t, 0).Volumes[0].Name; got != "test.tar.zst" {
		t.Error(got)
	}
	volumes := f.plan(t, 12<<20).Volumes
	for i, v := range volumes {
		if want := fmt.Sprintf("test.%03d-of-%03d.tar.zst", i+1, len(volumes)); v.Name != want {
			t.Errorf("%s, want %s", v.Name, want)
		}
	}
}

// TestDeterministic packs in different ways.
func TestDeterministic(t *testing.T) {
	f := standard(t)
	for _, limit := range []int64{0, 7 << 20} {
		var want []archive.VolumeFile
		for _, opts := range []archive.WriteOptions{
			{Jobs: 1},
			{Jobs: 8},
			{Jobs: 2, Verified: func(digest.Digest) bool { return true }},
			{Jobs: 3, Verified: func(d digest.Digest) bool { return d[10] > '8' }},
		} {
			got, err := f.plan(t, limit).Write(context.Background(), t.TempDir(), f.store, opts)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %d: %v, want %v", limit, got, want)
			}
		}
	}
}

// TestDeterministicEntries compares bundles that differ in the length of their
// signature and in their volumes: entries other than the named ones are the same.
func TestDeterministicEntries(t *testing.T) {
	f := standard(t)
	one := entriesOf(t, f, 0)
	f.input.Signature = bytes.Repeat([]byte("longer"), 100)
	signed := entriesOf(t, f, 0)
	differ(t, one, signed, "bundle.json.sigstore.json")
	three := entriesOf(t, f, 13<<20)
	differ(t, signed, three, "volume.json", "toc.json")
	f.input.Signature = []byte("s")
	differ(t, three, entriesOf(t, f, 13<<20), "bundle.json.sigstore.json")
}

// entriesOf packs and reads all entries, the parts of blobs put together, each
// document that every volume has under the number of its volume.
func entriesOf(t *testing.T, f *fixture, limit int64) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for i, path := range f.pack(t, t.TempDir(), limit) {
		v := takeApart(t, path)
		for _, e := range v.entries {
			name, _, _ := strings.Cut(e.name, ".0")
			if i > 0 && !strings.HasPrefix(name, "blobs/") && !strings.HasPrefix(name, "signatures/") {
				continue
			}
			all[name] = append(all[name], e.content...)
		}
	}
	return all
}

func differ(t *testing.T, a, b map[string][]byte, but ...string) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%d entries and %d", len(a), len(b))
	}
	for name := range a {
		if !slices.Contains(but, name) && !bytes.Equal(a[name], b[name]) {
			t.Errorf("%q differs", name)
		}
	}
}

// TestPlanRefuses lists inputs that do not fit together.
func TestPlanRefuses(t *testing.T) {
	for name, change := range map[string]func(f *fixture, o *archive.PlanOptions){
		"bundle":   func(f *fixture, _ *archive.PlanOptions) { f.input.Bundle = []byte("{}") },
		"contents": func(f *fixture, _ *archive.PlanOptions) { f.input.Contents = append(f.input.Contents, '\n') },
		"file more": func(f *fixture, _ *archive.PlanOptions) {
			f.input.Files = append(f.input.Files, archive.File{Name: "x"})
		},
		"file changed":        func(f *fixture, _ *archive.PlanOptions) { f.input.Files[0].Data = []byte("y") },
		"blob less":           func(f *fixture, _ *archive.PlanOptions) { f.input.Blobs = f.input.Blobs[1:] },
		"blob order":          func(f *fixture, _ *archive.PlanOptions) { slices.Reverse(f.input.Blobs) },
		"encoded size":        func(f *fixture, _ *archive.PlanOptions) { f.input.Blobs[4].EncodedSize = 3 },
		"signature too large": func(f *fixture, _ *archive.PlanOptions) { f.input.Signature = make([]byte, archive.SignatureReserve+1) },
		"signature elsewhere": func(f *fixture, _ *archive.PlanOptions) { f.input.Signatures[0].Name = "sig" },
		"signature twice": func(f *fixture, _ *archive.PlanOptions) {
			f.input.Signatures = append(f.input.Signatures, f.input.Signatures[0])
		},
		"no prefix":   func(_ *fixture, o *archive.PlanOptions) { o.Prefix = "" },
		"prefix path": func(_ *fixture, o *archive.PlanOptions) { o.Prefix = "a/b" },
	} {
		t.Run(name, func(t *testing.T) {
			f := small(t)
			opts := f.options(0)
			change(f, &opts)
			if _, err := archive.NewPlan(f.input, opts); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestPlanWantsFrames(t *testing.T) {
	f := standard(t)
	opts := f.options(7 << 20)
	opts.Frames = nil
	if _, err := archive.NewPlan(f.input, opts); !errors.Is(err, archive.ErrNoFrames) {
		t.Error(err)
	}
	opts.VolumeSize = 0
	if _, err := archive.NewPlan(f.input, opts); err != nil {
		t.Error(err)
	}
}
