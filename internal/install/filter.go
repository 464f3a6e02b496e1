package install

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// only keeps references that are one of those given, or that begin with one up to
// a "/", ":" or "@".
func only(given []string) func(string, ocispec.Descriptor) bool {
	return func(ref string, _ ocispec.Descriptor) bool {
		for _, g := range given {
			rest, ok := strings.CutPrefix(ref, strings.TrimSuffix(g, "/"))
			if ok && (rest == "" || strings.ContainsAny(rest[:1], "/:@")) {
				return true
			}
		}
		return false
	}
}
