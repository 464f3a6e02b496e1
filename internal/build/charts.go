package build

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror/charts"
)

// pinnedChart is a chart of the selection.
type pinnedChart struct {
	chart    charts.Chart
	pinnedBy manifest.PinnedBy
	// size is that of the package in bytes, as far as the lock knows it.
	size int64
	// stored is set once the chart was fetched.
	stored *charts.Stored
	// twin says that another component carries the same chart under the same name.
	twin bool
}

// pinCharts puts the charts of the selection under the lock.
func (r *run) pinCharts() error {
	var errs []error
	for _, c := range r.selection.Components {
		for i := range c.Charts {
			p, err := r.pinChart(c, &c.Charts[i])
			if err != nil {
				errs = append(errs, err)
				continue
			}
			r.charts[c.ID] = append(r.charts[c.ID], p)
		}
	}
	return errors.Join(errs...)
}

// pinChart puts together what component and lock say of a chart.
func (r *run) pinChart(c *manifest.ComponentSpec, spec *manifest.Chart) (*pinnedChart, error) {
	p := &pinnedChart{pinnedBy: manifest.PinnedByBuild, chart: charts.Chart{
		Component: c.ID, Name: spec.Name, Version: spec.Version, Repository: spec.Repository, Keyring: spec.Keyring, NoReferrers: spec.NoReferrers,
	}}
	locked := r.lock.Chart(c.ID, spec)
	if locked != nil {
		p.pinnedBy, p.size = locked.PinnedBy, locked.Size
		p.chart.Locked, p.chart.Source = true, locked.Source
		p.chart.Digest, p.chart.Manifest, p.chart.Provenance = locked.Digest, locked.Manifest, locked.Provenance
		if locked.Size > 0 { // made by who looked for them
			p.chart.Referrers = pinnedReferrers(locked.Referrers)
		}
	}
	if spec.SHA256 == "" {
		return p, nil
	}
	said := digest.NewDigestFromEncoded(digest.SHA256, spec.SHA256)
	if locked != nil && said != locked.Digest {
		return nil, &PinConflictError{Name: c.ID + "/" + spec.Name, Stated: said, Locked: locked.Digest}
	}
	if locked == nil {
		p.pinnedBy = stated(r.selection.Own[c.ID])
	}
	p.chart.Digest = said
	return p, nil
}

// fetchCharts brings charts into the store with their artifacts: those that no
// lock pins, or all that are not there yet. Charts are small, and only a chart as a
// whole tells what is in it.
func (r *run) fetchCharts(ctx context.Context, onlyUnpinned bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for _, p := range r.allCharts() {
		if p.stored != nil || (onlyUnpinned && p.chart.Locked) {
			continue
		}
		group.Go(func() error {
			stored, err := r.fetcher.Fetch(ctx, p.chart)
			if err != nil {
				return err
			}
			r.pinning.Lock()
			p.chart, p.stored, p.size = stored.Chart, stored, stored.Size
			r.pinning.Unlock()
			return r.notePinned(&manifest.Lock{Charts: []manifest.LockedChart{p.locked(r.opts.PinnedBy)}})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return r.pairCharts()
}

// pairCharts finds charts that several components carry under one name. They have
// to be the same chart.
func (r *run) pairCharts() error {
	first := map[string]*pinnedChart{}
	for _, p := range r.allCharts() {
		if p.stored == nil {
			continue
		}
		q, ok := first[p.chart.Ref()]
		if !ok {
			first[p.chart.Ref()] = p
			continue
		}
		if p.stored.Artifact.Descriptor.Digest != q.stored.Artifact.Descriptor.Digest {
			return &PinConflictError{Name: p.chart.Component + "/" + p.chart.Name + " and " + q.chart.Component + "/" + q.chart.Name,
				Stated: p.chart.Digest, Locked: q.chart.Digest}
		}
		// What refers to it is carried once; the registries may differ in that.
		p.twin, p.stored.Artifact, p.chart.Referrers = true, q.stored.Artifact, q.chart.Referrers
	}
	return nil
}

// allCharts lists the charts in install order.
func (r *run) allCharts() []*pinnedChart {
	var out []*pinnedChart
	for _, c := range r.selection.Components {
		out = append(out, r.charts[c.ID]...)
	}
	return out
}

// unpinnedCharts names the charts whose digest nothing fixes.
func (r *run) unpinnedCharts() []string {
	var names []string
	for _, p := range r.allCharts() {
		if p.chart.Digest == "" || p.chart.OCI() && p.chart.Manifest == "" {
			names = append(names, p.chart.Component+"/"+p.chart.Name)
		}
	}
	return names
}

// locked is the chart's entry in the lock.
func (p *pinnedChart) locked(by manifest.PinnedBy) manifest.LockedChart {
	c := p.chart
	return manifest.LockedChart{Component: c.Component, Name: c.Name, Version: c.Version, Repository: c.Repository,
		Digest: c.Digest, Manifest: c.Manifest, Provenance: c.Provenance, Referrers: lockedReferrers(c.Referrers), Source: c.Source, PinnedBy: orElse(p.pinnedBy, by), Size: p.size}
}

func (p *pinnedChart) descriptors() []ocispec.Descriptor {
	a := p.stored.Artifact
	return append(append([]ocispec.Descriptor(nil), a.Manifests...), a.Blobs...)
}

func (p *pinnedChart) entries() []ocispec.Descriptor {
	if p.twin {
		return nil
	}
	a := p.stored.Artifact
	out := []ocispec.Descriptor{entry(a.Descriptor, a.Ref, manifest.ArtifactChart, "")}
	return append(out, referrerEntries(repositoryOf(a.Ref), p.chart.Referrers)...)
}
