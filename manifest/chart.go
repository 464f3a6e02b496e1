package manifest

import (
	"fmt"
	"net/url"
	"strings"
)

// Chart is a packaged Helm chart to carry, sub-charts included.
type Chart struct {
	// Name is the chart's own name, as its Chart.yaml has it.
	Name string `yaml:"name"`
	// Version is the chart's version, which need not be that of the component.
	Version string `yaml:"version"`
	// Repository is the URL of an HTTP chart repository ("https://charts.example/stable"),
	// or an OCI registry path without the chart's name ("oci://ghcr.io/owner/charts").
	Repository string `yaml:"repository"`
	// SHA256 is the checksum of the packaged chart (.tgz), 64 lower-case hex digits;
	// where it is missing the lock pins it.
	SHA256 string `yaml:"sha256,omitempty"`
	// Keyring names a keyring of the release, of a content file, or one that naru
	// carries; with it the chart's provenance (.prov) must be there and verify.
	Keyring string `yaml:"keyring,omitempty"`
	// NoReferrers leaves signatures, attestations and SBOMs in an OCI registry behind:
	// for an upstream whose referrers cannot be carried.
	NoReferrers bool   `yaml:"noReferrers,omitempty"`
	Note        string `yaml:"note,omitempty"`
}

// OCI tells a chart that comes from an OCI registry.
func (c *Chart) OCI() bool { return strings.HasPrefix(c.Repository, "oci://") }

func (c *Chart) validate(doc *document, at string) {
	if !idRE.MatchString(c.Name) {
		doc.errorf(at+".name", "chart name %q: want lower-case letters, digits and single . _ - between them", c.Name)
	}
	if !versionRE.MatchString(c.Version) {
		doc.errorf(at+".version", "version %q of chart %q is missing or not a version", c.Version, c.Name)
	}
	u, err := url.Parse(c.Repository)
	switch {
	case err != nil:
		doc.errorf(at+".repository", "repository is no URL: want https://host/path or oci://host/path")
	case u.User != nil:
		doc.errorf(at+".repository", "repository on host %q names a user: credentials come from the Docker config", u.Host)
	case (u.Scheme != "https" && u.Scheme != "oci") || u.Host == "":
		doc.errorf(at+".repository", "repository %q: want https://host/path or oci://host/path", c.Repository)
	}
	if c.SHA256 != "" && !sha256RE.MatchString(c.SHA256) {
		doc.errorf(at+".sha256", "sha256 %q: want 64 lower-case hex digits", c.SHA256)
	}
}

func (c *ComponentSpec) validateCharts(doc *document, at string) {
	seen := map[string]bool{}
	for i := range c.Charts {
		p := fmt.Sprintf("%scharts[%d]", at, i)
		c.Charts[i].validate(doc, p)
		if seen[c.Charts[i].Name] {
			doc.errorf(p+".name", "chart %q is listed twice", c.Charts[i].Name)
		}
		seen[c.Charts[i].Name] = true
	}
}

// Chart is the component's chart of a name, or nil.
func (c *ComponentSpec) Chart(name string) *Chart {
	for i := range c.Charts {
		if c.Charts[i].Name == name {
			return &c.Charts[i]
		}
	}
	return nil
}
