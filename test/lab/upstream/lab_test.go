package upstream_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

const fileURL = "https://dl.lab.test/tools/tool-v1.bin"

// lab is a running upstream with one two-platform image, a referrer and a file.
type lab struct {
	*upstream.Upstream
	client *http.Client
	blob   []byte // a layer of the image
	blobID digest.Digest
	image  layout.Image
	file   []byte
}

func start(t *testing.T, opts upstream.Options) *lab {
	t.Helper()
	u, err := upstream.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Errorf("closing upstream: %v", err)
		}
	})
	l := &lab{Upstream: u, client: u.Client()}
	l.fill(t)
	t.Cleanup(l.client.CloseIdleConnections)
	return l
}

func (l *lab) fill(t *testing.T) {
	t.Helper()
	w, err := layout.NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(content)
	l.file = content[:100_000]
	var children []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		layer, err := w.Layer(layout.Gzip, "test", func(tw *tar.Writer) error {
			return layout.AddFile(tw, "bin-"+arch, 0o755, int64(len(content)), bytes.NewReader(content))
		})
		if err != nil {
			t.Fatal(err)
		}
		l.blobID = layer.Descriptor.Digest
		d, err := w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}})
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, d)
	}
	idx, err := w.Multi(layout.OCI, children)
	if err != nil {
		t.Fatal(err)
	}
	w.Name(layout.Image{Ref: "ghcr.io/lab/app:v1", Platforms: []string{"linux/amd64", "linux/arm64"}}, idx)
	note, err := w.Bytes("text/plain", []byte("a note"))
	if err != nil {
		t.Fatal(err)
	}
	subject := ocispec.Descriptor{MediaType: idx.MediaType, Digest: idx.Digest, Size: idx.Size}
	art, err := w.Artifact(layout.ArtifactSpec{ArtifactType: "application/x-note", Layers: []ocispec.Descriptor{note}, Subject: &subject})
	if err != nil {
		t.Fatal(err)
	}
	w.Name(layout.Image{Ref: "ghcr.io/lab/app@" + art.Digest.String(), Subject: idx.Digest}, art)
	if _, err := w.File(fileURL, func(to io.Writer) error { _, err := to.Write(l.file); return err }); err != nil {
		t.Fatal(err)
	}
	done, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if l.image, err = done.Catalog.Image("ghcr.io/lab/app:v1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	f, err := done.Open(l.blobID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if l.blob, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) blobPath() string { return "/v2/ghcr.io/lab/app/blobs/" + l.blobID.String() }

const (
	tagPath  = "/v2/ghcr.io/lab/app/manifests/v1"
	filePath = "/files/dl.lab.test/tools/tool-v1.bin"
)

// reply is an answer as far as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // of the request or of reading the body
}

func (l *lab) do(ctx context.Context, method, path, rng string) reply {
	req, err := http.NewRequestWithContext(ctx, method, l.URL()+path, nil)
	if err != nil {
		return reply{err: err}
	}
	if rng != "" {
		req.Header.Set("Range", rng)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: body, err: err}
}

func (l *lab) get(t *testing.T, path, rng string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return l.do(ctx, http.MethodGet, path, rng)
}

func (l *lab) inject(t *testing.T, f upstream.Fault) {
	t.Helper()
	if err := l.Inject(f); err != nil {
		t.Fatal(err)
	}
}
