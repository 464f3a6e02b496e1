package mirror_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
	"naru/pkg/mirror/store"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// repo is where the tests' images are published.
const repo = "ghcr.io/naru/app"

var (
	amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ocispec.Platform{OS: "linux", Architecture: "arm64"}
)

// world is a small internet and a mirror of it, spoken to by the real client.
type world struct {
	*layout.Writer
	t  *testing.T
	up *upstream.Upstream
	// cache is the folder of the store.
	cache string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := layout.NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &world{Writer: w, t: t, cache: t.TempDir()}
}

// must returns v when there is no error.
func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// image stores an image of one layer that holds text.
func (w *world) image(p ocispec.Platform, text string) ocispec.Descriptor {
	w.t.Helper()
	layer := must(w.Layer(layout.Gzip, text, func(tw *tar.Writer) error {
		return layout.AddFile(tw, "file", 0o644, int64(len(text)), strings.NewReader(text))
	}))(w.t)
	return must(w.Image(layout.ImageSpec{Platform: p, Layers: []layout.Layer{layer}}))(w.t)
}

// attestation is a manifest such as buildkit puts beside an image in its index.
func (w *world) attestation(of ocispec.Descriptor) ocispec.Descriptor {
	w.t.Helper()
	desc := w.image(ocispec.Platform{OS: "unknown", Architecture: "unknown"}, "provenance of "+of.Digest.String())
	desc.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest.String()}
	return desc
}

// artifact stores a referrer of subject.
func (w *world) artifact(subject ocispec.Descriptor, kind string) ocispec.Descriptor {
	w.t.Helper()
	layer := must(w.Bytes("application/json", []byte(kind+" of "+subject.Digest.String())))(w.t)
	subject = ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	desc := must(w.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.test." + kind, Layers: []ocispec.Descriptor{layer}, Subject: &subject}))(w.t)
	w.publish("@"+desc.Digest.String(), desc)
	return desc
}

// publish names a manifest repo plus suffix, ":tag" or "@digest".
func (w *world) publish(suffix string, desc ocispec.Descriptor) {
	w.Name(layout.Image{Ref: repo + suffix}, desc)
}

// file publishes data and returns its URL.
func (w *world) file(name string, data []byte) string {
	w.t.Helper()
	return must(w.File("https://dl.lab.test/"+name, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	}))(w.t).URL
}

// open ends publishing and starts the internet.
func (w *world) open() {
	w.t.Helper()
	l := must(w.Close())(w.t)
	w.up = must(upstream.Start(w.t.Context(), upstream.Options{}))(w.t)
	w.t.Cleanup(func() { _ = w.up.Close() })
	if err := w.up.Add(w.t.Context(), l); err != nil {
		w.t.Fatal(err)
	}
}

// mirror is a new one over the world's cache.
func (w *world) mirror(opts mirror.Options) (*mirror.Mirror, *store.Store) {
	w.t.Helper()
	ropts := remote.Options{CAFiles: []string{w.up.CAFile()}, Credentials: credentials.NewMemoryStore(), MaxWait: time.Millisecond, MaxAttempts: 3}
	for _, s := range w.up.RegistryMap() {
		ropts.Map = append(ropts.Map, must(remote.ParseMapping(s))(w.t))
	}
	client := must(remote.New(ropts))(w.t)
	w.t.Cleanup(client.CloseIdle)
	st := must(store.Open(w.cache))(w.t)
	w.t.Cleanup(func() { _ = st.Close() })
	opts.Jobs = 4
	return mirror.New(client, st, opts), st
}

// requests are those of all blobs of an image.
func requests(img *mirror.ResolvedImage) []mirror.BlobRequest {
	var out []mirror.BlobRequest
	for _, d := range img.Blobs {
		out = append(out, mirror.BlobRequest{Name: img.Ref.Name(), Descriptor: d})
	}
	return out
}

// fetch resolves an image and fetches all of it.
func fetch(t *testing.T, m *mirror.Mirror, img mirror.Image) *mirror.ResolvedImage {
	t.Helper()
	resolved := must(m.ResolveImage(t.Context(), img))(t)
	if err := m.FetchBlobs(t.Context(), requests(resolved)); err != nil {
		t.Fatal(err)
	}
	return resolved
}

func digests(list []ocispec.Descriptor) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, d := range list {
		out[d.Digest] = true
	}
	return out
}

// rot flips a bit of a cached blob.
func (w *world) rot(d digest.Digest) {
	w.t.Helper()
	path := filepath.Join(w.cache, "blobs", "sha256", d.Encoded())
	data := must(os.ReadFile(path))(w.t)
	data[len(data)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// tarOf makes a tar of entries, in order.
func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, h := range entries {
		text := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Typeflag = tar.TypeReg
			text = h.Uname // the content travels in a field the tests do not need
			h.Uname, h.Size = "", int64(len(text))
		}
		h.Mode = 0o644
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// entry is a regular file of a tar.
func entry(name, text string) tar.Header { return tar.Header{Name: name, Uname: text} }

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// push puts a document that no Writer would make into the internet's registry.
func push(t *testing.T, w *world, mediaType string, data []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(data)
	path := "/v2/" + repo + "/manifests/" + d.String()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPut, w.up.URL()+path, bytes.NewReader(data)))(t)
	req.Header.Set("Content-Type", mediaType)
	resp := must(w.up.Client().Do(req))(t)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("pushing a manifest: %s: %s", resp.Status, body)
	}
	return d
}

// corrupt makes the internet serve a blob with one bit flipped.
func corrupt(t *testing.T, w *world, d digest.Digest) {
	t.Helper()
	if err := w.up.Inject(upstream.Fault{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: d.Encoded()}}); err != nil {
		t.Fatal(err)
	}
}
