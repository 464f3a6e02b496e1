// Package discover renders the charts and manifests of components, with the facts
// of invented sites, and compares every image that it finds in them with those that
// the components list. A build does it over what it fetched, lint over a folder.
package discover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// fallbackKubernetes is the version that charts are rendered for where no release
// says one: content files alone.
const fallbackKubernetes = "1.34.0"

// Input is what is looked at.
type Input struct {
	// Release is its name, Kubernetes the version to render for; empty for a recent one.
	Release, Kubernetes string
	// Components in install order, each after those it requires.
	Components []*manifest.ComponentSpec
	// Content gives their charts and files.
	Content chart.Content
	// Holds says how a listed image, by its spelling, holds a digest. Nil where
	// nothing is pinned: then digests are not compared.
	Holds func(spelled string, d digest.Digest) Held
	// Pinned is the digest that a listed image, by its spelling, was pinned to, for
	// messages; nil, or "", where nobody knows.
	Pinned func(spelled string) digest.Digest
	// OnError, when set, is told of a step that does not render, and discovery goes
	// on; else the first such error ends it. Step is nil for a chart that no step
	// installs.
	OnError func(c *manifest.ComponentSpec, s *manifest.Step, err error)
	// OnStep, when set, is told of each rendered step; its objects are not to be changed.
	OnStep func(c *manifest.ComponentSpec, s *manifest.Step, r *chart.Rendered)
}

// Held says how an image holds a digest.
type Held int

// The ways: not at all, as its index, or as a platform's manifest.
const (
	NotHeld Held = iota
	HeldIndex
	HeldManifest
)

// Report is what rendering the charts and manifests showed.
type Report struct {
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

// Run renders every chart and every set of manifests and compares the images found in
// them with those that the components list. Images that are found and not listed are a
// *MissingImagesError beside the report; what does not render is a *RenderError.
func Run(ctx context.Context, in Input) (*Report, error) {
	d := &discoverer{Input: in, out: &Report{Kubernetes: in.Kubernetes}, used: map[string]bool{}, seen: map[string]bool{}}
	if d.out.Kubernetes == "" {
		d.out.Kubernetes = fallbackKubernetes
	}
	for _, c := range in.Components {
		if err := d.component(ctx, c); err != nil {
			return nil, err
		}
	}
	d.findUnused()
	slices.Sort(d.out.ByIndexDigest)
	if len(d.missing) > 0 {
		return d.out, &MissingImagesError{Images: d.missing}
	}
	return d.out, nil
}

// discoverer is one pass over the components in install order.
type discoverer struct {
	Input
	out *Report
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
	sites := manifest.SampleSites(d.Release, d.out.Kubernetes, c)
	installed := map[string]bool{}
	for i := range c.Steps {
		s := &c.Steps[i]
		installed[s.Chart] = true
		if err := d.step(ctx, c, s, sites); err != nil {
			if d.OnError == nil {
				return err
			}
			d.OnError(c, s, err)
		}
	}
	for _, ch := range c.Charts {
		if installed[ch.Name] {
			continue
		}
		rendered, err := chart.RenderDefaults(ctx, d.Content, c.ID, ch.Name, d.capabilities())
		if err != nil {
			d.out.Unchecked = append(d.out.Unchecked, fmt.Sprintf("chart %s of %s does not render with its own values: %v", ch.Name, c.ID, err))
			continue
		}
		d.out.Rendered++
		if err := d.compare(c, rendered, sites[0], true); err != nil {
			if d.OnError == nil {
				return err
			}
			d.OnError(c, nil, err)
		}
	}
	return nil
}

// step renders a step for the sites that it is for.
func (d *discoverer) step(ctx context.Context, c *manifest.ComponentSpec, s *manifest.Step, sites []*manifest.Facts) error {
	facts, err := applying(sites, s)
	if err != nil {
		return fmt.Errorf("rendering step %q of component %q: %w", s.Name, c.ID, err)
	}
	var brought []string
	for _, f := range facts {
		rendered, err := chart.RenderStep(ctx, d.Content, c, s, f, d.capabilities())
		if err != nil {
			return &RenderError{err}
		}
		if err := d.compare(c, rendered, f, false); err != nil {
			return err
		}
		if d.OnStep != nil {
			d.OnStep(c, s, rendered)
		}
		brought = append(brought, chart.Provides(rendered.Objects)...)
	}
	d.out.Rendered++
	d.apis = append(d.apis, brought...)
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
