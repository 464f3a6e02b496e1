package build

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/discover"
	"naru/manifest"
)

// maxManifests bounds one file of manifests, in bytes.
const maxManifests = 32 << 20

// discover renders every chart and every set of manifests and compares the images
// found in them with those that the components list. An image that is found and not
// listed is a *discover.MissingImagesError. Without charts and steps there is nothing
// to do.
//
// Inputs: charts and files in the store, pinned images. Outputs: what the result
// says of it. Rerunning is safe: nothing is written.
func (r *run) discover(ctx context.Context) error {
	if !r.installs() {
		return nil
	}
	r.opts.Progress.Start("discover", 0)
	in := discover.Input{Release: r.selection.Name, Components: r.selection.Components, Content: storeContent{r}, Holds: r.holds, Pinned: r.pinnedTo}
	if r.release != nil {
		in.Kubernetes = r.release.Kubernetes
	}
	report, err := discover.Run(ctx, in)
	if err != nil {
		return err
	}
	r.noteDiscovery(report)
	r.result.Discovery = report
	return nil
}

func (r *run) installs() bool {
	return slices.ContainsFunc(r.selection.Components, func(c *manifest.ComponentSpec) bool { return len(c.Charts)+len(c.Steps) > 0 })
}

// noteDiscovery tells the observer what is worth knowing and no error.
func (r *run) noteDiscovery(d *discover.Report) {
	for _, u := range d.Unused {
		r.opts.Progress.Note("carried, but named by no chart or manifest of its component (runtime: true says that this is meant): " + u)
	}
	for _, p := range d.ByIndexDigest {
		r.opts.Progress.Note("named by the digest of an index, which a pushed copy does not have; the depot serves it: " + p)
	}
	for _, p := range d.Unchecked {
		r.opts.Progress.Note("WARNING: a chart that no step installs: " + p)
	}
}

// holds says how the image that a reference of a component was pinned to holds a
// digest. One that is carried for none of the platforms is not compared.
func (r *run) holds(spelled string, d digest.Digest) discover.Held {
	for _, images := range r.images {
		for _, img := range images {
			if img.spelled == spelled {
				return img.holds(d)
			}
		}
	}
	return discover.HeldManifest
}

// pinnedTo is the digest that an image was pinned to, by its spelling.
func (r *run) pinnedTo(spelled string) digest.Digest {
	for _, images := range r.images {
		for _, img := range images {
			if img.spelled == spelled {
				return img.Descriptor.Digest
			}
		}
	}
	return ""
}

func (p *pinnedImage) holds(d digest.Digest) discover.Held {
	if p.Descriptor.Digest == d {
		if p.Descriptor.MediaType == ocispec.MediaTypeImageManifest || len(p.Platforms) == 1 && p.Platforms[0].Descriptor.Digest == d {
			return discover.HeldManifest
		}
		return discover.HeldIndex
	}
	for _, m := range p.Platforms {
		if m.Descriptor.Digest == d {
			return discover.HeldManifest
		}
	}
	return discover.NotHeld
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
