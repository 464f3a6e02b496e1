package mirror

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"

	"naru/manifest"
)

// Pack is an artifact to be made: an index over one manifest a platform.
type Pack struct {
	// Ref is what it is called in a bundle.
	Ref                           string
	ArtifactType, ConfigMediaType string
	Parts                         []Part
}

// Part is an artifact's manifest for one platform.
type Part struct {
	// Platform is "os/arch[/variant]".
	Platform string
	Config   []byte
	Layers   []ocispec.Descriptor
}

// SetConfig encodes the config document.
func (p *Part) SetConfig(doc any) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encoding a config: %w", err)
	}
	p.Config = data
	return nil
}

// PackParts makes an artifact whose layers lie in the store. It depends on its parts
// alone.
func (m *Mirror) PackParts(ctx context.Context, p Pack) (*Artifact, error) {
	a := &Artifact{Ref: p.Ref}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, ArtifactType: p.ArtifactType}
	for _, part := range p.Parts {
		desc, err := m.packPart(ctx, p, part, a)
		if err != nil {
			return nil, fmt.Errorf("making artifact %q: %w", p.Ref, err)
		}
		index.Manifests = append(index.Manifests, desc)
	}
	data, err := manifest.EncodeJSON(index)
	if err != nil {
		return nil, err
	}
	d, err := m.store.PutBytes(ctx, data)
	if err != nil {
		return nil, err
	}
	a.Descriptor = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, ArtifactType: p.ArtifactType, Digest: d, Size: int64(len(data))}
	a.Manifests = append(a.Manifests, a.Descriptor)
	return a, nil
}

func (m *Mirror) packPart(ctx context.Context, p Pack, part Part, a *Artifact) (ocispec.Descriptor, error) {
	platform, err := manifest.ParsePlatform(part.Platform)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d, err := m.store.PutBytes(ctx, part.Config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	config := ocispec.Descriptor{MediaType: p.ConfigMediaType, Digest: d, Size: int64(len(part.Config))}
	desc, err := oras.PackManifest(ctx, pusher{m.store}, oras.PackManifestVersion1_1, p.ArtifactType, oras.PackManifestOptions{
		ConfigDescriptor:    &config,
		Layers:              part.Layers,
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: noTime},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc = ocispec.Descriptor{MediaType: desc.MediaType, ArtifactType: p.ArtifactType, Digest: desc.Digest, Size: desc.Size}
	a.Manifests = append(a.Manifests, desc)
	a.Blobs = append(append(a.Blobs, config), part.Layers...)
	desc.Platform = &platform
	return desc, nil
}
