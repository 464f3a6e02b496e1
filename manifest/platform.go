package manifest

import (
	"fmt"
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// platformRE is os/arch[/variant] in lower case, as OCI writes platforms.
var platformRE = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+(/[a-z0-9.]+)?$`)

// ParsePlatform reads "os/arch[/variant]".
func ParsePlatform(s string) (ocispec.Platform, error) {
	if !platformRE.MatchString(s) {
		return ocispec.Platform{}, fmt.Errorf("parsing platform %q: want os/arch[/variant], as in linux/amd64", s)
	}
	parts := strings.Split(s, "/")
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// ParsePlatforms reads a list of platforms.
func ParsePlatforms(list []string) ([]ocispec.Platform, error) {
	out := make([]ocispec.Platform, 0, len(list))
	for _, s := range list {
		p, err := ParsePlatform(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// FormatPlatform is the inverse of ParsePlatform.
func FormatPlatform(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
