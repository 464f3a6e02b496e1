package manifest

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// idRE is what names of releases, profiles, components and files look like: they
// become path elements and repository names.
var idRE = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// versionRE is what a version may look like: a tag once + has become _.
var versionRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$`)

var sha256RE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Component is one system of a release with everything it needs: the file
// components/<id>.yaml.
type Component struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`

	ComponentSpec `yaml:",inline"`
}

// ComponentSpec is a component without its document head, as a Content file
// holds it.
type ComponentSpec struct {
	ID      string `yaml:"id"`
	Title   string `yaml:"title,omitempty"`
	Version string `yaml:"version"`
	// License is an SPDX expression.
	License  string `yaml:"license,omitempty"`
	Upstream string `yaml:"upstream,omitempty"`
	// EndOfLife is a date, YYYY-MM-DD, or empty when none is announced.
	EndOfLife string `yaml:"endOfLife,omitempty"`
	// Requires lists the ids of components this one cannot work without.
	Requires []string   `yaml:"requires,omitempty"`
	Images   []Image    `yaml:"images,omitempty"`
	Charts   []Chart    `yaml:"charts,omitempty"`
	Files    []File     `yaml:"files,omitempty"`
	Packages []Packages `yaml:"packages,omitempty"`
	// BootCritical marks what must start when depot and Harbor are down: its images
	// are pulled to every node and pinned there.
	BootCritical bool `yaml:"bootCritical,omitempty"`
	// StorageClasses are those that the component makes. Harbor is deployed after the
	// one that makes the site's.
	StorageClasses []string `yaml:"storageClasses,omitempty"`
	// Secrets are generated once per site, for the templates of Steps.
	Secrets []Secret `yaml:"secrets,omitempty"`
	// Steps install the component, in order.
	Steps []Step `yaml:"steps,omitempty"`
	// RuntimePulls and PhoneHome are answers: an empty list says that somebody looked
	// and found nothing, a missing one that nobody did. Lint wants both of every
	// component that has steps.
	RuntimePulls []RuntimePull `yaml:"runtimePulls,omitempty"`
	PhoneHome    []PhoneHome   `yaml:"phoneHome,omitempty"`
	// APIVersions are those that the component brings without a CRD in its charts or
	// manifests, as "group/version" or "group/version/Kind": operators make them.
	APIVersions []string `yaml:"apiVersions,omitempty"`
	// NotImages are what image discovery has to leave alone, Allow the addresses
	// that the sealed check has to.
	NotImages []NotImage  `yaml:"notImages,omitempty"`
	Allow     []Allowance `yaml:"allow,omitempty"`
	// SignedBy states who signs all images of the component upstream.
	SignedBy *SignedBy `yaml:"signedBy,omitempty"`
	// Supply is SupplyUser where upstream forbids redistribution; SupplyNote says
	// what the user has to put where.
	Supply     Supply `yaml:"supply,omitempty"`
	SupplyNote string `yaml:"supplyNote,omitempty"`
	Note       string `yaml:"note,omitempty"`
}

// Image is an image to carry.
type Image struct {
	// Ref is fully qualified, by tag, digest, or both.
	Ref string `yaml:"ref"`
	// Platforms narrows the selected platforms for an image that upstream does
	// not publish for all of them.
	Platforms []string `yaml:"platforms,omitempty"`
	// NoReferrers leaves signatures, attestations and SBOMs behind: for an upstream
	// whose referrers cannot be carried.
	NoReferrers bool `yaml:"noReferrers,omitempty"`
	// Runtime marks an image that no chart or manifest names because a program
	// chooses it at run time; Note says which.
	Runtime bool `yaml:"runtime,omitempty"`
	// Artifact marks an OCI artifact that is no image (a scanner's database): it has
	// no platforms and its config is not looked at.
	Artifact bool `yaml:"artifact,omitempty"`
	// SignedBy states who signs the image upstream, for the build to check; it
	// stands in the place of the component's.
	SignedBy *SignedBy `yaml:"signedBy,omitempty"`
	Note     string    `yaml:"note,omitempty"`
}

// File is a file to carry, one source a platform.
type File struct {
	Name string `yaml:"name"`
	// Version defaults to that of the component.
	Version string `yaml:"version,omitempty"`
	// Platforms narrows the selected platforms for a file that upstream does not
	// publish for all of them.
	Platforms []string     `yaml:"platforms,omitempty"`
	Sources   []FileSource `yaml:"sources"`
	Note      string       `yaml:"note,omitempty"`
}

// FileSource says where a file comes from.
type FileSource struct {
	// Platform is os/arch, or empty for a file that fits all.
	Platform string `yaml:"platform,omitempty"`
	URL      string `yaml:"url"`
	// SHA256 is the checksum of what the URL serves, 64 lower-case hex digits;
	// where it is missing the lock pins it.
	SHA256 string `yaml:"sha256,omitempty"`
	// Members, when given, are carried instead of the archive they are in.
	Members []FileMember `yaml:"members,omitempty"`
	// Mode is the octal mode of the file where no members are given; 0644 if empty.
	Mode string `yaml:"mode,omitempty"`
}

// FileMember is one file of an archive.
type FileMember struct {
	Path string `yaml:"path"`
	// Name it is carried under; the last element of Path if empty.
	Name string `yaml:"name,omitempty"`
	Mode string `yaml:"mode,omitempty"`
}

// DecodeComponent decodes and validates components/<id>.yaml.
func DecodeComponent(file string, data []byte) (*ComponentSpec, error) {
	var c Component
	doc, err := decodeYAML(file, data, KindComponent, &c)
	if err != nil {
		return nil, err
	}
	c.validate(doc, "")
	if want := strings.TrimSuffix(path.Base(file), ".yaml"); c.ID != want {
		doc.errorf("id", "id is %q, but the file is named %q", c.ID, want)
	}
	return &c.ComponentSpec, doc.err()
}

// validate sets defaults and notes what is wrong; at is the component's path in doc.
func (c *ComponentSpec) validate(doc *document, at string) {
	if at != "" {
		at += "."
	}
	if !idRE.MatchString(c.ID) {
		doc.errorf(at+"id", "id %q: want lower-case letters, digits and single . _ - between them", c.ID)
	}
	if !versionRE.MatchString(c.Version) {
		doc.errorf(at+"version", "version %q of component %q is missing or not a version", c.Version, c.ID)
	}
	c.SignedBy.validate(doc, at+"signedBy")
	seen := map[string]bool{}
	for i, img := range c.Images {
		p := fmt.Sprintf("%simages[%d]", at, i)
		if _, err := ParseReference(img.Ref); err != nil {
			doc.errorf(p+".ref", "%v", err)
		}
		if seen[img.Ref] {
			doc.errorf(p+".ref", "image %q is listed twice", img.Ref)
		}
		seen[img.Ref] = true
		validatePlatforms(doc, p+".platforms", img.Platforms)
		img.SignedBy.validate(doc, p+".signedBy")
		if img.Runtime && img.Note == "" {
			doc.errorf(p, "image %q is chosen at run time: its note must say by what", img.Ref)
		}
	}
	c.validateCharts(doc, at)
	c.validatePackages(doc, at)
	c.validateSteps(doc, at)
	c.validateRuntime(doc, at)
	c.validateDiscovery(doc, at)
	names := map[string]bool{}
	for i := range c.Files {
		f := &c.Files[i]
		if names[f.Name] {
			doc.errorf(fmt.Sprintf("%sfiles[%d].name", at, i), "file %q is listed twice", f.Name)
		}
		names[f.Name] = true
		f.validate(doc, fmt.Sprintf("%sfiles[%d]", at, i), c.Version)
	}
}

func (f *File) validate(doc *document, at, version string) {
	if !idRE.MatchString(f.Name) {
		doc.errorf(at+".name", "file name %q: want lower-case letters, digits and single . _ - between them", f.Name)
	}
	if f.Version == "" {
		f.Version = version
	}
	if !versionRE.MatchString(f.Version) {
		doc.errorf(at+".version", "version %q of file %q is not a version", f.Version, f.Name)
	}
	if len(f.Sources) == 0 {
		doc.errorf(at, "file %q has no sources", f.Name)
	}
	validatePlatforms(doc, at+".platforms", f.Platforms)
	seen := map[string]bool{}
	for i, s := range f.Sources {
		p := fmt.Sprintf("%s.sources[%d]", at, i)
		if seen[s.Platform] {
			doc.errorf(p, "file %q has two sources for platform %q", f.Name, s.Platform)
		}
		seen[s.Platform] = true
		s.validate(doc, p)
	}
	if seen[""] && len(seen) > 1 {
		doc.errorf(at+".sources", "file %q has a source for all platforms and others for some", f.Name)
	}
}

func (s *FileSource) validate(doc *document, at string) {
	if s.Platform != "" {
		validatePlatforms(doc, at+".platform", []string{s.Platform})
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		doc.errorf(at+".url", "url is none: want https://host/path") // the error would repeat it, with any password
	case u.User != nil:
		doc.errorf(at+".url", "url on host %q names a user: credentials come from the Docker config", u.Host)
	case u.Scheme != "https" || u.Host == "":
		doc.errorf(at+".url", "url %q: want https://host/path", s.URL)
	}
	if s.SHA256 != "" && !sha256RE.MatchString(s.SHA256) {
		doc.errorf(at+".sha256", "sha256 %q: want 64 lower-case hex digits", s.SHA256)
	}
	if _, err := ParseMode(s.Mode); err != nil {
		doc.errorf(at+".mode", "%v", err)
	}
	seen := map[string]bool{}
	for i, m := range s.Members {
		p := fmt.Sprintf("%s.members[%d]", at, i)
		if m.Path == "" || path.Clean("/" + m.Path)[1:] != m.Path {
			doc.errorf(p+".path", "member path %q: want a clean relative path", m.Path)
		}
		name := m.CarriedName()
		if strings.Contains(name, "/") || name == ".." || name == "." {
			doc.errorf(p+".name", "member name %q: want a plain file name", name)
		}
		if seen[name] {
			doc.errorf(p, "two members are carried as %q", name)
		}
		seen[name] = true
		if _, err := ParseMode(m.Mode); err != nil {
			doc.errorf(p+".mode", "%v", err)
		}
	}
}

// CarriedName is the name a member is carried under.
func (m FileMember) CarriedName() string {
	if m.Name != "" {
		return m.Name
	}
	return path.Base(m.Path)
}

// ParseMode reads an octal file mode, "0755"; empty means 0644.
func ParseMode(s string) (uint32, error) {
	if s == "" {
		return 0o644, nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("mode %q: want octal permissions, as in \"0755\"", s)
	}
	return uint32(n), nil
}

func validatePlatforms(doc *document, at string, list []string) {
	for _, s := range list {
		if _, err := ParsePlatform(s); err != nil {
			doc.errorf(at, "%v", err)
		}
	}
}
