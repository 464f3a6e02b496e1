package manifest

import (
	"fmt"
	"net/url"
	"regexp"
)

// NotImage is a string of a chart or manifest that reads like an image reference
// and is none, or one that nothing ever pulls.
type NotImage struct {
	Ref string `yaml:"ref"`
	// Note says what it is, or why it is never pulled.
	Note string `yaml:"note"`
}

// Allowance is an address outside the site that may stand in what a component
// installs: documentation, an identifier, a default that is switched off.
type Allowance struct {
	// URL is a prefix, "https://kubernetes.io/docs/", or a host alone, "github.com".
	URL  string `yaml:"url"`
	Note string `yaml:"note"`
}

// apiVersionRE is "v1", "group/version" or "group/version/Kind".
var apiVersionRE = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?(/[A-Z][A-Za-z0-9]*)?$`)

func (c *ComponentSpec) validateDiscovery(doc *document, at string) {
	for i, v := range c.APIVersions {
		if !apiVersionRE.MatchString(v) {
			doc.errorf(fmt.Sprintf("%sapiVersions[%d]", at, i), "API version %q: want group/version or group/version/Kind", v)
		}
	}
	for i, n := range c.NotImages {
		if n.Ref == "" || n.Note == "" {
			doc.errorf(fmt.Sprintf("%snotImages[%d]", at, i), "what is no image needs its ref and a note that says what it is")
		}
	}
	for i, a := range c.Allow {
		at := fmt.Sprintf("%sallow[%d]", at, i)
		if u, err := url.Parse(a.URL); a.URL == "" || err != nil || u.User != nil {
			doc.errorf(at+".url", "url of an allowance: want a host, or the beginning of a URL")
		}
		if a.Note == "" {
			doc.errorf(at, "the allowance of %q needs a note that says why it may stay", a.URL)
		}
	}
}
