package serve

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

var errDamaged = errors.New("damaged")

// bundle is a Content in memory.
type bundle struct {
	t     *testing.T
	blobs map[digest.Digest][]byte
	// damaged blobs fail before their last chunk, or at once after a seek.
	damaged map[digest.Digest]bool
	index   ocispec.Index
	seeks   atomic.Int64
	open    atomic.Int64
}

func newBundle(t *testing.T) *bundle {
	return &bundle{t: t, blobs: map[digest.Digest][]byte{}, damaged: map[digest.Digest]bool{}}
}

func (b *bundle) Index() ocispec.Index { return b.index }

func (b *bundle) Bundle() *manifest.Bundle {
	return &manifest.Bundle{Release: "test", Platforms: []string{"linux/amd64"}}
}

func (b *bundle) BlobSize(d digest.Digest) (int64, bool) {
	data, ok := b.blobs[d]
	return int64(len(data)), ok
}

func (b *bundle) BundleDigest() digest.Digest { return digest.FromString("bundle") }

func (b *bundle) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := b.blobs[d]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", d, fs.ErrNotExist)
	}
	b.open.Add(1)
	return &blobReader{Reader: bytes.NewReader(data), bundle: b, damaged: b.damaged[d]}, nil
}

const chunk = 64 << 10

type blobReader struct {
	*bytes.Reader
	bundle  *bundle
	damaged bool
	sought  bool
	closed  bool
}

func (r *blobReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if r.damaged && (r.sought || r.Len() <= chunk) {
		return 0, errDamaged
	}
	return r.Reader.Read(p[:min(len(p), chunk)])
}

func (r *blobReader) Seek(offset int64, whence int) (int64, error) {
	r.bundle.seeks.Add(1)
	r.sought = true
	return r.Reader.Seek(offset, whence)
}

func (r *blobReader) Close() error {
	if !r.closed {
		r.closed = true
		r.bundle.open.Add(-1)
	}
	return nil
}

// blob adds content.
func (b *bundle) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	b.blobs[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// json adds a document.
func (b *bundle) json(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.blob(mediaType, data)
}

// random is content of n bytes that depends on the seed alone.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// layerBytes is a gzipped tar with one file of n bytes.
func layerBytes(t *testing.T, n int, seed uint64) (data []byte, diffID digest.Digest) {
	t.Helper()
	var plain, packed bytes.Buffer
	tw := tar.NewWriter(&plain)
	err := tw.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(n)})
	_, werr := tw.Write(random(n, seed))
	if err := errors.Join(err, werr, tw.Close()); err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(&packed)
	_, err = zw.Write(plain.Bytes())
	if err := errors.Join(err, zw.Close()); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes(), digest.FromBytes(plain.Bytes())
}

// image adds an image manifest with layers of the given sizes.
func (b *bundle) image(arch string, seed uint64, sizes ...int) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var config ocispec.Image
	config.OS, config.Architecture = "linux", arch
	for i, n := range sizes {
		layer, diffID := layerBytes(b.t, n, seed+uint64(i))
		m.Layers = append(m.Layers, b.blob(ocispec.MediaTypeImageLayerGzip, layer))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
	}
	config.RootFS.Type = "layers"
	m.Config = b.json(ocispec.MediaTypeImageConfig, config)
	desc := b.json(ocispec.MediaTypeImageManifest, m)
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return desc
}

// list adds an index.
func (b *bundle) list(artifactType string, children ...ocispec.Descriptor) ocispec.Descriptor {
	return b.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		ArtifactType: artifactType, Manifests: children,
	})
}

// file adds a file artifact.
func (b *bundle) file(component, name, version, platform string, content []byte) ocispec.Descriptor {
	layer := b.blob("application/vnd.naru.file.layer.v1", content)
	layer.Annotations = map[string]string{ocispec.AnnotationTitle: name, annotationMode: "0755"}
	config := map[string]string{"name": name, "version": version, "component": component}
	if platform != "" {
		config["platform"] = platform
	}
	return b.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: fileArtifactType,
		Config: b.json("application/vnd.naru.file.config.v1+json", config), Layers: []ocispec.Descriptor{layer},
	})
}

// referrer adds an artifact about subject.
func (b *bundle) referrer(subject ocispec.Descriptor, artifactType string) ocispec.Descriptor {
	subject.Platform = nil
	return b.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: b.blob(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers: []ocispec.Descriptor{b.blob("text/plain", []byte("about "+subject.Digest.String()+artifactType))}, Subject: &subject,
		Annotations: map[string]string{"note": artifactType},
	})
}

// add lists a manifest in the index.
func (b *bundle) add(ref string, desc ocispec.Descriptor) {
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: ref}
	desc.Platform = nil
	b.index.Manifests = append(b.index.Manifests, desc)
}

func (b *bundle) drop(d digest.Digest) { delete(b.blobs, d) }

// serveBundles runs a server on loopback.
func serveBundles(t *testing.T, contents ...*bundle) (*httptest.Server, *Server) {
	t.Helper()
	opts := Options{}
	for _, b := range contents {
		opts.Contents = append(opts.Contents, b)
	}
	s, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		ts.Close()
		for _, b := range contents {
			if n := b.open.Load(); n != 0 {
				t.Errorf("%d blobs were left open", n)
			}
		}
	})
	return ts, s
}

// do sends a request and reads the answer whole.
func do(t *testing.T, method, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// code is the first error code of an answer.
func code(t *testing.T, body []byte) string {
	t.Helper()
	var doc struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(body, &doc); err != nil || len(doc.Errors) == 0 {
		t.Fatalf("%q is no error document: %v", body, err)
	}
	return doc.Errors[0].Code
}
