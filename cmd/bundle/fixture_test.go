package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/cli"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

const (
	app    = "ghcr.io/naru/app"
	appRef = app + ":1.0"
	// keyPassword protects the tests' signing keys.
	keyPassword = "correct-horse-battery-9f3a"
)

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

// outcome is how a run of the program ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// bundle runs the program in this process.
func bundle(t *testing.T, args ...string) outcome {
	t.Helper()
	return bundleIn(t.Context(), args...)
}

func bundleIn(ctx context.Context, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := cli.Program{Root: newRoot(), Judge: judge}.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return outcome{code, stdout.String(), stderr.String()}
}

// result decodes the JSON on standard output of a run that must have ended well.
func result[V any](t *testing.T, o outcome) V {
	t.Helper()
	var v V
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	ok(t, dec.Decode(&v))
	if _, err := dec.Token(); err != io.EOF {
		t.Errorf("there is more than one document on standard output: %s", o.stdout)
	}
	return v
}

// world is a site with a small internet, a content file and a key.
type world struct {
	*layout.Writer
	t                 *testing.T
	up                *upstream.Upstream
	dir, content, key string
	image, newer      ocispec.Descriptor
	// scans lets builds scan.
	scans bool
}

// newWorld publishes one image with an SBOM, and one archive.
func newWorld(t *testing.T, opts upstream.Options) *world {
	t.Helper()
	return newWorldWith(t, opts, func(*world) {})
}

// newWorldWith publishes what more adds as well.
func newWorldWith(t *testing.T, opts upstream.Options, more func(*world)) *world {
	t.Helper()
	w := &world{Writer: must(layout.NewWriter(t.TempDir()))(t), t: t, dir: t.TempDir()}
	t.Setenv("COSIGN_PASSWORD", keyPassword)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("SOURCE_DATE_EPOCH", "1750000000")
	w.image, w.newer = w.platform("amd64", "old"), w.platform("amd64", "new")
	w.Name(layout.Image{Ref: appRef}, must(w.Multi("", []ocispec.Descriptor{w.image}))(t))
	w.Name(layout.Image{Ref: app + ":newer"}, must(w.Multi("", []ocispec.Descriptor{w.newer}))(t))
	subject := ocispec.Descriptor{MediaType: w.image.MediaType, Digest: w.image.Digest, Size: w.image.Size}
	sbom := must(w.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.cyclonedx+json", Subject: &subject}))(t)
	w.Name(layout.Image{Ref: app + "@" + sbom.Digest.String()}, sbom)
	must(w.File("https://dl.lab.test/tool.tgz", func(to io.Writer) error {
		return layout.Gzipped(to, func(z io.Writer) error {
			tw := tar.NewWriter(z)
			if err := layout.AddFile(tw, "bin/tool", 0o755, 8, strings.NewReader("the tool")); err != nil {
				return err
			}
			more(w)
			return tw.Close()
		})
	}))(t)
	w.huge()
	l := must(w.Close())(t)
	opts.Dir = t.TempDir()
	w.up = must(upstream.Start(t.Context(), opts))(t)
	t.Cleanup(func() { _ = w.up.Close() })
	ok(t, w.up.Add(t.Context(), l))
	w.content = w.write("content.yaml", contentOf("{ref: '"+appRef+"'}")+
		"files: [{name: tool, version: '1', sources: [{url: 'https://dl.lab.test/tool.tgz', members: [{path: bin/tool, mode: '0755'}]}]}]\n")
	w.key = w.newKey("cosign")
	return w
}

// contentOf is a content file with one image.
func contentOf(image string) string {
	return "apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\nimages: [" + image + "]\n"
}

// platform stores an image with a layer of 300 kB.
func (w *world) platform(arch, seed string) ocispec.Descriptor {
	w.t.Helper()
	body := make([]byte, 300_000)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(body)
	layer := must(w.Layer(layout.None, seed, func(tw *tar.Writer) error {
		return layout.AddFile(tw, "file", 0o644, int64(len(body)), bytes.NewReader(body))
	}))(w.t)
	return must(w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}}))(w.t)
}

// huge publishes an image that no disk of ours holds.
func (w *world) huge() {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	m.Config = must(w.JSON(ocispec.MediaTypeImageConfig, ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}))(w.t)
	for i := range 64 {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(string(rune('a' + i))), Size: 1 << 39})
	}
	w.Name(layout.Image{Ref: "ghcr.io/naru/huge:1"}, must(w.JSON(m.MediaType, m))(w.t))
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	ok(w.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// newKey makes a key pair with bundle keygen and returns its path without suffix.
func (w *world) newKey(name string) string {
	w.t.Helper()
	prefix := filepath.Join(w.t.TempDir(), name)
	if o := bundle(w.t, "keygen", "--out-prefix", prefix); o.code != 0 {
		w.t.Fatalf("keygen: %s", o.stderr)
	}
	return prefix
}

func (w *world) out() string { return filepath.Join(w.dir, "out") }

// args are those of build or lock from the small internet.
func (w *world) args(command, content string, more ...string) []string {
	args := []string{command, "-f", content, "--cache", filepath.Join(w.dir, "cache"), "--ca-file", w.up.CAFile()}
	if command == "build" && !w.scans {
		args = append(args, "--no-scan")
	}
	for _, m := range w.up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	return append(args, more...)
}

// build are the arguments of a signed build of the content file into out.
func (w *world) build(more ...string) []string {
	return w.args("build", w.content, append([]string{"--key", w.key + ".key", "--no-installer", "--out", w.out()}, more...)...)
}

// volume is the bundle's only volume.
func (w *world) volume() string {
	w.t.Helper()
	list := must(filepath.Glob(filepath.Join(w.out(), "*.tar.zst")))(w.t)
	if len(list) != 1 {
		w.t.Fatalf("volumes: %v, want one", list)
	}
	return list[0]
}
