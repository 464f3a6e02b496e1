package build

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror"
)

// pinnedImage is an image of the selection with everything known of it.
type pinnedImage struct {
	*mirror.ResolvedImage
	// spelled is the reference as the component has it.
	spelled  string
	pinnedBy manifest.PinnedBy
	source   string
}

// pinnedFile is a file of the selection, one source a platform.
type pinnedFile struct {
	sources  []mirror.File
	pinnedBy []manifest.PinnedBy
	// stored and artifact are set by fetch.
	stored   []*mirror.StoredFile
	artifact *mirror.Artifact
}

// artifact is anything with entries in index.json.
type artifact interface {
	// descriptors are all manifests and blobs that it needs.
	descriptors() []ocispec.Descriptor
	// entries are its entries in index.json.
	entries() []ocispec.Descriptor
}

// artifacts lists everything carried, in install order.
func (r *run) artifacts() []artifact {
	var out []artifact
	told := map[string]bool{}
	for _, c := range r.selection.Components {
		out = append(out, r.packageArtifacts(c.ID, told)...)
		for _, img := range r.images[c.ID] {
			out = append(out, img)
		}
		for _, ch := range r.charts[c.ID] {
			out = append(out, ch)
		}
		for _, f := range r.files[c.ID] {
			out = append(out, f)
		}
	}
	return out
}

func (p *pinnedImage) descriptors() []ocispec.Descriptor {
	return append(append([]ocispec.Descriptor(nil), p.Manifests...), p.Blobs...)
}

func (p *pinnedImage) entries() []ocispec.Descriptor {
	name := p.Ref.Name()
	tagged := name + ":" + p.Ref.Tag
	if p.Ref.Tag == "" {
		tagged = name + "@" + p.Descriptor.Digest.String()
	}
	out := []ocispec.Descriptor{entry(p.Descriptor, tagged, manifest.ArtifactImage, "")}
	return append(out, referrerEntries(name, p.Referrers)...)
}

// referrerEntries are the entries of what refers to an artifact in the repository name.
func referrerEntries(name string, list []mirror.Referrer) []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for _, ref := range list {
		called := name + "@" + ref.Descriptor.Digest.String()
		if ref.Tag != "" {
			called = name + ":" + ref.Tag
		}
		out = append(out, entry(ref.Descriptor, called, manifest.ArtifactReferrer, ref.Subject.String()))
	}
	return out
}

func (p *pinnedFile) descriptors() []ocispec.Descriptor {
	return append(append([]ocispec.Descriptor(nil), p.artifact.Manifests...), p.artifact.Blobs...)
}

func (p *pinnedFile) entries() []ocispec.Descriptor {
	return []ocispec.Descriptor{entry(p.artifact.Descriptor, p.artifact.Ref, manifest.ArtifactFile, "")}
}

// entry is a descriptor of index.json: what is needed to find and name a
// manifest, and nothing that depends on how it was fetched.
func entry(d ocispec.Descriptor, ref string, kind manifest.ArtifactKind, subject string) ocispec.Descriptor {
	annotations := map[string]string{ocispec.AnnotationRefName: ref, manifest.AnnotationKind: string(kind)}
	if subject != "" {
		annotations[manifest.AnnotationSubject] = subject
	}
	return ocispec.Descriptor{MediaType: d.MediaType, ArtifactType: d.ArtifactType, Digest: d.Digest, Size: d.Size, Annotations: annotations}
}
