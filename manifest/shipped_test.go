package manifest

import (
	"errors"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestShippedReleases loads every release that this build carries.
func TestShippedReleases(t *testing.T) {
	fsys := EmbeddedReleases()
	names, err := ReleaseNames(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		set, err := LoadRelease(fsys, name)
		if err != nil {
			t.Errorf("release %q: %v", name, err)
			continue
		}
		for _, id := range set.Components {
			renderSteps(t, set, set.Specs[id])
		}
	}
}

// renderSteps executes every template of a component over the sample facts and
// checks that the result is YAML.
func renderSteps(t *testing.T, set *ReleaseSet, c *ComponentSpec) {
	t.Helper()
	facts := SampleFacts(set.Name, set.Kubernetes, c)
	for i := range c.Steps {
		s := &c.Steps[i]
		at := set.Name + "/" + c.ID + "/" + s.Name
		if s.When != "" {
			out, err := facts.Render(at, s.When)
			if out = strings.TrimSpace(out); err != nil || (out != "true" && out != "false") {
				t.Errorf("%s: condition gives %q, %v", at, out, err)
			}
		}
		texts := []string{s.Values, s.Inline}
		for _, p := range s.Patches {
			texts = append(texts, p.Patch)
		}
		for _, text := range texts {
			out, err := facts.Render(at, text)
			if err != nil {
				t.Errorf("%s: %v", at, err)
				continue
			}
			checkYAML(t, at, out)
		}
	}
}

func checkYAML(t *testing.T, at, text string) {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var v map[string]any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: rendered text is not YAML of objects: %v\n%s", at, err, text)
			return
		}
	}
}

func TestFactsValue(t *testing.T) {
	f := Facts{Values: map[string]any{"a": map[string]any{"b": false}, "c": "x"}}
	for _, tc := range []struct {
		path           string
		fallback, want any
	}{{"a.b", true, false}, {"a.c", 1, 1}, {"c", "", "x"}, {"c.d", "f", "f"}, {"z", nil, nil}} {
		if got := f.Value(tc.path, tc.fallback); got != tc.want {
			t.Errorf("Value(%q) is %v, want %v", tc.path, got, tc.want)
		}
	}
}
