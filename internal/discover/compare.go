package discover

import (
	"fmt"
	"slices"
	"strings"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// listedImage is an image that a component lists.
type listedImage struct {
	spelled string
	ref     manifest.Reference
}

// compare looks the images of a rendered step up among those listed.
func (d *discoverer) compare(c *manifest.ComponentSpec, rendered *chart.Rendered, facts *manifest.Facts, loose bool) error {
	hits, err := chart.Images(rendered.Chart, rendered.Objects)
	if err != nil {
		return &RenderError{fmt.Errorf("component %q: %w", c.ID, err)}
	}
	listed := d.listed(c)
	for _, h := range hits {
		ref, ok := ownRegistry(h.Ref, facts)
		if !ok || excepted(c, h) {
			continue
		}
		h.Ref = ref
		if key := c.ID + "\x00" + h.String() + "\x00" + ref.String(); d.seen[key] {
			continue
		} else {
			d.seen[key] = true
		}
		d.out.Found++
		why, ok := d.lookUp(c, h, listed)
		switch {
		case ok:
		case loose:
			d.out.Unchecked = append(d.out.Unchecked, fmt.Sprintf("%s names %q, which the bundle does not carry", h, h.Text))
		default:
			d.missing = append(d.missing, MissingImage{Component: c.ID, Hit: h, Why: why})
		}
	}
	return nil
}

// ownRegistry turns an image in the site's Harbor into the one that is carried for
// it. What is not an image of an upstream, such as a chart, is none of ours to look
// for, and false.
func ownRegistry(r manifest.Reference, facts *manifest.Facts) (manifest.Reference, bool) {
	if facts.Harbor.Registry == "" || r.Host != strings.ToLower(facts.Harbor.Registry) {
		return r, true
	}
	project, _, _ := strings.Cut(r.Repository, "/")
	if !strings.Contains(project, ".") {
		return r, false
	}
	return chart.Normalize(strings.TrimPrefix(r.String(), r.Host+"/"))
}

// excepted tells what the component says is no image.
func excepted(c *manifest.ComponentSpec, h chart.Hit) bool {
	return slices.ContainsFunc(c.NotImages, func(n manifest.NotImage) bool {
		return n.Ref == h.Text || n.Ref == h.Ref.String() || n.Ref == h.Ref.Name()
	})
}

// listed are the images of c and of every component that it requires.
func (d *discoverer) listed(c *manifest.ComponentSpec) []listedImage {
	specs := map[string]*manifest.ComponentSpec{}
	for _, s := range d.Components {
		specs[s.ID] = s
	}
	var out []listedImage
	done := map[string]bool{}
	var visit func(c *manifest.ComponentSpec)
	visit = func(c *manifest.ComponentSpec) {
		if c == nil || done[c.ID] {
			return
		}
		done[c.ID] = true
		for _, img := range c.Images {
			ref, err := manifest.ParseReference(img.Ref)
			if err != nil {
				continue // validated when it was read
			}
			if n, ok := chart.Normalize(img.Ref); ok {
				n.Tag = ref.Tag
				ref = n
			}
			out = append(out, listedImage{spelled: img.Ref, ref: ref})
		}
		for _, id := range c.Requires {
			visit(specs[id])
		}
	}
	visit(c)
	return out
}

// lookUp finds what is listed for a hit and says why that will not do.
func (d *discoverer) lookUp(c *manifest.ComponentSpec, h chart.Hit, listed []listedImage) (why string, ok bool) {
	for _, l := range listed {
		if !chart.Listed(h.Ref, l.ref) {
			if l.ref.Name() == h.Ref.Name() {
				why = fmt.Sprintf("the component lists %q", l.spelled)
			}
			continue
		}
		if d.Holds == nil && h.Ref.Digest != "" && l.ref.Digest != "" && h.Ref.Digest != l.ref.Digest {
			why = fmt.Sprintf("the component lists %q, which is another digest than %s", l.spelled, h.Ref.Digest)
			continue
		}
		if h.Ref.Digest != "" && d.Holds != nil {
			switch d.Holds(l.spelled, h.Ref.Digest) {
			case NotHeld:
				why = fmt.Sprintf("%q is listed and was pinned to %sanother digest than %s", l.spelled, d.pinnedTo(l.spelled), h.Ref.Digest)
				continue
			case HeldIndex:
				d.byIndex(c, h)
			}
		}
		d.used[l.spelled] = true
		return "", true
	}
	return why, false
}

// pinnedTo is what an image was pinned to, with ", " behind it; "" where nobody knows.
func (d *discoverer) pinnedTo(spelled string) string {
	if d.Pinned == nil {
		return ""
	}
	if pinned := d.Pinned(spelled); pinned != "" {
		return pinned.String() + ", "
	}
	return ""
}

func (d *discoverer) byIndex(c *manifest.ComponentSpec, h chart.Hit) {
	if at := fmt.Sprintf("%s: %s names %s", c.ID, h, h.Ref); !slices.Contains(d.out.ByIndexDigest, at) {
		d.out.ByIndexDigest = append(d.out.ByIndexDigest, at)
	}
}

// findUnused lists the images that nothing names and that are not said to be chosen
// at run time, of components that install something.
func (d *discoverer) findUnused() {
	for _, c := range d.Components {
		if len(c.Steps) == 0 {
			continue
		}
		for _, img := range c.Images {
			if !d.used[img.Ref] && !img.Runtime && !img.Artifact {
				d.out.Unused = append(d.out.Unused, c.ID+": "+img.Ref)
			}
		}
	}
}
