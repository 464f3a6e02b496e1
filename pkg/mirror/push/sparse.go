package push

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// AnnotationOriginal names, on an index that naru built over carried platforms,
// the digest of the upstream index.
const AnnotationOriginal = "vnd.naru.original"

// Fallback is what a tag gets where the registry refuses a sparse index.
type Fallback struct {
	Descriptor ocispec.Descriptor `json:"descriptor"`
	// Built says that Descriptor is an index made by naru; otherwise it is the
	// one carried platform manifest.
	Built bool `json:"built"`

	data []byte // of a built index
}

// StandIn is what a registry that refuses sparse indexes gets for an entry of the
// index of content; nil for an entry that is whole, and for one of which nothing is
// carried.
func StandIn(ctx context.Context, content Content, desc ocispec.Descriptor) (*Fallback, error) {
	p := &planner{plan: &Plan{source: source{content}}, manifests: map[digest.Digest]*Manifest{}, docs: map[digest.Digest]*manifestDoc{}}
	a, err := p.artifact(ctx, desc)
	if err != nil {
		return nil, err
	}
	return a.Fallback, nil
}

// sparse tells whether some index of the artifact lacks children.
func (a *Artifact) sparse() bool {
	for _, m := range a.Manifests {
		if len(m.Absent) > 0 {
			return true
		}
	}
	return false
}

// rawIndex is an index whose descriptors keep their bytes.
type rawIndex struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []json.RawMessage `json:"manifests"`
	Subject       json.RawMessage   `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// fallback makes the stand-in for the sparse index of a: the platform manifest
// when one is carried, else an index over the carried children. Its bytes depend
// on the original and on what is carried alone. It is nil when nothing is carried.
func (p *planner) fallback(ctx context.Context, a *Artifact) (*Fallback, error) {
	root := a.Descriptor
	data, err := p.plan.source.readManifest(ctx, root)
	if err != nil {
		return nil, err
	}
	var index rawIndex
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, &Error{Op: "parsing index", Digest: root.Digest, Side: SideSource, Err: err}
	}
	carried := map[digest.Digest]bool{}
	for _, m := range a.Manifests {
		// A child that is sparse itself would be refused as well.
		carried[m.Descriptor.Digest] = len(m.Absent) == 0
	}
	var kept []json.RawMessage
	var platforms []ocispec.Descriptor
	for _, raw := range index.Manifests {
		var child ocispec.Descriptor
		if err := json.Unmarshal(raw, &child); err != nil {
			return nil, &Error{Op: "parsing index", Digest: root.Digest, Side: SideSource, Err: err}
		}
		if isManifestType(child.MediaType) && !carried[child.Digest] {
			continue
		}
		kept = append(kept, raw)
		if !isAttestation(child) {
			platforms = append(platforms, child)
		}
	}
	switch {
	case len(kept) == 0:
		return nil, nil
	case len(platforms) == 1 && isManifestType(platforms[0].MediaType):
		return &Fallback{Descriptor: plainDescriptor(platforms[0])}, nil
	}
	return buildIndex(index, kept, root)
}

func buildIndex(index rawIndex, kept []json.RawMessage, root ocispec.Descriptor) (*Fallback, error) {
	index.MediaType = root.MediaType
	index.Manifests = kept
	index.Annotations = maps.Clone(index.Annotations)
	if index.Annotations == nil {
		index.Annotations = map[string]string{}
	}
	index.Annotations[AnnotationOriginal] = root.Digest.String()
	data, err := manifest.EncodeJSON(index)
	if err != nil {
		return nil, fmt.Errorf("building an index over the carried platforms of %s: %w", root.Digest, err)
	}
	desc := ocispec.Descriptor{MediaType: root.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return &Fallback{Descriptor: desc, Built: true, data: data}, nil
}

// isAttestation tells the attestation manifests of BuildKit, which stand in an
// index beside the platforms they are about.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}
