//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/misconf"
)

// group is a set of analysers with what they look at.
type group struct {
	name     string
	disabled []analyzer.Type
	// units lists what the group looks at of a target.
	units func(i int) []unit
}

// unit is a tar that is analysed once.
type unit struct {
	// id tells it from all others: the digest of a layer, or one made of what a
	// file's tar is made of.
	id   digest.Digest
	size int64
	// open gives the tar, uncompressed.
	open func(ctx context.Context) (io.ReadCloser, error)
}

// analyseGroup analyses the units of a group, each once, and notes their keys.
func (s *run) analyseGroup(ctx context.Context, g group) error {
	all := &unitImage{ctx: ctx, name: g.name, units: map[v1.Hash]unit{}, onOpen: s.opts.OnBlob}
	ids := make([][]v1.Hash, len(s.targets))
	for i := range s.targets {
		if s.known[i] != nil {
			continue
		}
		for _, u := range g.units(i) {
			h, err := v1.NewHash(u.id.String())
			if err != nil {
				return err
			}
			ids[i] = append(ids[i], h)
			all.add(h, u)
		}
	}
	if len(all.order) == 0 {
		return nil
	}
	opts := artifact.Option{
		Type: ftypes.TypeContainerImage, DisabledAnalyzers: g.disabled, Parallel: s.opts.Jobs, NoProgress: true, Offline: true,
	}
	if g.name == "config" {
		checks, err := misconf.InitRegoScanner(misconf.ScannerOption{})
		if err != nil {
			return fmt.Errorf("loading the checks of manifests: %w", err)
		}
		opts.MisconfScannerOption.RegoScanner = checks
	}
	art, err := image.NewArtifact(all, s.cache, opts)
	if err != nil {
		return err
	}
	ref, err := art.Inspect(ctx)
	if err != nil {
		return err
	}
	keys := map[v1.Hash]string{}
	for i, h := range all.order {
		keys[h] = ref.BlobIDs[i]
	}
	for i := range s.targets {
		for _, h := range ids[i] {
			s.keys[i] = append(s.keys[i], keys[h])
		}
	}
	return nil
}

var _ cache.Cache = (*layerCache)(nil)

// unitImage shows Trivy all units of a group as the layers of one image: so it
// analyses each once, as many at a time as it is told. The ids stand where an image
// has its DiffIDs, and there is no history, by which Trivy would guess base layers
// and leave out some of the work, depending on the image it came by first.
type unitImage struct {
	v1.Image // what Trivy does not ask for

	ctx    context.Context //nolint:containedctx // Trivy opens layers without one
	name   string
	units  map[v1.Hash]unit
	order  []v1.Hash
	onOpen func(digest.Digest, int64)
}

func (m *unitImage) add(h v1.Hash, u unit) {
	if _, ok := m.units[h]; !ok {
		m.units[h] = u
		m.order = append(m.order, h)
	}
}

func (m *unitImage) Name() string          { return m.name }
func (m *unitImage) ID() (string, error)   { return digest.FromString(m.name).String(), nil }
func (m *unitImage) RepoTags() []string    { return nil }
func (m *unitImage) RepoDigests() []string { return nil }

func (m *unitImage) ConfigFile() (*v1.ConfigFile, error) {
	return &v1.ConfigFile{RootFS: v1.RootFS{Type: "layers", DiffIDs: m.order}}, nil
}

func (m *unitImage) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	u, ok := m.units[h]
	if !ok {
		return nil, fmt.Errorf("no unit %s", h)
	}
	return &unitLayer{image: m, unit: u, hash: h}, nil
}

// unitLayer is a unit as a layer.
type unitLayer struct {
	v1.Layer // what Trivy does not ask for

	image *unitImage
	unit  unit
	hash  v1.Hash
}

func (l *unitLayer) Digest() (v1.Hash, error) { return l.hash, nil }
func (l *unitLayer) DiffID() (v1.Hash, error) { return l.hash, nil }
func (l *unitLayer) Size() (int64, error)     { return l.unit.size, nil }

func (l *unitLayer) Uncompressed() (io.ReadCloser, error) {
	r, err := l.unit.open(l.image.ctx)
	if err != nil {
		return nil, err
	}
	if l.image.onOpen != nil {
		l.image.onOpen(l.unit.id, l.unit.size)
	}
	return r, nil
}
