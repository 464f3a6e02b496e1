package manifest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Packages lists OS packages that a component needs on hosts. Their closure over
// dependencies is computed at build.
type Packages struct {
	// Distributions the names are for, by id; empty for all that are selected.
	Distributions []string `yaml:"distributions,omitempty"`
	// Platforms narrows the selected platforms; empty for all of them.
	Platforms []string `yaml:"platforms,omitempty"`
	// Names of packages; one may carry "=version" to be pinned to it.
	Names []string `yaml:"names"`
	Note  string   `yaml:"note,omitempty"`
}

// Family is the package system of a distribution.
type Family string

// The package systems that are carried.
const (
	FamilyDeb Family = "deb"
	FamilyRPM Family = "rpm"
)

// Distribution is distributions/<id>.yaml: an operating system whose packages are
// carried, with its pinned sources.
type Distribution struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`

	DistributionSpec `yaml:",inline"`
}

// DistributionSpec is a distribution without its document head, as a Content file
// holds it.
type DistributionSpec struct {
	ID     string `yaml:"id"`
	Title  string `yaml:"title,omitempty"`
	Family Family `yaml:"family"`
	// OS and Versions match ID and VERSION_ID of os-release(5); a version "9"
	// matches "9" and "9.6".
	OS       string   `yaml:"os"`
	Versions []string `yaml:"versions"`
	// EndOfLife is a date, YYYY-MM-DD, or empty when none is announced.
	EndOfLife string          `yaml:"endOfLife,omitempty"`
	Sources   []PackageSource `yaml:"sources"`
}

// PackageSource is one repository of a distribution, pinned by its address: a
// snapshot or a vault, since live mirrors drop versions.
type PackageSource struct {
	// Name is unique in its distribution ("main", "security", "baseos").
	Name string `yaml:"name"`
	// URL is the archive root for deb (what stands before dists/), and for rpm the
	// folder that holds repodata/; "$arch" in it becomes the distribution's own name
	// of the architecture (amd64, x86_64, arm64, aarch64).
	URL string `yaml:"url"`
	// Suite and Sections are for deb: "bookworm", [main].
	Suite    string   `yaml:"suite,omitempty"`
	Sections []string `yaml:"sections,omitempty"`
	// Platforms that the source is for; empty for all.
	Platforms []string `yaml:"platforms,omitempty"`
	// Keyring names the vendor's keys: keyrings/<name>.asc of the release, a keyring
	// of a content file, or one that naru carries (see Keyring).
	Keyring string `yaml:"keyring"`
	// SHA256 is the checksum of InRelease or repomd.xml; where it is missing the
	// lock pins it.
	SHA256 string `yaml:"sha256,omitempty"`
	// Signed says of rpm that the vendor signs repomd.xml: a mirror that withholds the
	// signature is refused then. InRelease of deb is always signed.
	Signed bool `yaml:"signed,omitempty"`
}

// packageRE is a package name of either family, with a version or without.
var packageRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]*(=[A-Za-z0-9.+:~^-]+)?$`)

func (c *ComponentSpec) validatePackages(doc *document, at string) {
	for i, p := range c.Packages {
		at := fmt.Sprintf("%spackages[%d]", at, i)
		if len(p.Names) == 0 {
			doc.errorf(at, "packages without names")
		}
		for j, name := range p.Names {
			if !packageRE.MatchString(name) {
				doc.errorf(fmt.Sprintf("%s.names[%d]", at, j), "package %q is not a package name", name)
			}
		}
		for j, id := range p.Distributions {
			if !idRE.MatchString(id) {
				doc.errorf(fmt.Sprintf("%s.distributions[%d]", at, j), "distribution id %q is not a name", id)
			}
		}
		validatePlatforms(doc, at+".platforms", p.Platforms)
	}
}

// PackagesFor are the names that are meant for a distribution on a platform,
// sorted, each once.
func (c *ComponentSpec) PackagesFor(distribution, platform string) []string {
	var out []string
	for _, p := range c.Packages {
		if (len(p.Distributions) == 0 || slices.Contains(p.Distributions, distribution)) &&
			(len(p.Platforms) == 0 || slices.Contains(p.Platforms, platform)) {
			out = append(out, p.Names...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// DecodeDistribution decodes and validates distributions/<id>.yaml.
func DecodeDistribution(file string, data []byte) (*Distribution, error) {
	var d Distribution
	doc, err := decodeYAML(file, data, KindDistribution, &d)
	if err != nil {
		return nil, err
	}
	d.validate(doc, "")
	return &d, doc.err()
}

// validate notes what is wrong; at is the distribution's path in doc, with a dot
// behind it.
func (d *DistributionSpec) validate(doc *document, at string) {
	if !idRE.MatchString(d.ID) {
		doc.errorf(at+"id", "id %q: want lower-case letters, digits and single . _ - between them", d.ID)
	}
	if d.Family != FamilyDeb && d.Family != FamilyRPM {
		doc.errorf(at+"family", "family %q: want deb or rpm", d.Family)
	}
	if d.OS == "" || len(d.Versions) == 0 {
		doc.errorf(at+"os", "os and versions say which hosts the distribution is for; both are needed")
	}
	if len(d.Sources) == 0 {
		doc.errorf(at+"sources", "no sources")
	}
	seen := map[string]bool{}
	for i := range d.Sources {
		p := fmt.Sprintf("%ssources[%d]", at, i)
		if seen[d.Sources[i].Name] {
			doc.errorf(p+".name", "source %q is listed twice", d.Sources[i].Name)
		}
		seen[d.Sources[i].Name] = true
		d.Sources[i].validate(doc, p, d.Family)
	}
}

// Matches tells whether a distribution is the one of a host, by ID and VERSION_ID
// of its os-release(5).
func (d *DistributionSpec) Matches(id, version string) bool {
	return d.OS == id && slices.ContainsFunc(d.Versions, func(v string) bool {
		return version == v || strings.HasPrefix(version, v+".")
	})
}

// Address is the source's URL with the architecture's name in it.
func (s *PackageSource) Address(arch string) string { return strings.ReplaceAll(s.URL, "$arch", arch) }

// For tells whether a source is for a platform.
func (s *PackageSource) For(platform string) bool {
	return len(s.Platforms) == 0 || slices.Contains(s.Platforms, platform)
}

func (s *PackageSource) validate(doc *document, at string, family Family) {
	if !idRE.MatchString(s.Name) {
		doc.errorf(at+".name", "source name %q is not a name", s.Name)
	}
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		// http is fine here: content is checked against the vendor's signature.
		doc.errorf(at+".url", "url of source %q: want http(s)://host/path without a user", s.Name)
	}
	if deb := family == FamilyDeb; deb != (s.Suite != "") || deb != (len(s.Sections) > 0) {
		doc.errorf(at, "source %q: deb sources have a suite and sections, others have neither", s.Name)
	}
	if s.Signed && family != FamilyRPM {
		doc.errorf(at+".signed", "source %q: signed is said of rpm alone: InRelease is always signed", s.Name)
	}
	if !idRE.MatchString(s.Keyring) {
		doc.errorf(at+".keyring", "source %q: keyring %q is not a name", s.Name, s.Keyring)
	}
	if s.SHA256 != "" && !sha256RE.MatchString(s.SHA256) {
		doc.errorf(at+".sha256", "sha256 %q: want 64 lower-case hex digits", s.SHA256)
	}
	validatePlatforms(doc, at+".platforms", s.Platforms)
}
