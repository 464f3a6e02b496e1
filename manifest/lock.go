package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"
)

// PinnedBy says who fixed an artifact's digest.
type PinnedBy string

// Who can pin: the release's shipped lock, the site's own lock (bundle lock), or
// the build that found it unpinned.
const (
	PinnedByRelease PinnedBy = "release"
	PinnedBySite    PinnedBy = "site"
	PinnedByBuild   PinnedBy = "build"
)

// Lock is lock.yaml: the digest of everything a release names by version.
// Encoded canonically: artifacts sorted, each once.
type Lock struct {
	APIVersion string        `yaml:"apiVersion"`
	Kind       string        `yaml:"kind"`
	Release    string        `yaml:"release"`
	Images     []LockedImage `yaml:"images,omitempty"`
	Charts     []LockedChart `yaml:"charts,omitempty"`
	Files      []LockedFile  `yaml:"files,omitempty"`
	// Packages pins OS packages, an entry a distribution and platform.
	Packages []LockedPackages `yaml:"packages,omitempty"`
}

// LockedImage pins one image reference.
type LockedImage struct {
	Ref string `yaml:"ref"`
	// Digest, MediaType and Size (bytes) are those of the manifest or index that
	// the reference names.
	Digest    digest.Digest `yaml:"digest"`
	MediaType string        `yaml:"mediaType,omitempty"`
	Size      int64         `yaml:"size,omitempty"`
	// Source says where the digest was read.
	Source    string           `yaml:"source"`
	PinnedBy  PinnedBy         `yaml:"pinnedBy"`
	Platforms []LockedPlatform `yaml:"platforms,omitempty"`
	Referrers []LockedReferrer `yaml:"referrers,omitempty"`
}

// LockedPlatform is one platform's manifest of an image.
type LockedPlatform struct {
	Platform string        `yaml:"platform"`
	Digest   digest.Digest `yaml:"digest"`
	// Size of the manifest and Content, the sum of manifest, config and layers, in bytes.
	Size    int64 `yaml:"size"`
	Content int64 `yaml:"content"`
}

// LockedReferrer is a signature, attestation or SBOM that comes along.
type LockedReferrer struct {
	Digest  digest.Digest `yaml:"digest"`
	Subject digest.Digest `yaml:"subject"`
	// Tag is set for the cosign tag scheme, empty for OCI 1.1 referrers.
	Tag string `yaml:"tag,omitempty"`
}

func (r *LockedReferrer) validate(doc *document, at string) {
	checkDigest(doc, at+".digest", r.Digest)
	checkDigest(doc, at+".subject", r.Subject)
}

func compareReferrers(a, b LockedReferrer) int {
	return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
}

// LockedFile pins what a URL serves.
type LockedFile struct {
	Component string        `yaml:"component"`
	Name      string        `yaml:"name"`
	Version   string        `yaml:"version"`
	Platform  string        `yaml:"platform,omitempty"`
	URL       string        `yaml:"url"`
	Digest    digest.Digest `yaml:"digest"`
	// Size is in bytes; 0 where it is not known yet.
	Size     int64    `yaml:"size,omitempty"`
	Source   string   `yaml:"source"`
	PinnedBy PinnedBy `yaml:"pinnedBy"`
	// Members pins the files that are carried instead of the archive.
	Members []LockedMember `yaml:"members,omitempty"`
}

// LockedMember pins one file of an archive.
type LockedMember struct {
	Name   string        `yaml:"name"`
	Path   string        `yaml:"path"`
	Digest digest.Digest `yaml:"digest"`
	Size   int64         `yaml:"size"`
}

// NewLock is an empty lock for a release.
func NewLock(release string) *Lock {
	return &Lock{APIVersion: APIVersion, Kind: KindLock, Release: release}
}

// DecodeLock decodes and validates lock.yaml.
func DecodeLock(file string, data []byte) (*Lock, error) {
	var l Lock
	doc, err := decodeYAML(file, data, KindLock, &l)
	if err != nil {
		return nil, err
	}
	for i, img := range l.Images {
		at := fmt.Sprintf("images[%d]", i)
		if _, err := ParseReference(img.Ref); err != nil {
			doc.errorf(at+".ref", "%v", err)
		}
		checkDigest(doc, at+".digest", img.Digest)
		for j, p := range img.Platforms {
			validatePlatforms(doc, fmt.Sprintf("%s.platforms[%d].platform", at, j), []string{p.Platform})
			checkDigest(doc, fmt.Sprintf("%s.platforms[%d].digest", at, j), p.Digest)
		}
		for j, r := range img.Referrers {
			r.validate(doc, fmt.Sprintf("%s.referrers[%d]", at, j))
		}
	}
	for i := range l.Charts {
		l.Charts[i].validate(doc, fmt.Sprintf("charts[%d]", i))
	}
	for i, f := range l.Files {
		checkDigest(doc, fmt.Sprintf("files[%d].digest", i), f.Digest)
		for j, m := range f.Members {
			checkDigest(doc, fmt.Sprintf("files[%d].members[%d].digest", i, j), m.Digest)
		}
	}
	for i := range l.Packages {
		l.Packages[i].validate(doc, fmt.Sprintf("packages[%d]", i))
	}
	l.sort()
	for i := 1; i < len(l.Packages); i++ {
		if comparePackageSets(l.Packages[i], l.Packages[i-1]) == 0 {
			doc.errorf("packages", "packages of %q are locked twice for platform %q", l.Packages[i].Distribution, l.Packages[i].Platform)
		}
	}
	for i := 1; i < len(l.Images); i++ {
		if l.Images[i].Ref == l.Images[i-1].Ref {
			doc.errorf("images", "image %q is locked twice", l.Images[i].Ref)
		}
	}
	for i := 1; i < len(l.Charts); i++ {
		if compareCharts(l.Charts[i], l.Charts[i-1]) == 0 {
			doc.errorf("charts", "chart %q of component %q is locked twice", l.Charts[i].Name, l.Charts[i].Component)
		}
	}
	for i := 1; i < len(l.Files); i++ {
		if compareFiles(l.Files[i], l.Files[i-1]) == 0 {
			doc.errorf("files", "file %q of component %q is locked twice for platform %q", l.Files[i].Name, l.Files[i].Component, l.Files[i].Platform)
		}
	}
	return &l, doc.err()
}

func checkDigest(doc *document, at string, d digest.Digest) {
	if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
		doc.errorf(at, "digest %q: want sha256:<64 hex digits>", d)
	}
}

// Encode is the canonical YAML of the lock: the same artifacts give the same
// bytes whatever order they were added in.
func (l *Lock) Encode() ([]byte, error) {
	l.sort()
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(l); err != nil {
		return nil, fmt.Errorf("encoding lock: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encoding lock: %w", err)
	}
	return buf.Bytes(), nil
}

func (l *Lock) sort() {
	slices.SortFunc(l.Images, func(a, b LockedImage) int { return cmp.Compare(a.Ref, b.Ref) })
	for i := range l.Images {
		slices.SortFunc(l.Images[i].Platforms, func(a, b LockedPlatform) int { return cmp.Compare(a.Platform, b.Platform) })
		slices.SortFunc(l.Images[i].Referrers, compareReferrers)
	}
	slices.SortFunc(l.Charts, compareCharts)
	for i := range l.Charts {
		slices.SortFunc(l.Charts[i].Referrers, compareReferrers)
	}
	slices.SortFunc(l.Files, compareFiles)
	slices.SortFunc(l.Packages, comparePackageSets)
	for i := range l.Packages {
		l.Packages[i].sort()
	}
}

func compareFiles(a, b LockedFile) int {
	return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform))
}

// Image returns the entry that pins ref, or nil.
func (l *Lock) Image(ref string) *LockedImage {
	for i := range l.Images {
		if l.Images[i].Ref == ref {
			return &l.Images[i]
		}
	}
	return nil
}

// File returns the entry that pins a component's file for a platform, or nil. A
// file whose version or URL has changed since is not pinned by it.
func (l *Lock) File(component string, f *File, s *FileSource) *LockedFile {
	for i := range l.Files {
		e := &l.Files[i]
		if e.Component == component && e.Name == f.Name && e.Platform == s.Platform && e.Version == f.Version && e.URL == s.URL {
			return e
		}
	}
	return nil
}

// Merge is l with the entries of over added and put in the place of its own. Two
// entries for the same digest of an image are joined: the platforms and referrers
// of both.
func (l *Lock) Merge(over *Lock) *Lock {
	out := NewLock(l.Release)
	for _, img := range l.Images {
		if over.Image(img.Ref) == nil {
			out.Images = append(out.Images, img)
		}
	}
	for _, img := range over.Images {
		if old := l.Image(img.Ref); old != nil && old.Digest == img.Digest {
			img = img.join(old)
		}
		out.Images = append(out.Images, img)
	}
	taken := map[[3]string]bool{}
	for _, f := range over.Files {
		taken[[3]string{f.Component, f.Name, f.Platform}] = true
	}
	for _, f := range l.Files {
		if !taken[[3]string{f.Component, f.Name, f.Platform}] {
			out.Files = append(out.Files, f)
		}
	}
	out.Files = append(out.Files, over.Files...)
	out.Charts = mergeCharts(l.Charts, over.Charts)
	out.Packages = l.mergePackages(over)
	out.sort()
	return out
}

// join is i with the platforms and referrers that only old has.
func (i LockedImage) join(old *LockedImage) LockedImage {
	i.Platforms, i.Referrers = slices.Clone(i.Platforms), slices.Clone(i.Referrers)
	for _, p := range old.Platforms {
		if !slices.ContainsFunc(i.Platforms, func(have LockedPlatform) bool { return have.Platform == p.Platform }) {
			i.Platforms = append(i.Platforms, p)
		}
	}
	for _, r := range old.Referrers {
		if !slices.Contains(i.Referrers, r) {
			i.Referrers = append(i.Referrers, r)
		}
	}
	return i
}
