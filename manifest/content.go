package manifest

import "fmt"

// SiteComponent is the id of the component that holds the images and files
// which a Content file lists outside any component.
const SiteComponent = "site"

// Content is a user's own file (bundle build -f): components added to a release
// or put in the place of its own, and loose images and files, which become the
// component "site".
type Content struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	// Name names a bundle that is built from this file alone.
	Name string `yaml:"name,omitempty"`
	// Platforms carried when the file is built without a release.
	Platforms  []string        `yaml:"platforms,omitempty"`
	Components []ComponentSpec `yaml:"components,omitempty"`
	Images     []Image         `yaml:"images,omitempty"`
	Charts     []Chart         `yaml:"charts,omitempty"`
	Files      []File          `yaml:"files,omitempty"`
	Packages   []Packages      `yaml:"packages,omitempty"`
	// Distributions are ids of further operating systems whose packages are carried.
	Distributions []string `yaml:"distributions,omitempty"`
	// Systems describe distributions, or replace those of the release by the same id.
	Systems []DistributionSpec `yaml:"systems,omitempty"`
	// Keyrings are armoured OpenPGP keys by the name that sources call them by.
	Keyrings map[string]string `yaml:"keyrings,omitempty"`

	// Raw is the file as it was read.
	Raw []byte `yaml:"-"`
}

// DecodeContent decodes and validates a Content file.
func DecodeContent(file string, data []byte) (*Content, error) {
	c := Content{Raw: data}
	doc, err := decodeYAML(file, data, KindContent, &c)
	if err != nil {
		return nil, err
	}
	if c.Name != "" && !idRE.MatchString(c.Name) {
		doc.errorf("name", "name %q: want lower-case letters, digits and single . _ - between them", c.Name)
	}
	validatePlatforms(doc, "platforms", c.Platforms)
	seen := map[string]bool{}
	for i := range c.Components {
		at := fmt.Sprintf("components[%d]", i)
		c.Components[i].validate(doc, at)
		if id := c.Components[i].ID; seen[id] {
			doc.errorf(at+".id", "component %q is given twice", id)
		} else {
			seen[id] = true
		}
	}
	c.validateSystems(doc)
	loose := c.loose()
	loose.validate(doc, "")
	if loose.carries() && seen[SiteComponent] {
		doc.errorf("components", "component %q is also what loose images and files become: move them into it", SiteComponent)
	}
	c.Files = loose.Files
	return &c, doc.err()
}

func (c *Content) validateSystems(doc *document) {
	for i, id := range c.Distributions {
		if !idRE.MatchString(id) {
			doc.errorf(fmt.Sprintf("distributions[%d]", i), "distribution id %q is not a name", id)
		}
	}
	for i := range c.Systems {
		c.Systems[i].validate(doc, fmt.Sprintf("systems[%d].", i))
	}
	for name := range c.Keyrings {
		if !idRE.MatchString(name) {
			doc.errorf("keyrings", "keyring %q is not a name", name)
		}
	}
}

// loose is the component that the loose images and files become.
func (c *Content) loose() ComponentSpec {
	return ComponentSpec{ID: SiteComponent, Title: "Site content", Version: "0", Images: c.Images, Charts: c.Charts, Files: c.Files, Packages: c.Packages}
}

// carries tells whether the component lists anything.
func (c *ComponentSpec) carries() bool {
	return len(c.Images)+len(c.Charts)+len(c.Files)+len(c.Packages) > 0
}

// Specs are the components of the file, with the loose content as the last one.
func (c *Content) Specs() []ComponentSpec {
	specs := append([]ComponentSpec(nil), c.Components...)
	if loose := c.loose(); loose.carries() {
		specs = append(specs, loose)
	}
	return specs
}
