package build

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// fallbackKubernetes is the version that charts are rendered for where no release
// says one: content files alone.
const fallbackKubernetes = "1.34.0"

// maxManifests bounds one file of manifests, in bytes.
const maxManifests = 32 << 20

// Discovery is what rendering the charts and manifests showed.
type Discovery struct {
	// Kubernetes is the version that was rendered for.
	Kubernetes string `json:"kubernetes"`
	// Rendered counts charts and sets of manifests, Found the images in them.
	Rendered int `json:"rendered"`
	Found    int `json:"found"`
	// Unused are images, as "component: ref", that a component lists and neither
	// its charts nor its manifests name.
	Unused []string `json:"unused,omitempty"`
	// ByIndexDigest are the places that name an image by the digest of an index,
	// which a registry that refuses sparse indexes cannot have.
	ByIndexDigest []string `json:"byIndexDigest,omitempty"`
	// Unchecked are images of charts that no step installs, rendered with the
	// charts' own values, that the bundle does not carry.
	Unchecked []string `json:"unchecked,omitempty"`
}

// discover renders every chart and every set of manifests and compares the images
// found in them with those that the components list. An image that is found and not
// listed is a *MissingImagesError. Without charts and steps there is nothing to do.
//
// Inputs: charts and files in the store, pinned images. Outputs: what the result
// says of it. Rerunning is safe: nothing is written.
func (r *run) discover(ctx context.Context) error {
	if !r.installs() {
		return nil
	}
	r.opts.Progress.Start("discover", 0)
	d := &discoverer{run: r, out: &Discovery{Kubernetes: fallbackKubernetes}, used: map[string]bool{}, seen: map[string]bool{}}
	if r.release != nil && r.release.Kubernetes != "" {
		d.out.Kubernetes = r.release.Kubernetes
	}
	for _, c := range r.selection.Components {
		if err := d.component(ctx, c); err != nil {
			return err
		}
	}
	if len(d.missing) > 0 {
		return &MissingImagesError{Images: d.missing}
	}
	d.findUnused()
	d.note()
	r.result.Discovery = d.out
	return nil
}

func (r *run) installs() bool {
	return slices.ContainsFunc(r.selection.Components, func(c *manifest.ComponentSpec) bool { return len(c.Charts)+len(c.Steps) > 0 })
}

// discoverer is one pass over the components in install order.
type discoverer struct {
	run *run
	out *Discovery
	// apis are the API versions that components so far have brought.
	apis    []string
	missing []MissingImage
	// used are the references of component files that something names.
	used map[string]bool
	// seen are places and images that were compared already.
	seen map[string]bool
}

func (d *discoverer) component(ctx context.Context, c *manifest.ComponentSpec) error {
	d.apis = append(d.apis, c.APIVersions...)
	content := storeContent{d.run}
	sites := manifest.SampleSites(d.run.selection.Name, d.out.Kubernetes, c)
	installed := map[string]bool{}
	for i := range c.Steps {
		s := &c.Steps[i]
		installed[s.Chart] = true
		facts, err := applying(sites, s)
		if err != nil {
			return fmt.Errorf("rendering step %q of component %q: %w", s.Name, c.ID, err)
		}
		var brought []string
		for _, f := range facts {
			rendered, err := chart.RenderStep(ctx, content, c, s, f, d.capabilities())
			if err != nil {
				return &RenderError{err}
			}
			if err := d.compare(c, rendered, f, false); err != nil {
				return err
			}
			brought = append(brought, chart.Provides(rendered.Objects)...)
		}
		d.out.Rendered++
		d.apis = append(d.apis, brought...)
	}
	for _, ch := range c.Charts {
		if installed[ch.Name] {
			continue
		}
		rendered, err := chart.RenderDefaults(ctx, content, c.ID, ch.Name, d.capabilities())
		if err != nil {
			d.out.Unchecked = append(d.out.Unchecked, fmt.Sprintf("chart %s of %s does not render with its own values: %v", ch.Name, c.ID, err))
			continue
		}
		d.out.Rendered++
		if err := d.compare(c, rendered, sites[0], true); err != nil {
			return err
		}
	}
	return nil
}

func (d *discoverer) capabilities() chart.Capabilities {
	return chart.Capabilities{Kubernetes: d.out.Kubernetes, APIVersions: slices.Clone(d.apis)}
}

// applying are the sites that a step is for; the first where it is for none of them.
func applying(sites []*manifest.Facts, s *manifest.Step) ([]*manifest.Facts, error) {
	var out []*manifest.Facts
	for _, f := range sites {
		holds, err := f.Applies(s)
		if err != nil {
			return nil, err
		}
		if holds {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		out = sites[:1]
	}
	return out, nil
}

// RenderError says that a chart or manifests of a component do not render.
type RenderError struct{ Err error }

func (e *RenderError) Error() string { return e.Err.Error() }
func (e *RenderError) Unwrap() error { return e.Err }

// MissingImage is an image that a chart or manifest names and no component lists.
type MissingImage struct {
	Component string
	Hit       chart.Hit
	// Why says more where the image is listed after all, in another form.
	Why string
}

// MissingImagesError lists the images without which a site would stand still.
type MissingImagesError struct{ Images []MissingImage }

func (e *MissingImagesError) Error() string {
	lines := make([]string, len(e.Images))
	for i, m := range e.Images {
		why := m.Why
		if why == "" {
			why = "neither it nor a component it requires lists that image"
		}
		lines[i] = fmt.Sprintf("checking the images of component %q: %s names %q: %s", m.Component, m.Hit, m.Hit.Text, why)
	}
	return strings.Join(lines, "\n")
}

// note tells the observer what is worth knowing and no error.
func (d *discoverer) note() {
	slices.Sort(d.out.ByIndexDigest)
	for _, u := range d.out.Unused {
		d.run.opts.Progress.Note("carried, but named by no chart or manifest of its component (runtime: true says that this is meant): " + u)
	}
	for _, p := range d.out.ByIndexDigest {
		d.run.opts.Progress.Note("named by the digest of an index, which a pushed copy does not have; the depot serves it: " + p)
	}
	for _, p := range d.out.Unchecked {
		d.run.opts.Progress.Note("WARNING: a chart that no step installs: " + p)
	}
}

// storeContent gives the charts and files of a run.
type storeContent struct{ run *run }

// Chart implements chart.Content.
func (s storeContent) Chart(ctx context.Context, component, name string) (io.ReadCloser, error) {
	for _, p := range s.run.charts[component] {
		if p.chart.Name == name {
			return s.run.store.OpenBlob(ctx, p.chart.Digest)
		}
	}
	return nil, fs.ErrNotExist
}

// File implements chart.Content. Of a file with members it gives all of them, as
// one stream of documents.
func (s storeContent) File(ctx context.Context, component, name string) ([]byte, error) {
	for _, p := range s.run.files[component] {
		if p.sources[0].Name != name {
			continue
		}
		var parts [][]byte
		for _, d := range p.stored[0].Content {
			data, err := s.run.store.Read(ctx, d.Digest, maxManifests)
			if err != nil {
				return nil, err
			}
			parts = append(parts, data)
		}
		return bytes.Join(parts, []byte("\n---\n")), nil
	}
	return nil, fs.ErrNotExist
}
