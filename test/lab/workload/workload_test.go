package workload_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/test/lab/layout"
	"naru/test/lab/workload"
)

// material is some megabytes that compress by about a half.
func material(t *testing.T) []string {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{7})
	data := make([]byte, 4<<20)
	_, _ = rng.Read(data)
	for i := range data {
		data[i] &= 0x0f
	}
	plain := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(plain, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data[:1<<20]); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tgz := plain + ".tgz"
	if err := os.WriteFile(tgz, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{plain, tgz}
}

func generate(t *testing.T, s workload.Shape, seed uint64, files []string) *layout.Layout {
	t.Helper()
	l, err := workload.Generate(t.Context(), workload.Options{CacheDir: t.TempDir(), Shape: s, Seed: seed, Material: files})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSameSeedSameContent(t *testing.T) {
	files := material(t)
	shape := workload.Shape{Name: "test", Bytes: 20e6, Images: 10, Bases: 2, Layers: 2, RawPercent: 20, Files: 3}
	one, two, other := generate(t, shape, 1, files), generate(t, shape, 1, files), generate(t, shape, 2, files)
	if diff := cmp.Diff(one.Catalog, two.Catalog); diff != "" {
		t.Errorf("same seed, other content:\n%s", diff)
	}
	if cmp.Equal(one.Catalog, other.Catalog) {
		t.Error("another seed gave the same content")
	}
}

func TestLargeShape(t *testing.T) {
	shape := workload.Large(100e6)
	l := generate(t, shape, 1, material(t))
	if n := len(l.Catalog.Images); n != 40 {
		t.Errorf("%d images", n)
	}
	use := map[digest.Digest]int{}
	size := map[string]int64{}
	seen := map[digest.Digest]bool{}
	for _, img := range l.Catalog.Images {
		for i, layer := range checkImage(t, l, img) {
			if i == 0 {
				use[layer.Digest]++
			} else if seen[layer.Digest] {
				t.Errorf("%s shares layer %d, which is no base", img.Ref, i)
			}
			if !seen[layer.Digest] {
				size[layer.MediaType] += layer.Size
			}
			seen[layer.Digest] = true
		}
	}
	if len(use) != shape.Bases {
		t.Errorf("%d bases, want %d", len(use), shape.Bases)
	}
	var files int64
	for _, f := range l.Catalog.Files {
		files += f.Size
	}
	raw := size[ocispec.MediaTypeImageLayer] + files
	total := raw + size[ocispec.MediaTypeImageLayerGzip]
	if total < 85e6 || total > 125e6 {
		t.Errorf("%d bytes, want about 100 MB", total)
	}
	if share := float64(raw) / float64(total); share < 0.15 || share > 0.27 {
		t.Errorf("uncompressed share is %.2f, want about 0.2", share)
	}
}

// checkImage verifies an image down to its layers' tar and returns the layers.
func checkImage(t *testing.T, l *layout.Layout, img layout.Image) []ocispec.Descriptor {
	t.Helper()
	data, err := l.Manifest(img.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if data, err = l.Manifest(m.Config.Digest); err != nil {
		t.Fatal(err)
	}
	var cfg ocispec.Image
	if err := json.Unmarshal(data, &cfg); err != nil {
		t.Fatal(err)
	}
	for i, layer := range m.Layers {
		f, err := l.Open(layer.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		blob := digest.Canonical.Digester()
		r := io.TeeReader(f, blob.Hash())
		if layer.MediaType == ocispec.MediaTypeImageLayerGzip {
			if r, err = gzip.NewReader(r); err != nil {
				t.Fatal(err)
			}
		}
		diff := digest.Canonical.Digester()
		tee := io.TeeReader(r, diff.Hash())
		tr := tar.NewReader(tee)
		for err == nil {
			_, err = tr.Next()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatalf("%s layer %d: %v", img.Ref, i, err)
		}
		if _, err := io.Copy(io.Discard, tee); err != nil {
			t.Fatal(err)
		}
		if blob.Digest() != layer.Digest || diff.Digest() != cfg.RootFS.DiffIDs[i] {
			t.Errorf("%s layer %d: digest %s, diff id %s", img.Ref, i, blob.Digest(), diff.Digest())
		}
	}
	return m.Layers
}

func TestSmallShape(t *testing.T) {
	shape := workload.Small()
	shape.Bytes = 30e6
	l := generate(t, shape, 1, material(t))
	if len(l.Catalog.Images) != 300 || len(l.Catalog.Files) != 0 {
		t.Errorf("%d images, %d files", len(l.Catalog.Images), len(l.Catalog.Files))
	}
	blobs, err := filepath.Glob(filepath.Join(l.BlobDir(), "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := 300*(2+shape.Layers) + shape.Bases; len(blobs) != want {
		t.Errorf("%d blobs, want %d: layers that should differ are the same", len(blobs), want)
	}
}

func TestContentFileIsValid(t *testing.T) {
	shape := workload.Shape{Name: "test", Bytes: 5e6, Images: 3, Bases: 1, Layers: 1, RawPercent: 20, Files: 2}
	l := generate(t, shape, 1, material(t))
	file := filepath.Join(l.Dir, workload.ContentFile)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := manifest.DecodeContent(file, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Images) != 3 || len(c.Files) != 2 || c.Files[0].Sources[0].SHA256 != l.Catalog.Files[0].SHA256 {
		t.Errorf("content file does not list what is there:\n%s", data)
	}
}

func TestWarm(t *testing.T) {
	opts := workload.Options{
		CacheDir: t.TempDir(), Material: material(t), Seed: 1,
		Shape: workload.Shape{Name: "test", Bytes: 5e6, Images: 3, Bases: 1, Layers: 1},
	}
	one, err := workload.Generate(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(one.Dir, "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := workload.Generate(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("generated again: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	shape := workload.Shape{Name: "test", Bytes: 5e6, Images: 3, Bases: 1, Layers: 1}
	_, err := workload.Generate(t.Context(), workload.Options{CacheDir: t.TempDir(), Shape: shape})
	if !errors.Is(err, workload.ErrNoMaterial) {
		t.Errorf("without material: %v", err)
	}
	shape.RawPercent = 20
	if _, err := workload.Generate(t.Context(), workload.Options{CacheDir: t.TempDir(), Shape: shape, Material: material(t)}); err == nil {
		t.Error("a raw share without files was accepted")
	}
}
