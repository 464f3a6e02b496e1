package lint

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"naru/manifest"
)

// floatingRE are tags that upstream moves as a matter of course: words, and versions
// of less than three parts.
var floatingRE = regexp.MustCompile(`(?i)latest|stable|edge|nightly|master|main\b|\blts\b|^[a-z-]+$|^v?\d+(\.\d+)?$`)

// floatingTags wants the shipped lock to pin a tag that upstream moves, or the image's
// note to say that it does.
func (l *linter) floatingTags(c *manifest.ComponentSpec, report reporter) {
	for i, img := range c.Images {
		ref, err := manifest.ParseReference(img.Ref)
		if err != nil || ref.Digest != "" || !floatingRE.MatchString(ref.Tag) || l.pinned(img.Ref) {
			continue
		}
		if img.Note == "" {
			report(Error, fmt.Sprintf("images[%d].ref", i), "tag %q of %q is one that upstream moves, and neither a digest, the lock nor a note speaks of it", ref.Tag, ref.Name())
		}
	}
}

func (l *linter) pinned(ref string) bool {
	return l.set.Shipped != nil && l.set.Shipped.Image(ref) != nil
}

// explained wants images of a component that installs nothing to say who asks for
// them; those of steps are compared with what renders.
func (l *linter) explained(c *manifest.ComponentSpec, report reporter) {
	if len(c.Steps) > 0 {
		return
	}
	for i, img := range c.Images {
		if !img.Runtime && !img.Artifact && img.Note == "" {
			report(Error, fmt.Sprintf("images[%d]", i), "image %q is named by no step: runtime: true and a note say who asks for it", img.Ref)
		}
	}
}

// platforms wants every file and image to be there for all platforms of the release,
// or to say for which.
func (l *linter) platforms(c *manifest.ComponentSpec, report reporter) {
	for i, f := range c.Files {
		if slices.ContainsFunc(f.Sources, func(s manifest.FileSource) bool { return s.Platform == "" }) {
			continue
		}
		for _, p := range stated(f.Platforms, l.set.Platforms) {
			if !slices.ContainsFunc(f.Sources, func(s manifest.FileSource) bool { return s.Platform == p }) {
				report(Error, fmt.Sprintf("files[%d]", i), "file %q has no source for %s: give one, or say with platforms that upstream has none", f.Name, p)
			}
		}
		l.narrowed(f.Platforms, f.Note, "file "+f.Name, fmt.Sprintf("files[%d].platforms", i), report)
	}
	for i, img := range c.Images {
		l.narrowed(img.Platforms, img.Note, "image "+img.Ref, fmt.Sprintf("images[%d].platforms", i), report)
		locked := l.set.Shipped.Image(img.Ref)
		if locked == nil || img.Artifact {
			continue
		}
		for _, p := range stated(img.Platforms, l.set.Platforms) {
			if !slices.ContainsFunc(locked.Platforms, func(lp manifest.LockedPlatform) bool {
				return lp.Platform == p || strings.HasPrefix(lp.Platform, p+"/")
			}) && len(locked.Platforms) > 0 {
				report(Error, fmt.Sprintf("images[%d]", i), "image %q is locked without %s, and does not say that upstream has none", img.Ref, p)
			}
		}
	}
}

func stated(own, release []string) []string {
	if len(own) > 0 {
		return own
	}
	return release
}

// narrowed notes what a site with a platform goes without.
func (l *linter) narrowed(platforms []string, note, what, at string, report reporter) {
	for _, p := range l.set.Platforms {
		if len(platforms) > 0 && !slices.Contains(platforms, p) {
			if note == "" {
				note = "it does not say why"
			}
			report(Note, at, "%s is not there for %s: %s", what, p, note)
		}
	}
}

// runtime wants a component that installs something to answer what it pulls and calls
// at run time; an empty list is the answer "nothing".
func (l *linter) runtime(c *manifest.ComponentSpec, report reporter) {
	if len(c.Steps) == 0 {
		return
	}
	if c.RuntimePulls == nil {
		report(Error, "", "component %q does not say what it pulls at run time: list it under runtimePulls, or write runtimePulls: [] where it pulls nothing", c.ID)
	}
	if c.PhoneHome == nil {
		report(Error, "", "component %q does not say what it calls on its own account: list it under phoneHome, or write phoneHome: [] where nothing is known", c.ID)
	}
}

// templates renders what needs no chart: conditions, values, inline objects and
// patches, for every invented site.
func (l *linter) templates(c *manifest.ComponentSpec, report reporter) {
	for i := range c.Steps {
		s := &c.Steps[i]
		at := fmt.Sprintf("steps[%d]", i)
		for _, facts := range manifest.SampleSites(l.set.Name, l.set.Kubernetes, c) {
			applies, err := facts.Applies(s)
			if err != nil {
				report(Error, at+".when", "%v", err)
			}
			if !applies {
				continue
			}
			texts := map[string]string{at + ".values": s.Values, at + ".inline": s.Inline}
			for j, p := range s.Patches {
				texts[fmt.Sprintf("%s.patches[%d].patch", at, j)] = p.Patch
			}
			for place, text := range texts {
				if _, err := facts.Render(s.Name, text); err != nil {
					report(Error, place, "%v", err)
				}
			}
		}
	}
}

// order wants the release to list a component after those that it requires.
func (l *linter) order(c *manifest.ComponentSpec, report reporter) {
	self := slices.Index(l.set.Components, c.ID)
	for i, id := range c.Requires {
		if at := slices.Index(l.set.Components, id); at > self {
			report(Error, fmt.Sprintf("requires[%d]", i), "release.yaml lists %q before %q, which it requires", c.ID, id)
		}
	}
}

// profiles wants every profile to select without error.
func (l *linter) profiles(release string) {
	if slices.ContainsFunc(l.set.Components, func(id string) bool { return l.set.Specs[id] == nil }) {
		return // a selection would only repeat it
	}
	for _, p := range l.set.Profiles {
		if _, err := manifest.Select(l.set, nil, manifest.SelectOptions{Profile: p.Name}); err != nil {
			l.add(Finding{Severity: Error, Rule: "profile", File: path.Join(release, "release.yaml"), Message: fmt.Sprintf("profile %q: %v", p.Name, err)})
		}
	}
}

// pins counts what the shipped lock leaves to the build.
func (l *linter) pins(release string) {
	var images, files, openImages, openFiles int
	for _, id := range l.set.Components {
		c := l.set.Specs[id]
		if c == nil {
			continue
		}
		for _, img := range c.Images {
			images++
			if ref, err := manifest.ParseReference(img.Ref); err == nil && ref.Digest == "" && !l.pinned(img.Ref) {
				openImages++
			}
		}
		for _, f := range c.Files {
			for _, s := range f.Sources {
				files++
				if s.SHA256 == "" && !slices.ContainsFunc(l.set.Shipped.Files, func(lf manifest.LockedFile) bool { return lf.URL == s.URL && lf.Digest != "" }) {
					openFiles++
				}
			}
		}
	}
	if openImages+openFiles > 0 {
		l.add(Finding{Severity: Note, Rule: "pinned", File: path.Join(release, "lock.yaml"),
			Message: fmt.Sprintf("%d of %d images and %d of %d files are pinned by nothing that ships: bundle lock or the build pins them", openImages, images, openFiles, files)})
	}
}
