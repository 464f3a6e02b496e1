package content_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/content"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// small is a recipe that has everything but etcd and is made in seconds.
func small() *content.Recipe {
	r := content.Default()
	r.Etcd = nil
	r.CNI.Commands = map[string]string{"loopback": r.CNI.Commands["loopback"], "host-local": r.CNI.Commands["host-local"]}
	r.Base = &content.Debian{Packages: []string{"base-files"}, All: []string{"netbase"}, Arches: r.Base.Arches}
	return &r
}

func build(t *testing.T, cache string, onStep func(string)) *layout.Layout {
	t.Helper()
	l, err := content.Build(t.Context(), content.Options{CacheDir: cache, Recipe: small(), OnStep: onStep})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestContent builds once and looks at the result from several sides.
func TestContent(t *testing.T) {
	cache := t.TempDir()
	l := build(t, cache, nil)
	t.Run("images are whole", func(t *testing.T) { checkImages(t, l) })
	t.Run("catalog", func(t *testing.T) { checkCatalog(t, l) })
	t.Run("checksums", func(t *testing.T) { checkSums(t, l) })
	t.Run("signatures", func(t *testing.T) { checkSignatures(t, l) })
	t.Run("referrers", func(t *testing.T) { checkReferrers(t, l) })
	t.Run("served", func(t *testing.T) { checkServed(t, l) })
	t.Run("warm", func(t *testing.T) {
		again := build(t, cache, func(step string) { t.Errorf("not from the cache: %s", step) })
		if again.Dir != l.Dir {
			t.Errorf("built twice: %q and %q", l.Dir, again.Dir)
		}
	})
	t.Run("same again", func(t *testing.T) {
		before, err := l.Catalog.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"content", "bin"} {
			if err := os.RemoveAll(filepath.Join(cache, part)); err != nil {
				t.Fatal(err)
			}
		}
		after, err := build(t, cache, nil).Catalog.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(before), string(after)); diff != "" {
			t.Errorf("second build differs (-first +second):\n%s", diff)
		}
	})
}

// checkImages reads every image down to the tar of its layers.
func checkImages(t *testing.T, l *layout.Layout) {
	mediaTypes := map[string]bool{}
	for ref, desc := range l.Refs() {
		walk(t, l, desc, func(d ocispec.Descriptor, m ocispec.Manifest) {
			mediaTypes[d.MediaType] = true
			var cfg ocispec.Image
			decode(t, l, m.Config, &cfg)
			image := m.Subject == nil && (m.Config.MediaType == ocispec.MediaTypeImageConfig || m.Config.MediaType == layout.DockerConfig)
			if image && len(m.Layers) != len(cfg.RootFS.DiffIDs) {
				t.Errorf("%s: %d layers, config names %d", ref, len(m.Layers), len(cfg.RootFS.DiffIDs))
				return
			}
			for i, layer := range m.Layers {
				mediaTypes[layer.MediaType] = true
				if !image {
					continue // charts, databases and signatures have no diff ids
				}
				if got := diffID(t, l, layer); got != cfg.RootFS.DiffIDs[i] {
					t.Errorf("%s: layer %d has diff id %s, config says %s", ref, i, got, cfg.RootFS.DiffIDs[i])
				}
			}
		})
	}
	for _, want := range []string{
		layout.DockerManifest, layout.DockerLayer, ocispec.MediaTypeImageManifest,
		ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		"application/vnd.in-toto+json", "application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.cyclonedx+json",
	} {
		if !mediaTypes[want] {
			t.Errorf("nothing of type %s", want)
		}
	}
}

// walk calls visit for every image manifest below desc.
func walk(t *testing.T, l *layout.Layout, desc ocispec.Descriptor, visit func(ocispec.Descriptor, ocispec.Manifest)) {
	t.Helper()
	data, err := l.Manifest(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if layout.IsIndex(desc.MediaType) {
		var idx ocispec.Index
		if err := json.Unmarshal(data, &idx); err != nil {
			t.Fatal(err)
		}
		for _, child := range idx.Manifests {
			walk(t, l, child, visit)
		}
		return
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	visit(desc, m)
}

func decode(t *testing.T, l *layout.Layout, desc ocispec.Descriptor, v any) {
	t.Helper()
	data, err := l.Manifest(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != desc.Size {
		t.Errorf("%s has %d bytes, descriptor says %d", desc.Digest, len(data), desc.Size)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// diffID unpacks a layer, reads it as a tar to its end, and hashes it.
func diffID(t *testing.T, l *layout.Layout, layer ocispec.Descriptor) digest.Digest {
	t.Helper()
	f, err := l.Open(layer.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var r io.Reader = f
	archive := true
	switch layer.MediaType {
	case ocispec.MediaTypeImageLayerGzip, layout.DockerLayer:
		r, err = gzip.NewReader(f)
	case ocispec.MediaTypeImageLayerZstd:
		r, err = zstd.NewReader(f)
	case ocispec.MediaTypeImageLayer:
	default:
		archive = false
	}
	if err != nil {
		t.Fatal(err)
	}
	dig := digest.Canonical.Digester()
	tee := io.TeeReader(r, dig.Hash())
	if archive {
		for tr := tar.NewReader(tee); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("layer %s: %v", layer.Digest, err)
			}
			if strings.HasPrefix(h.Name, "/") || h.Uid != 0 || h.Uname != "" {
				t.Errorf("layer %s: entry %q of %d %q", layer.Digest, h.Name, h.Uid, h.Uname)
			}
		}
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		t.Fatal(err)
	}
	return dig.Digest()
}

func checkCatalog(t *testing.T, l *layout.Layout) {
	for ref, platforms := range map[string][]string{
		"registry.k8s.io/pause:3.10":               {"linux/amd64"},
		"docker.io/library/busybox:1.35":           {"linux/amd64", "linux/arm64"},
		"ghcr.io/naru-lab/cni-plugins:v1.6.2":      {"linux/amd64", "linux/arm64"},
		"ghcr.io/naru-lab/cni-plugins:v1.6.2-tar":  {"linux/amd64", "linux/arm64"},
		"ghcr.io/naru-lab/cni-plugins:v1.6.2-zstd": {"linux/amd64", "linux/arm64"},
	} {
		img, err := l.Catalog.Image(ref)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(platforms, img.Platforms); diff != "" {
			t.Errorf("platforms of %s (-want +got):\n%s", ref, diff)
		}
	}
	for _, name := range []string{"base-files", "busybox-static", "netbase"} {
		if !slices.ContainsFunc(l.Catalog.Packages, func(p layout.Package) bool { return p.Name == name && p.Version != "" }) {
			t.Errorf("package %s is not recorded", name)
		}
	}
}

func checkSums(t *testing.T, l *layout.Layout) {
	sums, err := os.ReadFile(filepath.Join(l.FileDir(), "dl.lab.test", "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(sums)), "\n")
	if len(lines) != 2 {
		t.Errorf("%d checksums, want those of two archives", len(lines))
	}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, "  ")
		data, err := os.ReadFile(filepath.Join(l.FileDir(), "dl.lab.test", name))
		if err != nil {
			t.Fatal(err)
		}
		if digest.FromBytes(data).Encoded() != sum {
			t.Errorf("checksum of %s is wrong", name)
		}
	}
}

func checkSignatures(t *testing.T, l *layout.Layout) {
	data, err := content.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ref, desc := range l.Refs() {
		if !strings.HasSuffix(ref, ".sig") {
			continue
		}
		n++
		var m ocispec.Manifest
		decode(t, l, desc, &m)
		sig, err := base64.StdEncoding.DecodeString(m.Layers[0].Annotations["dev.cosignproject.cosign/signature"])
		if err != nil {
			t.Fatal(err)
		}
		payload, err := l.Manifest(m.Layers[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(payload)
		if !ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), sum[:], sig) {
			t.Errorf("%s does not verify", ref)
		}
		img, err := l.Catalog.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(payload, []byte(img.Subject)) {
			t.Errorf("%s does not speak of %s", ref, img.Subject)
		}
	}
	if n != 3 {
		t.Errorf("%d signatures, want those of an index and two images", n)
	}
}

func checkReferrers(t *testing.T, l *layout.Layout) {
	n := 0
	for _, img := range l.Catalog.Images {
		if img.ArtifactType == "" {
			continue
		}
		n++
		var m ocispec.Manifest
		decode(t, l, ocispec.Descriptor{Digest: img.Digest, Size: img.Size}, &m)
		var sbom struct{ Components []struct{ PURL string } }
		decode(t, l, m.Layers[0], &sbom)
		if m.Subject == nil || m.Subject.Digest != img.Subject || len(sbom.Components) < 3 {
			t.Errorf("%s: subject %v, %d components", img.Ref, m.Subject, len(sbom.Components))
		}
	}
	if n != 2 {
		t.Errorf("%d SBOMs, want those of two images", n)
	}
}

func checkServed(t *testing.T, l *layout.Layout) {
	u, err := upstream.Start(t.Context(), upstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := u.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	get := func(path string) []byte {
		resp, err := u.Client().Get(u.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("GET %s: status %d, error %v", path, resp.StatusCode, err)
		}
		return data
	}
	for _, img := range l.Catalog.Images {
		if repo, tag, ok := strings.Cut(img.Ref, ":"); ok && !strings.Contains(img.Ref, "@") {
			if got := digest.FromBytes(get("/v2/" + repo + "/manifests/" + tag)); got != img.Digest {
				t.Errorf("%s is served as %s, want %s", img.Ref, got, img.Digest)
			}
		}
	}
	for _, f := range l.Catalog.Files {
		if got := digest.FromBytes(get("/files/" + strings.TrimPrefix(f.URL, "https://"))); got.Encoded() != f.SHA256 {
			t.Errorf("%s is served as %s", f.URL, got)
		}
	}
}

func TestBuildStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cache := t.TempDir()
	if _, err := content.Build(ctx, content.Options{CacheDir: cache, Recipe: small()}); !errors.Is(err, context.Canceled) {
		t.Errorf("building: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestToolErrorSaysWhatTheToolSaid(t *testing.T) {
	r := content.Recipe{CNI: &content.GoModule{
		Module: "github.com/containernetworking/plugins", Version: "v1.6.2",
		Commands: map[string]string{"none": "plugins/none"}, Arches: []string{"amd64"},
	}}
	_, err := content.Build(t.Context(), content.Options{CacheDir: t.TempDir(), Recipe: &r})
	var tool *content.ToolError
	if !errors.As(err, &tool) || !strings.Contains(tool.Stderr, "plugins/none") {
		t.Errorf("building what is not there: %v", err)
	}
}
