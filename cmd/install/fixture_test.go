package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// appRef is the image in the tests' bundles, of two platforms.
const appRef = "ghcr.io/naru/app:1.0"

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

// buffer may be written and read at the same time.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// run runs the program in this process.
func run(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr buffer
	code := runIn(t.Context(), &stdout, &stderr, args...)
	return outcome{code, stdout.String(), stderr.String()}
}

// runIn allows the bundles of newMedium, which nobody scanned.
func runIn(ctx context.Context, stdout, stderr *buffer, args ...string) int {
	if args[0] == "push" || args[0] == "serve" {
		args = append(args, "--allow-unscanned")
	}
	return cli.Program{Root: newRoot(), Judge: judge}.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: stdout, Err: stderr})
}

// result decodes the JSON on standard output of a run that must have ended well.
func result[V any](t *testing.T, o outcome) V {
	t.Helper()
	var v V
	if o.code != 0 {
		t.Fatalf("exit code %d\n%s", o.code, o.stderr)
	}
	ok(t, json.Unmarshal([]byte(o.stdout), &v))
	return v
}

// expect checks exit code and standard error of a run that fails.
func expect(t *testing.T, o outcome, code int, says ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s", o.code, code, o.stderr)
	}
	for _, s := range append(says, "error: ") {
		if !strings.Contains(o.stderr, s) {
			t.Errorf("%q is not said:\n%s", s, o.stderr)
		}
	}
	if o.stdout != "" {
		t.Errorf("a run that failed wrote a result: %s", o.stdout)
	}
}

// newKey makes a key pair and returns a signer and the file of its public key.
func newKey(t *testing.T) (*sign.Signer, string) {
	t.Helper()
	password := func(context.Context, bool) ([]byte, error) { return []byte("test"), nil }
	pair := must(sign.GenerateKeyPair(t.Context(), filepath.Join(t.TempDir(), "cosign"), password))(t)
	return must(sign.LoadSigner(t.Context(), pair.PrivatePath, password))(t), pair.PublicPath
}

// medium is what was carried in: a bundle and the key of who signed it.
type medium struct {
	dir, pub string
	built    *build.Result
	image    ocispec.Descriptor // the index of appRef
}

// newMedium builds a bundle of one platform out of two; its internet is gone when
// it returns. sign chooses whether it is signed.
func newMedium(t *testing.T, signed bool) *medium {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	w := must(layout.NewWriter(t.TempDir()))(t)
	var children []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		body := make([]byte, 300_000)
		_, _ = rand.NewChaCha8(sha256.Sum256([]byte(arch))).Read(body)
		layer := must(w.Layer(layout.Gzip, arch, func(tw *tar.Writer) error {
			return layout.AddFile(tw, "file", 0o644, int64(len(body)), bytes.NewReader(body))
		}))(t)
		children = append(children, must(w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}}))(t))
	}
	m := &medium{dir: filepath.Join(t.TempDir(), "medium"), image: must(w.Multi("", children))(t)}
	w.Name(layout.Image{Ref: appRef}, m.image)
	l := must(w.Close())(t)
	up := must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir()}))(t)
	defer func() { _ = up.Close() }()
	ok(t, up.Add(t.Context(), l))

	content := filepath.Join(t.TempDir(), "content.yaml")
	ok(t, os.WriteFile(content, []byte("apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\nimages: [{ref: '"+appRef+"'}]\n"), 0o600))
	o := build.Options{ContentFiles: []string{content}, CacheDir: t.TempDir(), OutDir: m.dir, Unsigned: !signed, VolumeSize: 350_000,
		Remote: remote.Options{CAFiles: []string{up.CAFile()}, Credentials: credentials.NewMemoryStore()}}
	for _, s := range up.RegistryMap() {
		o.Remote.Map = append(o.Remote.Map, must(remote.ParseMapping(s))(t))
	}
	signer, pub := newKey(t)
	if m.pub = pub; signed {
		o.Signer = signer
	}
	m.built = must(build.Build(t.Context(), o))(t)
	return m
}
