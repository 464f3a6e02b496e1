package survey

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/scan"
)

// maxManifest bounds manifests and configs, in bytes.
const maxManifest = 8 << 20

// referenceType is the annotation by which buildkit marks what is no platform.
const referenceType = "vnd.docker.reference.type"

// Targets are the manifests of a bundle that are scanned: every platform of an image
// or file that is carried, charts and sets of packages, in the order of the index.
// What refers to another manifest is not scanned: it is signed, and no program.
func Targets(ctx context.Context, blobs scan.Blobs, index ocispec.Index, specs []*manifest.ComponentSpec) ([]scan.Target, error) {
	w := &walk{ctx: ctx, blobs: blobs, components: components(specs)}
	for _, d := range index.Manifests {
		kind := manifest.ArtifactKind(d.Annotations[manifest.AnnotationKind])
		if kind == manifest.ArtifactReferrer || d.Annotations[manifest.AnnotationSubject] != "" {
			continue
		}
		ref := d.Annotations[ocispec.AnnotationRefName]
		target := scan.Target{Ref: ref, Kind: kind, Component: w.components[ref], Entry: d.Digest}
		if err := w.entry(target, d); err != nil {
			return nil, fmt.Errorf("looking at %q: %w", ref, err)
		}
	}
	return w.out, nil
}

// components maps the references of images and charts, as the index has them, to
// their component: of an image the first that lists it.
func components(specs []*manifest.ComponentSpec) map[string]string {
	out := map[string]string{}
	for _, c := range specs {
		for _, chart := range c.Charts {
			out["naru/charts/"+chart.Name+":"+strings.ReplaceAll(chart.Version, "+", "_")] = c.ID
		}
		for _, img := range c.Images {
			ref, err := manifest.ParseReference(img.Ref)
			if err != nil {
				continue // validated long ago
			}
			name := ref.Name() + ":" + ref.Tag
			if ref.Tag == "" {
				name = ref.Name() + "@" + ref.Digest.String()
			}
			if _, ok := out[name]; !ok {
				out[name] = c.ID
			}
		}
	}
	return out
}

// walk collects targets.
type walk struct {
	ctx        context.Context //nolint:containedctx // lives as long as one call
	blobs      scan.Blobs
	components map[string]string
	out        []scan.Target
}

// document is what is read of a manifest or index.
type document struct {
	ArtifactType string               `json:"artifactType"`
	Config       ocispec.Descriptor   `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
}

// entry adds the targets of an entry of the index.
func (w *walk) entry(t scan.Target, d ocispec.Descriptor) error {
	var doc document
	if err := w.read(d.Digest, &doc); err != nil {
		return err
	}
	if doc.Manifests == nil {
		return w.manifest(t, d, &doc)
	}
	children := slices.Clone(doc.Manifests)
	slices.SortStableFunc(children, func(a, b ocispec.Descriptor) int { return cmp.Compare(platformOf(a), platformOf(b)) })
	for _, child := range children {
		if child.Annotations[referenceType] != "" {
			continue
		}
		var sub document
		err := w.read(child.Digest, &sub)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a platform that is not carried
		}
		if err != nil {
			return err
		}
		if err := w.manifest(t, child, &sub); err != nil {
			return err
		}
	}
	return nil
}

func platformOf(d ocispec.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return manifest.FormatPlatform(*d.Platform)
}

// config is what is read of the configs of images and of naru's own artifacts.
type config struct {
	OS           string   `json:"os"`
	Architecture string   `json:"architecture"`
	Variant      string   `json:"variant"`
	Component    string   `json:"component"`
	Versions     []string `json:"versions"`
}

// manifest adds the target of one manifest.
func (w *walk) manifest(t scan.Target, d ocispec.Descriptor, doc *document) error {
	var c config
	if strings.HasSuffix(doc.Config.MediaType, "json") {
		if err := w.read(doc.Config.Digest, &c); err != nil {
			return err
		}
	}
	t.Digest, t.Platform = d.Digest, platformOf(d)
	if t.Kind == manifest.ArtifactPackages {
		if doc.ArtifactType == manifest.MetadataArtifactType {
			return nil // the vendor's indexes
		}
		t.OS.Family = c.OS
		if len(c.Versions) > 0 {
			t.OS.Version = c.Versions[0]
		}
	} else if t.Platform == "" && c.OS != "" {
		t.Platform = manifest.FormatPlatform(ocispec.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant})
	}
	t.Component = cmp.Or(c.Component, t.Component)
	for _, layer := range doc.Layers {
		t.Blobs = append(t.Blobs, scan.Blob{Name: cmp.Or(layer.Annotations[ocispec.AnnotationTitle], t.Ref), Digest: layer.Digest, Size: layer.Size, MediaType: layer.MediaType})
	}
	w.out = append(w.out, t)
	return nil
}

// read decodes a JSON document against its digest.
func (w *walk) read(d digest.Digest, v any) error {
	blob, err := w.blobs.OpenBlob(w.ctx, d)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	data, err := io.ReadAll(io.LimitReader(blob, maxManifest))
	if err != nil {
		return fmt.Errorf("reading %s: %w", d, err)
	}
	if got := digest.FromBytes(data); got != d {
		return fmt.Errorf("reading %s: its digest is %s", d, got)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decoding %s: %w", d, err)
	}
	return nil
}
