package manifest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// TestDecodeBundleIsCanonical spells one bundle.json in other ways.
func TestDecodeBundleIsCanonical(t *testing.T) {
	d := digest.FromString("x")
	b := &manifest.Bundle{
		APIVersion: manifest.APIVersion, Kind: manifest.KindBundle, Release: "a<b", Components: []string{"a"},
		Platforms: []string{"linux/amd64"}, Created: "2025-01-01T00:00:00Z", Builder: manifest.Builder{Version: "1"},
		Contents: d, Lock: d, Index: d, Scan: manifest.Scan{Verdict: manifest.VerdictSkipped},
	}
	good, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.DecodeBundle(good); err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) []byte { return []byte(strings.Replace(string(good), from, to, 1)) }
	for name, data := range map[string][]byte{
		"repeated field": change(`"release":"a<b"`, `"release":"other","release":"a<b"`),
		"other case":     change(`"release"`, `"Release"`),
		"escape":         change(`a<b`, `a\u003cb`),
		"space":          change(`,`, `, `),
		"no newline":     bytes.TrimSpace(good),
		"more newlines":  append(bytes.Clone(good), '\n'),
		"null":           change(`"components":["a"]`, `"components":["a"],"base":null`),
	} {
		if _, err := manifest.DecodeBundle(data); !errors.Is(err, manifest.ErrNotCanonical) {
			t.Errorf("%s: %v, want ErrNotCanonical", name, err)
		}
	}
}
