package manifest

import "github.com/opencontainers/go-digest"

// Digests lists everything that the lock names, each at least once: the manifests of
// images and what refers to them, files, charts, OS packages and their metadata. What
// manifests consist of is not in a lock. The archive of a file of which members are
// carried is left out where have tells that all the members are there: a build asks
// for the archive no more.
func (l *Lock) Digests(have func(digest.Digest) bool) []digest.Digest {
	var out []digest.Digest
	add := func(list ...digest.Digest) {
		for _, d := range list {
			if d != "" {
				out = append(out, d)
			}
		}
	}
	for _, img := range l.Images {
		add(img.Digest)
		for _, p := range img.Platforms {
			add(p.Digest)
		}
		for _, r := range img.Referrers {
			add(r.Digest)
		}
	}
	for i := range l.Files {
		add(l.Files[i].digests(have)...)
	}
	for _, c := range l.Charts {
		add(c.Digest, c.Manifest, c.Provenance)
		for _, r := range c.Referrers {
			add(r.Digest)
		}
	}
	for _, set := range l.Packages {
		for _, s := range set.Sources {
			add(s.Digest)
			for _, f := range s.Files {
				add(f.Digest)
			}
		}
		for _, p := range set.Packages {
			add(p.Digest)
		}
	}
	return out
}

// digests are the members of a file, and what its URL serves where a build needs it.
func (f *LockedFile) digests(have func(digest.Digest) bool) []digest.Digest {
	var out []digest.Digest
	whole := len(f.Members) == 0
	for _, m := range f.Members {
		out = append(out, m.Digest)
		whole = whole || !have(m.Digest)
	}
	if whole {
		out = append(out, f.Digest)
	}
	return out
}
