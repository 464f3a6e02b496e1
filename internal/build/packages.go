package build

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
	"naru/pkg/mirror/packages/deb"
	"naru/pkg/mirror/packages/rpm"
)

// resolvers are the package systems that a build knows.
func (r *run) resolvers() map[manifest.Family]packages.Resolver {
	return map[manifest.Family]packages.Resolver{
		manifest.FamilyDeb: deb.Resolver{},
		manifest.FamilyRPM: &rpm.Resolver{Note: r.opts.Progress.Note},
	}
}

// system is a distribution of the selection with what is carried of it, one set a
// platform.
type system struct {
	distribution *manifest.Distribution
	sets         []packages.Set
	// metadata and artifacts are set by fetch; artifacts by component.
	metadata  *packageArtifact
	artifacts map[string]*packageArtifact
}

// packageArtifact is an artifact of packages or of their metadata.
type packageArtifact struct{ *mirror.Artifact }

func (p *packageArtifact) descriptors() []ocispec.Descriptor {
	return slices.Concat(p.Manifests, p.Blobs)
}

func (p *packageArtifact) entries() []ocispec.Descriptor {
	return []ocispec.Descriptor{entry(p.Descriptor, p.Ref, manifest.ArtifactPackages, "")}
}

// plainPackageHosts are the hosts of package sources that are given by http: vendors
// sign what they serve there, and every file counts by a digest that hangs off that.
func (r *run) plainPackageHosts() []string {
	var out []string
	for _, d := range r.selection.Distributions {
		for _, s := range d.Sources {
			if u, err := url.Parse(s.URL); err == nil && u.Scheme == "http" {
				out = append(out, u.Host)
			}
		}
	}
	return out
}

// wantedPackages are what to ask for of each distribution on each platform.
func (r *run) wantedPackages() ([]packages.Request, error) {
	var out []packages.Request
	for _, d := range r.selection.Distributions {
		for _, platform := range r.selection.Platforms {
			roots := r.selection.Roots(d.ID, platform)
			if len(roots) == 0 {
				continue
			}
			arch, err := manifest.PackageArch(d.Family, platform)
			if err != nil {
				return nil, err
			}
			out = append(out, packages.Request{
				Distribution: d, Platform: platform, Arch: arch, Keyring: r.selection.Keyring,
				Roots: roots, Pinned: r.lock.PackageSet(d.ID, platform),
			})
		}
	}
	return out, nil
}

// noteNoDistributions says which components' packages stay behind because no
// distribution is selected.
func (r *run) noteNoDistributions() {
	if len(r.selection.Distributions) > 0 {
		return
	}
	for _, c := range r.selection.Components {
		if len(c.Packages) > 0 {
			r.opts.Progress.Note(fmt.Sprintf("packages of %q are not carried: no distribution is selected (--distro)", c.ID))
		}
	}
}

// pinPackages settles which OS packages are carried. One distribution after the
// other: their metadata is large in memory.
func (r *run) pinPackages(ctx context.Context) error {
	r.noteNoDistributions()
	requests, err := r.wantedPackages()
	if err != nil {
		return err
	}
	if err := checkKeyrings(requests); err != nil {
		return err
	}
	carrier := r.carrier()
	for _, q := range requests {
		locked, err := carrier.Resolve(ctx, q)
		if err != nil {
			return err
		}
		if locked.PinnedBy == "" {
			locked.PinnedBy = orElse(manifest.PinnedByBuild, r.opts.PinnedBy)
		}
		r.addSet(packages.Set{Request: q, Locked: locked})
		if err := r.notePinned(&manifest.Lock{Packages: []manifest.LockedPackages{*locked}}); err != nil {
			return err
		}
	}
	return nil
}

// checkKeyrings finds out before anything is fetched whether there are keys to verify
// each source with.
func checkKeyrings(requests []packages.Request) error {
	var errs []error
	told := map[string]bool{}
	for _, q := range requests {
		for _, s := range q.Sources() {
			if _, err := q.Keyring(s.Keyring); err != nil && !told[q.Distribution.ID+s.Name] {
				told[q.Distribution.ID+s.Name] = true
				errs = append(errs, fmt.Errorf("pinning packages of %q, source %q: %w", q.Distribution.ID, s.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *run) addSet(s packages.Set) {
	for _, have := range r.systems {
		if have.distribution.ID == s.Distribution.ID {
			have.sets = append(have.sets, s)
			return
		}
	}
	r.systems = append(r.systems, &system{distribution: s.Distribution, sets: []packages.Set{s}, artifacts: map[string]*packageArtifact{}})
}

func (r *run) carrier() *packages.Carrier {
	return packages.New(r.mirror, r.store, r.resolvers(), r.opts.Jobs)
}

// unpinnedPackages names what --locked refuses: distributions that the lock does not
// have for a platform, or not for what a component asks for.
func (r *run) unpinnedPackages() ([]string, error) {
	requests, err := r.wantedPackages()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, q := range requests {
		if q.Covered() {
			continue
		}
		var missing []string
		for _, root := range q.Roots {
			if q.Pinned == nil || !q.Pinned.Covers(root) {
				missing = append(missing, root.Component)
			}
		}
		name := "packages of " + q.Distribution.ID + " for " + q.Platform
		if q.Pinned != nil && len(missing) > 0 {
			name += " (" + strings.Join(missing, ", ") + ")"
		}
		names = append(names, name)
	}
	return names, nil
}

// packageFiles are all package and metadata files that are carried.
func (r *run) packageFiles() []packages.File {
	var out []packages.File
	seen := map[string]bool{}
	for _, s := range r.systems {
		for _, set := range s.sets {
			for _, f := range packages.FilesOf(set.Locked) {
				if !seen[f.Digest.String()] {
					seen[f.Digest.String()] = true
					out = append(out, f)
				}
			}
		}
	}
	return out
}

// fetchPackages fetches and verifies the packages and makes their artifacts.
func (r *run) fetchPackages(ctx context.Context) error {
	carrier := r.carrier()
	for _, s := range r.systems {
		for _, set := range s.sets {
			if err := carrier.FetchAll(ctx, set.Request, set.Locked); err != nil {
				return err
			}
		}
		metadata, err := carrier.Metadata(ctx, s.sets)
		if err != nil {
			return err
		}
		s.metadata = &packageArtifact{metadata}
		for _, c := range r.selection.Components {
			if !slices.ContainsFunc(s.sets, func(set packages.Set) bool { return len(set.Locked.Of(c.ID)) > 0 }) {
				continue
			}
			a, err := carrier.Artifact(ctx, c, s.sets)
			if err != nil {
				return err
			}
			s.artifacts[c.ID] = &packageArtifact{a}
		}
	}
	return nil
}

// packageArtifacts are the artifacts of a component's packages, each distribution's
// metadata in front of the first of its packages; told keeps which were.
func (r *run) packageArtifacts(component string, told map[string]bool) []artifact {
	var out []artifact
	for _, s := range r.systems {
		a := s.artifacts[component]
		if a == nil {
			continue
		}
		if !told[s.distribution.ID] {
			told[s.distribution.ID] = true
			out = append(out, s.metadata)
		}
		out = append(out, a)
	}
	return out
}

// lockedPackages are the entries of the completed lock.
func (r *run) lockedPackages() []manifest.LockedPackages {
	var out []manifest.LockedPackages
	for _, s := range r.systems {
		for _, set := range s.sets {
			out = append(out, *set.Locked)
		}
	}
	return out
}

// countPackages counts the package files that are carried.
func (r *run) countPackages() int {
	seen := map[string]bool{}
	for _, s := range r.systems {
		for _, set := range s.sets {
			for _, p := range set.Locked.Packages {
				seen[p.Digest.String()] = true
			}
		}
	}
	return len(seen)
}
