package layout_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
)

// write makes a small layout: one two-layer image named by refs, in the given order.
func write(t *testing.T, refs ...string) *layout.Layout {
	t.Helper()
	w, err := layout.NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var layers []layout.Layer
	for _, name := range []string{"opt/a/one", "opt/b/two"} {
		l, err := w.Layer(layout.Gzip, name, func(tw *tar.Writer) error {
			if err := layout.AddDirs(tw, map[string]bool{}, name); err != nil {
				return err
			}
			return layout.AddFile(tw, name, 0o755, int64(len(name)), strings.NewReader(name))
		})
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, l)
	}
	img, err := w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range refs {
		w.Name(layout.Image{Ref: ref, Platforms: []string{"linux/amd64"}}, img)
		if _, err := w.File("https://dl.lab.test/"+digest.FromString(ref).Encoded(), func(to io.Writer) error {
			_, err := io.WriteString(to, ref)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tree is every file below dir with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOrderOfWritingDoesNotMatter(t *testing.T) {
	refs := []string{"ghcr.io/a/a:1", "docker.io/b/b:1", "quay.io/c/c:2"}
	one := write(t, refs...)
	slices.Reverse(refs)
	two := write(t, refs...)
	if diff := cmp.Diff(tree(t, one.Dir), tree(t, two.Dir)); diff != "" {
		t.Errorf("layouts differ:\n%s", diff)
	}
}

func TestLayoutIsValid(t *testing.T) {
	l := write(t, "ghcr.io/a/a:1")
	idx, err := ggcr.ImageIndexFromPath(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(idx); err != nil {
		t.Error(err)
	}
	img, err := l.Catalog.Image("ghcr.io/a/a:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Refs()["ghcr.io/a/a:1"].Digest; got != img.Digest {
		t.Errorf("index.json says %s, the catalog %s", got, img.Digest)
	}
	f := l.Catalog.Files[0]
	data, err := os.ReadFile(filepath.Join(l.FileDir(), "dl.lab.test", filepath.Base(f.URL)))
	if err != nil || digest.FromBytes(data).Encoded() != f.SHA256 || int64(len(data)) != f.Size {
		t.Errorf("file is not what the catalog says: %v", err)
	}
}

func TestCompressions(t *testing.T) {
	content := bytes.Repeat([]byte("naru "), 10_000)
	for c, open := range map[layout.Compression]func(io.Reader) (io.Reader, error){
		layout.None: func(r io.Reader) (io.Reader, error) { return r, nil },
		layout.Gzip: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		layout.Zstd: func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		w, err := layout.NewWriter(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		l, err := w.Layer(c, "test", func(tw *tar.Writer) error {
			return layout.AddFile(tw, "f", 0o644, int64(len(content)), bytes.NewReader(content))
		})
		if err != nil {
			t.Fatal(err)
		}
		done, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		f, err := done.Open(l.Descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		r, err := open(f)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := digest.FromReader(r); err != nil || got != l.DiffID {
			t.Errorf("%s: tar has digest %s (%v), want %s", c, got, err, l.DiffID)
		}
	}
}

func TestNotFound(t *testing.T) {
	l := write(t, "ghcr.io/a/a:1")
	if _, err := l.Catalog.Image("ghcr.io/a/a:2"); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("image: %v", err)
	}
	if _, err := l.Catalog.File("https://dl.lab.test/none"); !errors.Is(err, layout.ErrNotFound) {
		t.Errorf("file: %v", err)
	}
	if _, err := layout.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
}

func TestFileRefusesPathsOutside(t *testing.T) {
	w, err := layout.NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"https://dl.lab.test/../x", "https://dl.lab.test/", "dl.lab.test/x", "https://dl.lab.test/a//b"} {
		if _, err := w.File(u, func(io.Writer) error { return nil }); err == nil {
			t.Errorf("%q was accepted", u)
		}
	}
}

func TestManifestIsVerified(t *testing.T) {
	l := write(t, "ghcr.io/a/a:1")
	d := l.Index.Manifests[0].Digest
	if _, err := l.Manifest(d); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.BlobDir(), "sha256", d.Encoded()), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Manifest(d); err == nil {
		t.Error("a changed manifest was returned")
	}
}
