package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror"
)

// pin settles the digest of every image and file of the selection.
//
// Inputs: selection, lock. Outputs: images and files; manifests in the store.
// Rerunning is safe: what the lock pins and the store holds is not asked for again.
func (r *run) pin(ctx context.Context) error {
	platforms, err := manifest.ParsePlatforms(r.selection.Platforms)
	if err != nil {
		return err
	}
	if err := r.unpin(); err != nil {
		return err
	}
	if err := errors.Join(r.pinFiles(), r.pinCharts()); err != nil {
		return err
	}
	if r.opts.Locked {
		if err := r.refuseUnpinned(platforms); err != nil {
			return err
		}
	}
	r.opts.Progress.Start("pin", 0)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for id, images := range r.wantedImages(platforms) {
		resolved := make([]*pinnedImage, len(images))
		r.images[id] = resolved
		for i, img := range images {
			group.Go(func() (err error) {
				if resolved[i], err = r.pinImage(gctx, img, r.selection.Own[id]); err != nil {
					return err
				}
				return r.notePinned(&manifest.Lock{Images: []manifest.LockedImage{resolved[i].locked(r.opts.PinnedBy)}})
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := r.fetchCharts(ctx, true); err != nil {
		return err
	}
	if err := r.fetchUnpinnedFiles(ctx); err != nil {
		return err
	}
	return r.pinPackages(ctx)
}

// pinFiles puts the files of the selection under the lock.
func (r *run) pinFiles() error {
	var errs []error
	for _, c := range r.selection.Components {
		for _, f := range c.Files {
			p, err := r.pinFile(c, f)
			if err != nil {
				errs = append(errs, err)
			} else if p != nil {
				r.files[c.ID] = append(r.files[c.ID], p)
			}
		}
	}
	return errors.Join(errs...)
}

// wantedImages are the images that are carried for some of the selected
// platforms, by component. One that several components list is carried once, by
// the first of them, for the platforms that any wants.
func (r *run) wantedImages(platforms []ocispec.Platform) map[string][]mirror.Image {
	type place struct {
		id string
		i  int
	}
	out := map[string][]mirror.Image{}
	first := map[string]place{}
	for _, c := range r.selection.Components {
		for _, img := range c.Images {
			want := narrowed(platforms, img.Platforms)
			if len(want) < len(platforms) {
				r.opts.Progress.Note(fmt.Sprintf("%s is carried for %s only: its component says so", img.Ref, strings.Join(img.Platforms, ", ")))
			}
			if len(want) == 0 {
				continue
			}
			if at, ok := first[img.Ref]; ok {
				known := &out[at.id][at.i]
				known.Platforms = union(platforms, known.Platforms, want)
				continue
			}
			first[img.Ref] = place{c.ID, len(out[c.ID])}
			out[c.ID] = append(out[c.ID], mirror.Image{Ref: img.Ref, Platforms: want, Referrers: !img.NoReferrers})
		}
	}
	return out
}

// narrowed are the selected platforms that are among those stated; all of them
// where none are stated.
func narrowed(selected []ocispec.Platform, stated []string) []ocispec.Platform {
	if len(stated) == 0 {
		return selected
	}
	var out []ocispec.Platform
	for _, p := range selected {
		if slices.ContainsFunc(stated, func(s string) bool { return serves(s, p) }) {
			out = append(out, p)
		}
	}
	return out
}

// union keeps the order of all.
func union(all, a, b []ocispec.Platform) []ocispec.Platform {
	has := func(list []ocispec.Platform, p ocispec.Platform) bool {
		return slices.ContainsFunc(list, func(q ocispec.Platform) bool { return manifest.FormatPlatform(q) == manifest.FormatPlatform(p) })
	}
	var out []ocispec.Platform
	for _, p := range all {
		if has(a, p) || has(b, p) {
			out = append(out, p)
		}
	}
	return out
}

// pinImage resolves one image under the lock.
func (r *run) pinImage(ctx context.Context, img mirror.Image, own bool) (*pinnedImage, error) {
	p := &pinnedImage{spelled: img.Ref, pinnedBy: manifest.PinnedByBuild, source: img.Ref}
	ref, err := manifest.ParseReference(img.Ref)
	if err != nil {
		return nil, err
	}
	locked := r.lock.Image(img.Ref)
	if ref.Digest != "" && locked == nil {
		p.pinnedBy = stated(own) // by the reference itself
	}
	if locked != nil && ref.Digest != "" && ref.Digest != locked.Digest {
		return nil, &PinConflictError{Name: img.Ref, Stated: ref.Digest, Locked: locked.Digest}
	}
	if locked != nil {
		img.Pinned = locked.Digest
		p.pinnedBy, p.source = locked.PinnedBy, locked.Source
		if covers(locked, img.Platforms) {
			img.PinnedReferrers = ofPlatforms(pinnedReferrers(locked.Referrers), locked, img.Platforms)
		}
	}
	resolved, err := r.mirror.ResolveImage(ctx, img)
	if err != nil {
		return nil, err
	}
	p.ResolvedImage = resolved
	return p, nil
}

// stated is who pins what a component itself pins; own says that it is the site's.
func stated(own bool) manifest.PinnedBy {
	if own {
		return manifest.PinnedBySite
	}
	return manifest.PinnedByRelease
}

// PinConflictError says that a component and the lock pin different digests.
type PinConflictError struct {
	Name           string
	Stated, Locked digest.Digest
}

func (e *PinConflictError) Error() string {
	return fmt.Sprintf("pinning %q: its component says %s, the lock says %s", e.Name, e.Stated, e.Locked)
}

// covers tells whether a lock entry was made for all of the platforms, so that
// its list of referrers is complete.
func covers(locked *manifest.LockedImage, platforms []ocispec.Platform) bool {
	if len(locked.Platforms) == 1 && locked.Platforms[0].Digest == locked.Digest {
		return true // not an index
	}
	for _, p := range platforms {
		if !slices.ContainsFunc(locked.Platforms, func(l manifest.LockedPlatform) bool { return serves(l.Platform, p) }) {
			return false
		}
	}
	return len(locked.Platforms) > 0
}

// serves tells whether a locked platform is the one wanted, or a variant of it.
func serves(locked string, want ocispec.Platform) bool {
	s := manifest.FormatPlatform(want)
	return locked == s || strings.HasPrefix(locked, s+"/") || locked+"/v8" == s
}

// ofPlatforms leaves out the referrers of platform manifests that are not carried.
func ofPlatforms(list []mirror.Referrer, locked *manifest.LockedImage, platforms []ocispec.Platform) []mirror.Referrer {
	dropped := map[digest.Digest]bool{}
	for _, l := range locked.Platforms {
		carried := l.Digest == locked.Digest || slices.ContainsFunc(platforms, func(p ocispec.Platform) bool { return serves(l.Platform, p) })
		dropped[l.Digest] = !carried
	}
	out := []mirror.Referrer{}
	for before := -1; before != len(out); { // until what refers to something dropped is dropped too
		before = len(out)
		out = out[:0]
		for _, ref := range list {
			if dropped[ref.Subject] {
				dropped[ref.Descriptor.Digest] = true
				continue
			}
			out = append(out, ref)
		}
	}
	return out
}

// pinFile is a file under the lock, or nil when its component says that it is not
// for any of the selected platforms. A platform that has no source otherwise is a
// *mirror.MissingPlatformError.
func (r *run) pinFile(c *manifest.ComponentSpec, f manifest.File) (*pinnedFile, error) {
	platforms, err := manifest.ParsePlatforms(r.selection.Platforms)
	if err != nil {
		return nil, err
	}
	p := &pinnedFile{}
	for _, want := range narrowed(platforms, f.Platforms) {
		i := slices.IndexFunc(f.Sources, func(s manifest.FileSource) bool { return s.Platform == "" || serves(s.Platform, want) })
		if i < 0 {
			return nil, missingSource(c, f, want)
		}
		if i > 0 || len(p.sources) == 0 || f.Sources[i].Platform != "" {
			file, by, err := r.lockedFile(c, &f, &f.Sources[i])
			if err != nil {
				return nil, err
			}
			p.sources = append(p.sources, file)
			p.pinnedBy = append(p.pinnedBy, by)
		}
	}
	if len(p.sources) == 0 {
		r.opts.Progress.Note(fmt.Sprintf("file %s/%s is not for the selected platforms: its component says so", c.ID, f.Name))
		return nil, nil
	}
	return p, nil
}

func missingSource(c *manifest.ComponentSpec, f manifest.File, want ocispec.Platform) error {
	e := &mirror.MissingPlatformError{Ref: c.ID + "/" + f.Name, Want: manifest.FormatPlatform(want)}
	for _, s := range f.Sources {
		e.Have = append(e.Have, s.Platform)
	}
	return e
}

// lockedFile puts together what component and lock say of a file's source.
func (r *run) lockedFile(c *manifest.ComponentSpec, f *manifest.File, s *manifest.FileSource) (mirror.File, manifest.PinnedBy, error) {
	mode, err := manifest.ParseMode(s.Mode)
	if err != nil {
		return mirror.File{}, "", err
	}
	file := mirror.File{Component: c.ID, Name: f.Name, Version: f.Version, URL: s.URL, Mode: mode}
	if s.Platform != "" {
		p, err := manifest.ParsePlatform(s.Platform)
		if err != nil {
			return mirror.File{}, "", err
		}
		file.Platform = &p
	}
	by := manifest.PinnedByBuild
	locked := r.lock.File(c.ID, f, s)
	if locked != nil {
		file.Digest, by = locked.Digest, locked.PinnedBy
	}
	if s.SHA256 != "" {
		said := digest.NewDigestFromEncoded(digest.SHA256, s.SHA256)
		if locked != nil && said != locked.Digest {
			return mirror.File{}, "", &PinConflictError{Name: c.ID + "/" + f.Name, Stated: said, Locked: locked.Digest}
		}
		file.Digest = said
		if locked == nil {
			by = stated(r.selection.Own[c.ID])
		}
	}
	file.Members, err = lockedMembers(s, locked)
	return file, by, err
}

// lockedMembers are the members of a source with the digests the lock has.
func lockedMembers(s *manifest.FileSource, locked *manifest.LockedFile) ([]mirror.Member, error) {
	var out []mirror.Member
	for _, m := range s.Members {
		mode, err := manifest.ParseMode(m.Mode)
		if err != nil {
			return nil, err
		}
		member := mirror.Member{Path: m.Path, Name: m.CarriedName(), Mode: mode}
		if locked != nil {
			for _, lm := range locked.Members {
				if lm.Name == member.Name && lm.Path == member.Path {
					member.Digest, member.Size = lm.Digest, lm.Size
				}
			}
		}
		out = append(out, member)
	}
	return out, nil
}

// fetchUnpinnedFiles fetches the files that only their content can pin.
func (r *run) fetchUnpinnedFiles(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for _, f := range r.allFiles() {
		for i := range f.sources {
			if f.sources[i].Digest != "" {
				continue
			}
			group.Go(func() error {
				stored, err := r.mirror.FetchFile(ctx, f.sources[i])
				if err != nil {
					return err
				}
				return r.notePin(f, i, stored.File)
			})
		}
	}
	return group.Wait()
}

// notePin keeps what was fetched to learn its digest.
func (r *run) notePin(f *pinnedFile, i int, file mirror.File) error {
	r.pinning.Lock()
	f.sources[i] = file
	files := f.locked(r.opts.PinnedBy)[i : i+1]
	r.pinning.Unlock()
	return r.notePinned(&manifest.Lock{Files: files})
}

// allFiles lists the files in install order.
func (r *run) allFiles() []*pinnedFile {
	var out []*pinnedFile
	for _, c := range r.selection.Components {
		out = append(out, r.files[c.ID]...)
	}
	return out
}

// unpin forgets what Options.Unpin names. A name that the lock does not have is a
// *manifest.ChoiceError.
func (r *run) unpin() error {
	kept := manifest.NewLock(r.lock.Release)
	found := map[string]bool{}
	for _, img := range r.lock.Images {
		if slices.Contains(r.opts.Unpin, img.Ref) {
			found[img.Ref] = true
			continue
		}
		kept.Images = append(kept.Images, img)
	}
	for _, c := range r.lock.Charts {
		if name := c.Component + "/" + c.Name; slices.Contains(r.opts.Unpin, name) {
			found[name] = true
			continue
		}
		kept.Charts = append(kept.Charts, c)
	}
	for _, f := range r.lock.Files {
		if name := f.Component + "/" + f.Name; slices.Contains(r.opts.Unpin, name) {
			found[name] = true
			continue
		}
		kept.Files = append(kept.Files, f)
	}
	for _, p := range r.lock.Packages {
		if slices.Contains(r.opts.Unpin, p.Distribution) {
			found[p.Distribution] = true
			continue
		}
		kept.Packages = append(kept.Packages, p)
	}
	for _, name := range r.opts.Unpin {
		if !found[name] {
			return &manifest.ChoiceError{Msg: fmt.Sprintf("pinning %q anew: the lock does not have it", name)}
		}
	}
	r.lock = kept
	return nil
}

// UnpinnedError lists what no lock pins.
type UnpinnedError struct{ Names []string }

func (e *UnpinnedError) Error() string {
	lines := make([]string, len(e.Names))
	for i, n := range e.Names {
		lines[i] = fmt.Sprintf("checking the lock: %q is not pinned", n)
	}
	return strings.Join(lines, "\n")
}

// refuseUnpinned lists everything selected that the lock does not pin, with its
// platforms and what refers to it.
func (r *run) refuseUnpinned(platforms []ocispec.Platform) error {
	var names []string
	for _, images := range r.wantedImages(platforms) {
		for _, img := range images {
			if locked := r.lock.Image(img.Ref); locked == nil || !covers(locked, img.Platforms) {
				names = append(names, img.Ref)
			}
		}
	}
	for _, f := range r.allFiles() {
		if i := slices.IndexFunc(f.sources, func(s mirror.File) bool { return s.Digest == "" }); i >= 0 {
			names = append(names, f.sources[i].Component+"/"+f.sources[i].Name)
		}
	}
	unpinned, err := r.unpinnedPackages()
	if err != nil {
		return err
	}
	if names = append(append(names, r.unpinnedCharts()...), unpinned...); len(names) > 0 {
		slices.Sort(names)
		return &UnpinnedError{Names: names}
	}
	return nil
}

// completeLock fills the lock of what is carried, out of what pin and fetch found.
func (r *run) completeLock() (*manifest.Lock, error) {
	lock := manifest.NewLock(r.selection.Name)
	for _, a := range r.artifacts() {
		switch a := a.(type) {
		case *pinnedImage:
			if lock.Image(a.spelled) == nil { // two components may list one image
				lock.Images = append(lock.Images, a.locked(r.opts.PinnedBy))
			}
		case *pinnedChart:
			lock.Charts = append(lock.Charts, a.locked(r.opts.PinnedBy))
		case *pinnedFile:
			lock.Files = append(lock.Files, a.locked(r.opts.PinnedBy)...)
		case *packageArtifact: // lockedPackages has them
		default:
			return nil, errors.New("completing the lock: an artifact of unknown kind")
		}
	}
	lock.Packages = r.lockedPackages()
	return lock, nil
}
