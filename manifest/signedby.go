package manifest

import (
	"crypto/x509"
	"encoding/pem"
	"regexp"
)

// SignedBy states who signs images upstream, for the build to check: a public key,
// or the identity and issuer of a keyless signature. An image that states it is
// refused without such a signature.
type SignedBy struct {
	// Key is a public key, PEM.
	Key string `yaml:"key,omitempty"`
	// Issuer is the OIDC issuer of a keyless signature; Identity its subject, or
	// IdentityRegexp a pattern for the whole of it.
	Issuer         string `yaml:"issuer,omitempty"`
	Identity       string `yaml:"identity,omitempty"`
	IdentityRegexp string `yaml:"identityRegexp,omitempty"`
}

// Keyless tells that it names an identity, which needs a trusted root.
func (s *SignedBy) Keyless() bool { return s.Key == "" }

func (s *SignedBy) validate(doc *document, at string) {
	if s == nil {
		return
	}
	identity := s.Identity != "" || s.IdentityRegexp != ""
	switch {
	case s.Key != "" && (identity || s.Issuer != ""):
		doc.errorf(at, "signedBy: want a key, or an issuer and an identity, not both")
	case s.Key == "" && (s.Issuer == "" || !identity):
		doc.errorf(at, "signedBy: want a key, or an issuer and an identity")
	case s.Identity != "" && s.IdentityRegexp != "":
		doc.errorf(at, "signedBy: want identity or identityRegexp, not both")
	}
	if _, err := regexp.Compile(s.IdentityRegexp); err != nil {
		doc.errorf(at+".identityRegexp", "identityRegexp: %v", err)
	}
	if s.Key != "" {
		block, _ := pem.Decode([]byte(s.Key))
		if block == nil {
			doc.errorf(at+".key", "key: no PEM block in it")
		} else if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			doc.errorf(at+".key", "key: not a public key")
		}
	}
}

// SignedByFor is who signs an image: what the image states, else the component.
func (c *ComponentSpec) SignedByFor(img *Image) *SignedBy {
	if img.SignedBy != nil {
		return img.SignedBy
	}
	return c.SignedBy
}
