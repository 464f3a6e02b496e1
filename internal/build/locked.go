package build

import (
	"naru/manifest"
)

// locked is the image's entry in the lock; by replaces "this build" as who pinned
// it, when not empty.
func (p *pinnedImage) locked(by manifest.PinnedBy) manifest.LockedImage {
	out := manifest.LockedImage{
		Ref:       p.spelled,
		Digest:    p.Descriptor.Digest,
		MediaType: p.Descriptor.MediaType,
		Size:      p.Descriptor.Size,
		Source:    p.source,
		PinnedBy:  orElse(p.pinnedBy, by),
	}
	for _, m := range p.Platforms {
		out.Platforms = append(out.Platforms, manifest.LockedPlatform{Platform: manifest.FormatPlatform(m.Platform), Digest: m.Descriptor.Digest, Size: m.Descriptor.Size, Content: m.Content})
	}
	for _, ref := range p.Referrers {
		out.Referrers = append(out.Referrers, manifest.LockedReferrer{Digest: ref.Descriptor.Digest, Subject: ref.Subject, Tag: ref.Tag})
	}
	return out
}

// locked are the file's entries in the lock, one a platform.
func (p *pinnedFile) locked(by manifest.PinnedBy) []manifest.LockedFile {
	var out []manifest.LockedFile
	for i, s := range p.sources {
		f := manifest.LockedFile{Component: s.Component, Name: s.Name, Version: s.Version, URL: s.URL, Digest: s.Digest, Source: s.URL, PinnedBy: orElse(p.pinnedBy[i], by)}
		if s.Platform != nil {
			f.Platform = manifest.FormatPlatform(*s.Platform)
		}
		if i < len(p.stored) && len(s.Members) == 0 {
			f.Size = p.stored[i].Size
		}
		for _, m := range s.Members {
			if m.Digest != "" {
				f.Members = append(f.Members, manifest.LockedMember{Name: m.Name, Path: m.Path, Digest: m.Digest, Size: m.Size})
			}
		}
		out = append(out, f)
	}
	return out
}

// orElse is by, unless what was pinned before this run was.
func orElse(pinned, by manifest.PinnedBy) manifest.PinnedBy {
	if pinned == manifest.PinnedByBuild && by != "" {
		return by
	}
	return pinned
}
