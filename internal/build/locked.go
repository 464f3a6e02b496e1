package build

import (
	"naru/manifest"
	"naru/pkg/mirror"
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
	out.Referrers = lockedReferrers(p.Referrers)
	return out
}

// lockedReferrers are referrers as a lock has them.
func lockedReferrers(list []mirror.Referrer) []manifest.LockedReferrer {
	var out []manifest.LockedReferrer
	for _, ref := range list {
		out = append(out, manifest.LockedReferrer{Digest: ref.Descriptor.Digest, Subject: ref.Subject, Tag: ref.Tag})
	}
	return out
}

// pinnedReferrers are those that a lock names; not nil, so that upstream is not asked.
func pinnedReferrers(list []manifest.LockedReferrer) []mirror.Referrer {
	out := []mirror.Referrer{}
	for _, ref := range list {
		out = append(out, mirror.PinnedReferrer(ref.Digest, ref.Subject, ref.Tag))
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
