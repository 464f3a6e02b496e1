package layout

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types, beside those of OCI.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Epoch is the time of everything the lab makes, so that the same input gives
// the same bytes.
func Epoch() time.Time { return time.Date(2025, time.May, 20, 0, 0, 0, 0, time.UTC) }

// Compression is how a layer is stored.
type Compression string

// The compressions of OCI layers.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

func (c Compression) mediaType() string {
	switch c {
	case Gzip:
		return ocispec.MediaTypeImageLayerGzip
	case Zstd:
		return ocispec.MediaTypeImageLayerZstd
	default:
		return ocispec.MediaTypeImageLayer
	}
}

// Layer is a stored layer: its descriptor and the digest of its tar.
type Layer struct {
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest
	// CreatedBy goes into the history of the image.
	CreatedBy string
}

// Layer stores the tar that write writes, compressed as c says.
func (w *Writer) Layer(c Compression, createdBy string, write func(*tar.Writer) error) (Layer, error) {
	diff := digest.Canonical.Digester()
	desc, err := w.Blob(c.mediaType(), func(to io.Writer) error {
		z, err := compress(to, c)
		if err != nil {
			return err
		}
		tw := tar.NewWriter(io.MultiWriter(z, diff.Hash()))
		if err := write(tw); err != nil {
			return err
		}
		if err := tw.Close(); err != nil {
			return err
		}
		return z.Close()
	})
	if err != nil {
		return Layer{}, fmt.Errorf("writing layer %q: %w", createdBy, err)
	}
	return Layer{Descriptor: desc, DiffID: diff.Digest(), CreatedBy: createdBy}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func compress(to io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{to}, nil
	case Gzip:
		return gzip.NewWriter(to), nil
	case Zstd:
		return zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	default:
		return nil, fmt.Errorf("unknown compression %q", c)
	}
}

// Gzipped compresses what write writes, the same way each time.
func Gzipped(to io.Writer, write func(io.Writer) error) error {
	z := gzip.NewWriter(to)
	if err := write(z); err != nil {
		return err
	}
	return z.Close()
}

// AddFile appends a regular file of the given size, owned by root and of the
// lab's epoch, to a tar.
func AddFile(tw *tar.Writer, name string, mode int64, size int64, r io.Reader) error {
	h := &tar.Header{Name: name, Mode: mode, Size: size, ModTime: Epoch(), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}
	if _, err := io.Copy(tw, r); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}
	return nil
}

// AddDirs appends the folders above name, outermost first, that seen does not
// hold yet.
func AddDirs(tw *tar.Writer, seen map[string]bool, name string) error {
	dir := path.Dir(name)
	if dir == "." || dir == "/" || seen[dir] {
		return nil
	}
	if err := AddDirs(tw, seen, dir); err != nil {
		return err
	}
	seen[dir] = true
	h := &tar.Header{Name: dir + "/", Mode: 0o755, ModTime: Epoch(), Typeflag: tar.TypeDir, Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("adding %q: %w", dir, err)
	}
	return nil
}

// Dialect chooses the media types of manifests.
type Dialect string

// Images are described in OCI's or in Docker's terms.
const (
	OCI    Dialect = "oci"
	Docker Dialect = "docker"
)

// ImageSpec describes one single-platform image.
type ImageSpec struct {
	Dialect     Dialect // OCI if empty
	Platform    ocispec.Platform
	Config      ocispec.ImageConfig
	Layers      []Layer
	Annotations map[string]string
}

// Image stores config and manifest of an image; the descriptor carries the platform.
func (w *Writer) Image(s ImageSpec) (ocispec.Descriptor, error) {
	created := Epoch()
	cfg := ocispec.Image{Created: &created, Author: "naru lab", Platform: s.Platform, Config: s.Config}
	cfg.RootFS.Type = "layers"
	m := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Annotations: s.Annotations,
	}
	for _, l := range s.Layers {
		cfg.RootFS.DiffIDs = append(cfg.RootFS.DiffIDs, l.DiffID)
		cfg.History = append(cfg.History, ocispec.History{Created: &created, CreatedBy: l.CreatedBy})
		d := l.Descriptor
		if s.Dialect == Docker {
			d.MediaType = DockerLayer
		}
		m.Layers = append(m.Layers, d)
	}
	configType := ocispec.MediaTypeImageConfig
	if s.Dialect == Docker {
		m.MediaType, configType = DockerManifest, DockerConfig
	}
	var err error
	if m.Config, err = w.JSON(configType, cfg); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := w.JSON(m.MediaType, m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc.Platform = &s.Platform
	return desc, nil
}

// Multi stores an index, or a manifest list in Docker's dialect, of children in
// the given order.
func (w *Writer) Multi(dialect Dialect, children []ocispec.Descriptor) (ocispec.Descriptor, error) {
	idx := emptyIndex()
	idx.Manifests = children
	if dialect == Docker {
		idx.MediaType = DockerManifestList
	}
	return w.JSON(idx.MediaType, idx)
}

// ArtifactSpec describes an OCI 1.1 artifact.
type ArtifactSpec struct {
	ArtifactType string
	Layers       []ocispec.Descriptor
	Subject      *ocispec.Descriptor
	Annotations  map[string]string
}

// Artifact stores an artifact with the empty config.
func (w *Writer) Artifact(s ArtifactSpec) (ocispec.Descriptor, error) {
	empty := ocispec.DescriptorEmptyJSON
	if _, err := w.Bytes(empty.MediaType, empty.Data); err != nil {
		return ocispec.Descriptor{}, err
	}
	empty.Data = nil
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: s.ArtifactType,
		Config:       empty,
		Layers:       s.Layers,
		Subject:      s.Subject,
		Annotations:  s.Annotations,
	}
	desc, err := w.JSON(m.MediaType, m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc.ArtifactType = s.ArtifactType
	return desc, nil
}

// Typed stores a manifest with an empty JSON document of configType as its config, as
// artifacts were made before OCI 1.1.
func (w *Writer) Typed(configType string, layers ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	config, err := w.Bytes(configType, []byte("{}"))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return w.JSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    layers,
	})
}
