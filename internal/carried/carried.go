// Package carried tells what opened bundles carry, by the names that releases use:
// components in install order, their files by platform, images, and the lock. Of two
// bundles that carry the same component the later counts.
package carried

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/intake"
	"naru/manifest"
)

// Set is what bundles carry together.
type Set struct {
	Bundles []*intake.Bundle
	// Release and Kubernetes (without "v") are those of the latest bundle that says.
	Release, Kubernetes string
	// Components in install order.
	Components []*manifest.ComponentSpec
	// Systems are the distributions whose packages are carried.
	Systems []*manifest.Distribution
	// Lock joins those of all bundles.
	Lock *manifest.Lock

	from  map[string]*intake.Bundle
	order []string
}

// Load reads the documents of the bundles. They must be open, and are not closed.
func Load(ctx context.Context, bundles []*intake.Bundle) (*Set, error) {
	s := &Set{Bundles: bundles, Lock: manifest.NewLock(""), from: map[string]*intake.Bundle{}}
	specs := map[string]*manifest.ComponentSpec{}
	for _, b := range bundles {
		if err := s.add(ctx, b, specs); err != nil {
			return nil, fmt.Errorf("reading the documents of bundle %s: %w", b.BundleDigest(), err)
		}
	}
	s.sort(specs)
	return s, nil
}

// add takes up the documents of one bundle.
func (s *Set) add(ctx context.Context, b *intake.Bundle, specs map[string]*manifest.ComponentSpec) error {
	meta := b.Bundle()
	s.Release = meta.Release
	take := func(spec *manifest.ComponentSpec) {
		if slices.Contains(meta.Components, spec.ID) {
			specs[spec.ID], s.from[spec.ID] = spec, b
			s.order = append(s.order, spec.ID)
		}
	}
	var components, contents []string
	for _, e := range b.Contents().Entries {
		switch {
		case e.Name == "release/release.yaml":
			if err := s.addRelease(ctx, b, e.Name); err != nil {
				return err
			}
		case strings.HasPrefix(e.Name, "release/components/"):
			components = append(components, e.Name)
		case strings.HasPrefix(e.Name, "release/content/"):
			contents = append(contents, e.Name)
		case strings.HasPrefix(e.Name, "release/distributions/"):
			if err := s.addSystem(ctx, b, e.Name); err != nil {
				return err
			}
		case e.Name == "lock.yaml":
			if err := s.addLock(ctx, b); err != nil {
				return err
			}
		}
	}
	for _, name := range components {
		spec, err := read(ctx, b, name, manifest.DecodeComponent)
		if err != nil {
			return err
		}
		take(spec)
	}
	for _, name := range contents {
		content, err := read(ctx, b, name, manifest.DecodeContent)
		if err != nil {
			return err
		}
		for _, spec := range content.Specs() {
			take(&spec)
		}
		for _, system := range content.Systems {
			s.takeSystem(&manifest.Distribution{DistributionSpec: system})
		}
	}
	return nil
}

func read[V any](ctx context.Context, b *intake.Bundle, name string, decode func(string, []byte) (V, error)) (V, error) {
	data, err := b.ReadFile(ctx, name)
	if err != nil {
		var zero V
		return zero, err
	}
	return decode(path.Base(name), data)
}

func (s *Set) addRelease(ctx context.Context, b *intake.Bundle, name string) error {
	r, err := read(ctx, b, name, manifest.DecodeRelease)
	if err != nil {
		return err
	}
	if r.Kubernetes != "" {
		s.Kubernetes = r.Kubernetes
	}
	s.order = append(s.order, r.Components...)
	return nil
}

func (s *Set) addSystem(ctx context.Context, b *intake.Bundle, name string) error {
	d, err := read(ctx, b, name, manifest.DecodeDistribution)
	if err != nil {
		return err
	}
	s.takeSystem(d)
	return nil
}

// takeSystem adds a distribution, in the place of an older one of its id.
func (s *Set) takeSystem(d *manifest.Distribution) {
	s.Systems = slices.DeleteFunc(s.Systems, func(have *manifest.Distribution) bool { return have.ID == d.ID })
	s.Systems = append(s.Systems, d)
}

func (s *Set) addLock(ctx context.Context, b *intake.Bundle) error {
	lock, err := read(ctx, b, "lock.yaml", manifest.DecodeLock)
	if err != nil {
		return err
	}
	s.Lock = s.Lock.Merge(lock)
	return nil
}

// sort puts the components into install order, each after what it requires.
func (s *Set) sort(specs map[string]*manifest.ComponentSpec) {
	done := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		spec := specs[id]
		if spec == nil || done[id] {
			return
		}
		done[id] = true
		for _, need := range spec.Requires {
			visit(need)
		}
		s.Components = append(s.Components, spec)
	}
	for _, id := range s.order {
		visit(id)
	}
}

// Component is the one of an id, or nil.
func (s *Set) Component(id string) *manifest.ComponentSpec {
	for _, c := range s.Components {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Bundle is the one that a component comes from, or nil.
func (s *Set) Bundle(id string) *intake.Bundle { return s.from[id] }

// MissingError is something that no bundle carries.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return "looking into the bundle: it does not carry " + e.What }

// Image finds an image by its reference; nil when no bundle carries it.
func (s *Set) Image(ref string) *ocispec.Descriptor {
	want, err := manifest.ParseReference(ref)
	if err != nil {
		return nil
	}
	for _, b := range slices.Backward(s.Bundles) {
		for _, d := range b.Index().Manifests {
			have, err := manifest.ParseReference(d.Annotations[ocispec.AnnotationRefName])
			if err == nil && have.Name() == want.Name() && (have.Tag == want.Tag && want.Tag != "" || want.Tag == "" && d.Digest == want.Digest) {
				return &d
			}
		}
	}
	return nil
}

// System is the distribution that a host with this os-release runs, or nil.
func (s *Set) System(os, version string) *manifest.Distribution {
	for _, d := range s.Systems {
		if d.OS != os {
			continue
		}
		for _, v := range d.Versions {
			if v == version || strings.HasPrefix(version, v+".") {
				return d
			}
		}
	}
	return nil
}

// Check notes what a running cluster will need and no bundle carries: each image
// that a component lists. All are reported.
func (s *Set) Check(components []*manifest.ComponentSpec) error {
	var errs []error
	for _, c := range components {
		for _, img := range c.Images {
			if s.Image(img.Ref) == nil {
				errs = append(errs, &MissingError{What: fmt.Sprintf("image %s of component %s", img.Ref, c.ID)})
			}
		}
	}
	return errors.Join(errs...)
}
