package internet

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/test/facts"
	"naru/test/lab/layout"
)

// layerSize is what each image's own layer holds, in bytes.
const layerSize = 2000

// images publishes every image of the facts for both architectures, but for those
// that are named for one of them, and what is no image as an artifact.
func (m *maker) images(_ context.Context, all []facts.Artifact) error {
	done := map[string]digest.Digest{} // the facts may name an image twice, with and without a digest
	for _, a := range all {
		ref, err := manifest.ParseReference(a.Ref)
		if a.Kind != facts.Image || err != nil {
			continue // a reference that is not qualified is none that a release may name
		}
		if d, ok := done[a.Ref]; ok {
			m.replaced(a.SHA256, d)
			continue
		}
		desc, err := m.image(a, ref)
		if err != nil {
			return err
		}
		done[a.Ref] = desc.Digest
		m.replaced(a.SHA256, desc.Digest)
		name := ref.Name() + "@" + desc.Digest.String()
		if ref.Tag != "" {
			name = ref.Name() + ":" + ref.Tag
		}
		m.Name(layout.Image{Ref: name}, desc)
		m.host(a.Ref)
		m.out.Images++
	}
	return nil
}

func (m *maker) image(a facts.Artifact, ref manifest.Reference) (ocispec.Descriptor, error) {
	if a.OCI {
		blob, err := m.Bytes(cmp.Or(a.MediaType, "application/octet-stream"), seed(a.Ref, layerSize))
		if err != nil {
			return blob, err
		}
		return m.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.lab.artifact", Layers: []ocispec.Descriptor{blob}})
	}
	var children []ocispec.Descriptor
	for _, arch := range arches(ref) {
		body := seed(a.Ref+arch, layerSize)
		layer, err := m.Layer(layout.Gzip, "lab", func(tw *tar.Writer) error {
			return layout.AddFile(tw, "content", 0o644, int64(len(body)), bytes.NewReader(body))
		})
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		child, err := m.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}})
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		children = append(children, child)
	}
	return m.Multi("", children)
}

// arches are the architectures of an image.
func arches(ref manifest.Reference) []string {
	name := ref.Repository + ":" + ref.Tag
	switch {
	case strings.Contains(name, "amd64") || strings.Contains(name, ":x86_64"):
		return []string{"amd64"}
	case strings.Contains(name, "arm64"):
		return []string{"arm64"}
	}
	return []string{"amd64", "arm64"}
}
