package serve

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// chart adds a packaged chart.
func (b *bundle) chart(ref, name, version, data string) ocispec.Descriptor {
	l := b.blob(chartContentType, []byte(data))
	b.add(ref, b.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: b.json(chartConfigType, map[string]string{"name": name, "version": version}), Layers: []ocispec.Descriptor{l}}))
	b.index.Manifests[len(b.index.Manifests)-1].Annotations[manifest.AnnotationKind] = string(manifest.ArtifactChart)
	return l
}

// TestChartConflict holds that a chart which hides another of its file's name is told
// of, whatever the two are called in their bundles.
func TestChartConflict(t *testing.T) {
	first, second := newBundle(t), newBundle(t)
	hidden := first.chart("naru/charts/web:1", "web", "1.0.0", "first")
	served := second.chart("naru/charts/web:1.0.0", "web", "1.0.0", "second")
	_, s := serveBundles(t, first, second)
	if diff := cmp.Diff([]Conflict{{Name: "/charts/web-1.0.0.tgz", Served: served.Digest, Hidden: hidden.Digest}}, s.Conflicts()); diff != "" {
		t.Error(diff)
	}
}
