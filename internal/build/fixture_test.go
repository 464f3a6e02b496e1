package build_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/internal/build"
	"naru/internal/progress"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// Names of the tests' internet.
const (
	app    = "ghcr.io/naru/app"
	appRef = app + ":1.0"
	plain  = "quay.io/naru/plain:2"
	// layerSize is what each layer holds, in bytes.
	layerSize = 300_000
)

// world is a small internet, and the folders of a site that builds from it.
type world struct {
	*layout.Writer
	t       *testing.T
	up      *upstream.Upstream
	content string // the content file
	index   ocispec.Descriptor
	newer   ocispec.Descriptor // what the tag of app may move to
	// chart is the one that harbour published in a registry.
	chart ocispec.Descriptor
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld publishes two images, one of them in company, a file and an archive.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Writer: must(layout.NewWriter(t.TempDir()))(t), t: t}
	a, b := w.image("amd64", "app"), w.image("arm64", "app")
	w.index = must(w.Multi("", []ocispec.Descriptor{a, b}))(t)
	w.publish(appRef, w.index)
	w.newer = must(w.Multi("", []ocispec.Descriptor{w.image("amd64", "app, newer"), b}))(t)
	w.publish(app+":1.1", w.newer)
	w.publish(plain, w.image("amd64", "plain"))
	w.publish(app+":"+strings.Replace(w.index.Digest.String(), ":", "-", 1)+".sig", w.image("", "cosign"))
	subject := ocispec.Descriptor{MediaType: a.MediaType, Digest: a.Digest, Size: a.Size}
	sbom := must(w.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.cyclonedx+json", Subject: &subject}))(t)
	w.publish(app+"@"+sbom.Digest.String(), sbom)
	w.file("tool-amd64.tgz", "bin/tool")
	w.file("tool-arm64.tgz", "bin/tool")
	w.file("notes.tar.gz", "notes")
	l := must(w.Close())(t)
	w.up = must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir()}))(t)
	t.Cleanup(func() { _ = w.up.Close() })
	ok(t, w.up.Add(t.Context(), l))
	w.content = w.write("content.yaml", `apiVersion: naru/v1
kind: Content
name: small
platforms: [linux/amd64]
images:
  - ref: `+appRef+`
  - ref: `+plain+`
    platforms: [linux/amd64]
files:
  - name: tool
    version: 1.0.0
    sources:
      - platform: linux/amd64
        url: https://dl.lab.test/tool-amd64.tgz
        members: [{path: bin/tool, mode: "0755"}]
      - platform: linux/arm64
        url: https://dl.lab.test/tool-arm64.tgz
        members: [{path: bin/tool, mode: "0755"}]
  - name: notes
    version: 1.0.0
    sources: [{url: "https://dl.lab.test/notes.tar.gz"}]
`)
	return w
}

// write puts a file of the site into a folder of its own.
func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	ok(w.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (w *world) publish(ref string, desc ocispec.Descriptor) {
	w.Name(layout.Image{Ref: ref}, desc)
}

// image stores an image with a layer of its own.
func (w *world) image(arch, text string) ocispec.Descriptor {
	w.t.Helper()
	body := make([]byte, layerSize) // not compressible, so that volumes fill
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(text + arch))).Read(body)
	layer := must(w.Layer(layout.None, text, func(tw *tar.Writer) error {
		return layout.AddFile(tw, "file", 0o644, layerSize, bytes.NewReader(body))
	}))(w.t)
	platform := ocispec.Platform{Architecture: arch}
	if arch != "" {
		platform.OS = "linux"
	}
	return must(w.Image(layout.ImageSpec{Platform: platform, Layers: []layout.Layer{layer}}))(w.t)
}

// file publishes a tar.gz with one member.
func (w *world) file(name, member string) {
	w.t.Helper()
	must(w.File("https://dl.lab.test/"+name, func(to io.Writer) error {
		return layout.Gzipped(to, func(z io.Writer) error {
			tw := tar.NewWriter(z)
			if err := layout.AddFile(tw, member, 0o755, int64(len(name)), strings.NewReader(name)); err != nil {
				return err
			}
			return tw.Close()
		})
	}))(w.t)
}

// options build the whole content, unsigned, from and into fresh folders.
func (w *world) options() build.Options {
	w.t.Helper()
	o := build.Options{
		ContentFiles: []string{w.content},
		CacheDir:     w.t.TempDir(),
		OutDir:       filepath.Join(w.t.TempDir(), "out"),
		Remote:       remote.Options{CAFiles: []string{w.up.CAFile()}, Credentials: credentials.NewMemoryStore(), MaxWait: time.Millisecond, MaxAttempts: 2},
		RegistryMap:  map[string]string{"ghcr.io": "mirror.site"},
		Jobs:         4,
		Unsigned:     true,
		Now:          time.Unix(1_750_000_000, 0),
		Version:      "test",
	}
	for _, s := range w.up.RegistryMap() {
		o.Remote.Map = append(o.Remote.Map, must(remote.ParseMapping(s))(w.t))
	}
	return o
}

// run builds and expects no error.
func (w *world) run(o build.Options) *build.Result {
	w.t.Helper()
	return must(build.Build(w.t.Context(), o))(w.t)
}

// closed ends the internet and forgets what was asked of it.
func (w *world) closed() {
	w.t.Helper()
	ok(w.t, w.up.Close())
	w.up.ResetRequests()
}

// newSigner makes a key pair and a signer over it; pub is the public key's file.
func newSigner(t *testing.T) (signer *sign.Signer, pub string) {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "cosign")
	password := func(context.Context, bool) ([]byte, error) { return []byte("test"), nil }
	pair := must(sign.GenerateKeyPair(t.Context(), prefix, password))(t)
	return must(sign.LoadSigner(t.Context(), pair.PrivatePath, password))(t), pair.PublicPath
}

// tree is what lies in a folder: path to digest and mode. A folder that does not
// exist is empty.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if _, err := os.Stat(dir); err != nil {
		return out
	}
	ok(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = fmt.Sprintf("%s %v", digest.FromBytes(data), info.Mode())
		return err
	}))
	return out
}

// cancelAfter is a progress.Observer that cancels once n bytes were seen.
type cancelAfter struct {
	progress.Nop
	n      int64
	seen   atomic.Int64
	cancel context.CancelFunc
}

func (c *cancelAfter) Add(n int64) {
	if c.seen.Add(n) >= c.n {
		c.cancel()
	}
}
