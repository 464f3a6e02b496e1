package facts_test

import (
	"testing"

	"naru/manifest"
	"naru/test/facts"
)

// known is what the facts say of one name: the digests of all that mention it.
type known struct {
	proven map[string]bool
	moving bool
}

func gather(t *testing.T) (images, files, charts map[string]*known) {
	t.Helper()
	all, err := facts.All()
	if err != nil {
		t.Fatal(err)
	}
	images, files, charts = map[string]*known{}, map[string]*known{}, map[string]*known{}
	for _, a := range all {
		m, key := files, a.URL
		switch a.Kind {
		case facts.Image:
			m, key = images, a.Ref
		case facts.Chart:
			m, key = charts, a.Name+" "+a.Version
		case facts.File:
		}
		if m[key] == nil {
			m[key] = &known{proven: map[string]bool{}}
		}
		m[key].moving = m[key].moving || a.Moving
		if a.Proven {
			m[key].proven["sha256:"+a.SHA256] = true
		}
	}
	return images, files, charts
}

func eachRelease(t *testing.T, do func(*manifest.ReleaseSet)) {
	t.Helper()
	fsys := manifest.EmbeddedReleases()
	names, err := manifest.ReleaseNames(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "demo" {
			continue
		}
		set, err := manifest.LoadRelease(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		do(set)
	}
}

// TestLocks compares every digest and checksum of the shipped locks with the facts,
// and the other way round: what the facts prove is pinned.
func TestLocks(t *testing.T) {
	images, files, charts := gather(t)
	check := func(what, name, digest string, by manifest.PinnedBy, source string, k *known) {
		t.Helper()
		switch {
		case k == nil || !k.proven[digest]:
			t.Errorf("%s %q is locked to %s, which no fact proves", what, name, digest)
		case len(k.proven) > 1:
			t.Errorf("%s %q is locked, and the facts give several digests", what, name)
		case k.moving:
			t.Errorf("%s %q is locked, and upstream moves it", what, name)
		case by != manifest.PinnedByRelease || source == "":
			t.Errorf("%s %q is pinned by %q from %q", what, name, by, source)
		}
	}
	eachRelease(t, func(set *manifest.ReleaseSet) {
		n := 0
		for _, e := range set.Shipped.Images {
			check("image", e.Ref, e.Digest.String(), e.PinnedBy, e.Source, images[e.Ref])
			n++
		}
		for _, e := range set.Shipped.Files {
			check("file", e.URL, e.Digest.String(), e.PinnedBy, e.Source, files[e.URL])
			n++
		}
		for _, e := range set.Shipped.Charts {
			check("chart", e.Name+" "+e.Version, e.Digest.String(), e.PinnedBy, e.Source, charts[e.Name+" "+e.Version])
			n++
		}
		missing := func(k *known) bool { return k != nil && !k.moving && len(k.proven) == 1 }
		for id, c := range set.Specs {
			for _, img := range c.Images {
				if missing(images[img.Ref]) && set.Shipped.Image(img.Ref) == nil {
					t.Errorf("release %q: the facts prove a digest of image %q, and the lock has none", set.Name, img.Ref)
				}
			}
			for i := range c.Files {
				for j := range c.Files[i].Sources {
					s := &c.Files[i].Sources[j]
					if missing(files[s.URL]) && set.Shipped.File(id, &c.Files[i], s) == nil {
						t.Errorf("release %q: the facts prove a checksum of %q, and the lock has none", set.Name, s.URL)
					}
				}
			}
			for i := range c.Charts {
				ch := &c.Charts[i]
				if missing(charts[ch.Name+" "+ch.Version]) && set.Shipped.Chart(id, ch) == nil {
					t.Errorf("release %q: the facts prove a checksum of chart %q, and the lock has none", set.Name, ch.Name)
				}
			}
		}
		t.Logf("release %q pins %d images, files and charts", set.Name, n)
	})
}

// TestNamesAreFacts: a release names nothing that the facts do not know.
func TestNamesAreFacts(t *testing.T) {
	images, files, charts := gather(t)
	eachRelease(t, func(set *manifest.ReleaseSet) {
		for id, c := range set.Specs {
			for _, img := range c.Images {
				if images[img.Ref] == nil {
					t.Errorf("%s/%s: image %q is in no fact", set.Name, id, img.Ref)
				}
			}
			for _, f := range c.Files {
				for _, s := range f.Sources {
					if files[s.URL] == nil {
						t.Errorf("%s/%s: file %q is in no fact", set.Name, id, s.URL)
					}
				}
			}
			for _, ch := range c.Charts {
				if charts[ch.Name+" "+ch.Version] == nil {
					t.Errorf("%s/%s: chart %q %s is in no fact", set.Name, id, ch.Name, ch.Version)
				}
			}
		}
	})
}
