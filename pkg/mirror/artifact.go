package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"github.com/opencontainers/image-spec/specs-go"

	"naru/manifest"
	"naru/pkg/mirror/store"
)

// noTime is the creation time of artifacts that naru makes, so that they depend
// on their content alone.
const noTime = "1970-01-01T00:00:00Z"

// Artifact is an OCI artifact in the store.
type Artifact struct {
	// Ref is what it is called in a bundle, "naru/files/<component>/<name>:<tag>".
	Ref string
	// Descriptor of its manifest, or of an index over one a platform.
	Descriptor ocispec.Descriptor
	Manifests  []ocispec.Descriptor
	Blobs      []ocispec.Descriptor
}

// ErrNoSource says that an artifact was asked for out of no files.
var ErrNoSource = errors.New("making the artifact of a file: no source given")

// FileArtifact makes the OCI artifact of a file from its sources, one a platform.
// All must be of the same component, name and version. The result depends on the
// files alone. Without a source it is ErrNoSource.
func (m *Mirror) FileArtifact(ctx context.Context, sources []*StoredFile) (*Artifact, error) {
	if len(sources) == 0 {
		return nil, ErrNoSource
	}
	first := sources[0]
	a := &Artifact{Ref: fmt.Sprintf("naru/files/%s/%s:%s", first.Component, first.Name, FileTag(first.Version))}
	var children []ocispec.Descriptor
	for _, f := range sources {
		desc, err := m.packFile(ctx, f, a)
		if err != nil {
			return nil, fmt.Errorf("making the artifact of file %q: %w", f.Name, err)
		}
		children = append(children, desc)
	}
	if len(children) == 1 && sources[0].Platform == nil {
		a.Descriptor = children[0]
		return a, nil
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: FileArtifactType, Manifests: children}
	data, err := manifest.EncodeJSON(index)
	if err != nil {
		return nil, err
	}
	d, err := m.store.PutBytes(ctx, data)
	if err != nil {
		return nil, err
	}
	a.Descriptor = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, ArtifactType: FileArtifactType, Digest: d, Size: int64(len(data))}
	a.Manifests = append(a.Manifests, a.Descriptor)
	return a, nil
}

// packFile makes the manifest of one platform's file and notes its parts in a.
func (m *Mirror) packFile(ctx context.Context, f *StoredFile, a *Artifact) (ocispec.Descriptor, error) {
	platform := ""
	if f.Platform != nil {
		platform = manifest.FormatPlatform(*f.Platform)
	}
	config, err := f.config(platform)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := m.store.PutBytes(ctx, config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	configDesc := ocispec.Descriptor{MediaType: FileConfigMediaType, Digest: d, Size: int64(len(config))}
	desc, err := oras.PackManifest(ctx, pusher{m.store}, oras.PackManifestVersion1_1, FileArtifactType, oras.PackManifestOptions{
		ConfigDescriptor:    &configDesc,
		Layers:              f.Content,
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: noTime},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc = ocispec.Descriptor{MediaType: desc.MediaType, ArtifactType: FileArtifactType, Digest: desc.Digest, Size: desc.Size}
	a.Manifests = append(a.Manifests, desc)
	a.Blobs = append(append(a.Blobs, configDesc), f.Content...)
	desc.Platform = f.Platform
	return desc, nil
}

// pusher lets oras-go write manifests into the store.
type pusher struct{ store *store.Store }

// Push stores what r holds when it has the digest of desc.
func (p pusher) Push(ctx context.Context, desc ocispec.Descriptor, r io.Reader) error {
	data, err := readAll(r, maxManifest)
	if err != nil {
		return err
	}
	got, err := p.store.PutBytes(ctx, bytes.Clone(data))
	if err == nil && got != desc.Digest {
		err = &MismatchError{Source: "oras-go", Want: desc.Digest, Got: got}
	}
	return err
}
