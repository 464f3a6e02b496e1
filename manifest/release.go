package manifest

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed all:releases
var embedded embed.FS

// Release is release.yaml: the components of a release and how they group.
type Release struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Name       string `yaml:"name"`
	Title      string `yaml:"title,omitempty"`
	// Base names a release that this one moves on: what release.yaml leaves out, and
	// every component, distribution, keyring and pin that the folder lacks, is that of
	// the base, which has no base itself.
	Base string `yaml:"base,omitempty"`
	// Kubernetes is the version that charts are rendered for, without "v".
	Kubernetes string `yaml:"kubernetes,omitempty"`
	// Platforms carried unless others are asked for.
	Platforms []string `yaml:"platforms"`
	// Distributions are ids of the operating systems whose packages are carried
	// unless others are asked for; each has distributions/<id>.yaml.
	Distributions []string `yaml:"distributions,omitempty"`
	// Components are ids in install order; each has components/<id>.yaml.
	Components     []string  `yaml:"components"`
	Profiles       []Profile `yaml:"profiles"`
	DefaultProfile string    `yaml:"defaultProfile"`
}

// Profile is a named choice of components.
type Profile struct {
	Name        string   `yaml:"name"`
	Description string   `yaml:"description,omitempty"`
	Components  []string `yaml:"components"`
}

// ReleaseSet is a release with all its files loaded and validated.
type ReleaseSet struct {
	Release
	// Specs are the components by id.
	Specs map[string]*ComponentSpec
	// Systems are the distributions by id.
	Systems map[string]*Distribution
	// Keyrings are the armoured OpenPGP keys of keyrings/<name>.asc, by name.
	Keyrings map[string][]byte
	// Shipped is the lock that comes with the release; empty when it has none.
	Shipped *Lock
	// Raw are the bytes of each file as loaded, by path ("release.yaml",
	// "components/etcd.yaml"), for carrying in the bundle. A release with a base is
	// whole in them: its release.yaml has what the base gave it.
	Raw map[string][]byte

	// folders are those of the release and of its base.
	folders []string
}

// EmbeddedReleases is the file system of the releases that this build of naru
// carries, one folder a release.
func EmbeddedReleases() fs.FS {
	sub, err := fs.Sub(embedded, "releases")
	if err != nil {
		return embedded // cannot be: the folder is embedded by name
	}
	return sub
}

// ReleaseNames lists the releases of fsys, sorted.
func ReleaseNames(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("listing releases: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// NoReleaseError says that there is no release of a name. It is fs.ErrNotExist.
type NoReleaseError struct {
	Name string
	Have []string
}

func (e *NoReleaseError) Error() string {
	return fmt.Sprintf("loading release %q: there is none of that name%s (there are: %s)", e.Name, suggest(e.Name, slices.Clone(e.Have)), strings.Join(e.Have, ", "))
}

func (e *NoReleaseError) Unwrap() error { return fs.ErrNotExist }

// LoadRelease loads the release in folder name of fsys with its components and
// lock, collecting the mistakes of all files. A release that is not there is
// fs.ErrNotExist, with the ones there are named.
func LoadRelease(fsys fs.FS, name string) (*ReleaseSet, error) {
	set := &ReleaseSet{Specs: map[string]*ComponentSpec{}, Systems: map[string]*Distribution{}, Keyrings: map[string][]byte{}, Raw: map[string][]byte{}}
	doc, err := set.loadHead(fsys, name)
	if err != nil {
		return nil, err
	}
	set.validate(doc)
	return set, errors.Join(doc.err(), set.loadComponents(fsys), set.loadDistributions(fsys), set.loadLock(fsys))
}

func (s *ReleaseSet) loadComponents(fsys fs.FS) error {
	var errs []error
	for _, id := range s.Components {
		rel := path.Join("components", id+".yaml")
		file, data, err := s.read(fsys, rel)
		if err != nil {
			errs = append(errs, fmt.Errorf("loading component %q: %w", id, err))
			continue
		}
		spec, err := DecodeComponent(file, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.Raw[rel] = data
		s.Specs[id] = spec
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return checkRequires(s.Specs)
}

func (s *ReleaseSet) loadDistributions(fsys fs.FS) error {
	var errs []error
	for _, id := range s.Distributions {
		rel := path.Join("distributions", id+".yaml")
		file, data, err := s.read(fsys, rel)
		if err != nil {
			errs = append(errs, fmt.Errorf("loading distribution %q: %w", id, err))
			continue
		}
		d, err := DecodeDistribution(file, data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if d.ID != id {
			errs = append(errs, fmt.Errorf("loading distribution %q: its file says id %q", id, d.ID))
		}
		s.Raw[rel] = data
		s.Systems[id] = d
		errs = append(errs, s.loadKeyrings(fsys, d))
	}
	return errors.Join(errs...)
}

// loadKeyrings loads those keyrings of a distribution that the release holds.
func (s *ReleaseSet) loadKeyrings(fsys fs.FS, d *Distribution) error {
	for _, source := range d.Sources {
		rel := path.Join("keyrings", source.Keyring+".asc")
		_, data, err := s.read(fsys, rel)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("loading keyring %q: %w", source.Keyring, err)
		}
		s.Raw[rel] = data
		s.Keyrings[source.Keyring] = data
	}
	return nil
}

func (s *ReleaseSet) validate(doc *document) {
	if !idRE.MatchString(s.Name) {
		doc.errorf("name", "release name %q: want lower-case letters, digits and single . _ - between them", s.Name)
	}
	if len(s.Platforms) == 0 {
		doc.errorf("platforms", "no platforms")
	}
	validatePlatforms(doc, "platforms", s.Platforms)
	seen := map[string]bool{}
	for i, id := range s.Components {
		at := fmt.Sprintf("components[%d]", i)
		if !idRE.MatchString(id) {
			doc.errorf(at, "component id %q is not a name", id)
		}
		if seen[id] {
			doc.errorf(at, "component %q is listed twice", id)
		}
		seen[id] = true
	}
	profiles := map[string]bool{}
	for i, p := range s.Profiles {
		at := fmt.Sprintf("profiles[%d]", i)
		if !idRE.MatchString(p.Name) || profiles[p.Name] {
			doc.errorf(at+".name", "profile name %q is not a name, or given twice", p.Name)
		}
		profiles[p.Name] = true
		for j, id := range p.Components {
			if !seen[id] {
				doc.errorf(fmt.Sprintf("%s.components[%d]", at, j), "profile %q names component %q, which the release does not list%s", p.Name, id, suggest(id, mapKeys(seen)))
			}
		}
	}
	if !profiles[s.DefaultProfile] {
		doc.errorf("defaultProfile", "default profile %q is not among the profiles", s.DefaultProfile)
	}
}

// DecodeRelease decodes and validates a release.yaml by itself, without the
// components it names.
func DecodeRelease(file string, data []byte) (*Release, error) {
	var set ReleaseSet
	doc, err := decodeYAML(file, data, KindRelease, &set.Release)
	if err != nil {
		return nil, err
	}
	set.validate(doc)
	return &set.Release, doc.err()
}
