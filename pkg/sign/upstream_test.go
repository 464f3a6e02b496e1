package sign

import (
	"regexp"
	"testing"
)

// TestIdentityPatternIsWhole: cosign takes a pattern that is found anywhere in an
// identity, and whoever can choose a part of theirs would pass.
func TestIdentityPatternIsWhole(t *testing.T) {
	for identity, want := range map[string]bool{
		"https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1":                true,
		"https://evil.example/https://github.com/org/app/.github/workflows/release.yml@refs/x": false,
		"https://github.com/org/app/other":                                                     false,
	} {
		for _, pattern := range []string{`https://github\.com/org/app/\.github/.*`, `^https://github\.com/org/app/\.github/.*$`, `nobody|https://github\.com/org/app/\.github/.*`} {
			if got := regexp.MustCompile(anchored(pattern)).MatchString(identity); got != want {
				t.Errorf("%s is %v for %s", identity, got, pattern)
			}
		}
	}
	if anchored("") != "" {
		t.Error("no pattern became one")
	}
}
