package manifest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step is one action of a component's installation. Steps run in order and are
// of two kinds: a chart, or manifests (carried files and inline YAML).
type Step struct {
	// Name is unique in its component and stable: it names the step in plans,
	// journals and inventories.
	Name string `yaml:"name"`
	// When is a Go template over Facts; the step is left out where it gives
	// anything but "true". Empty means always.
	When string `yaml:"when,omitempty"`
	// Namespace that the step installs into, made when it is not there.
	Namespace string `yaml:"namespace,omitempty"`
	// NamespaceLabels are put on that namespace (Pod Security levels, mesh injection).
	NamespaceLabels map[string]string `yaml:"namespaceLabels,omitempty"`

	// Chart names a chart of the component.
	Chart string `yaml:"chart,omitempty"`
	// Release is the Helm release name; the chart's name if empty.
	Release string `yaml:"release,omitempty"`
	// Values is the chart's values as YAML, a Go template over Facts.
	Values string `yaml:"values,omitempty"`

	// Manifests names files of the component, each YAML of one or more objects,
	// applied in order as upstream wrote them. "FILE//FOLDER" is the kustomization in
	// a folder of FILE, a tar archive, as pkg/stack/kustomize builds it.
	Manifests []string `yaml:"manifests,omitempty"`
	// Inline is YAML of one or more objects, a Go template over Facts, applied
	// after Manifests.
	Inline string `yaml:"inline,omitempty"`
	// Patches change objects of Manifests before they are applied.
	Patches []Patch `yaml:"patches,omitempty"`

	// Wait lists what must hold before the next step.
	Wait []Wait `yaml:"wait,omitempty"`
	// Timeout bounds the step with its waits, "10m"; 10m if empty.
	Timeout string `yaml:"timeout,omitempty"`
}

// Patch is a JSON merge patch (RFC 7396), written as YAML, for one object.
type Patch struct {
	Kind      string `yaml:"kind"`
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace,omitempty"`
	// Patch is a Go template over Facts.
	Patch string `yaml:"patch"`
}

// Wait is a condition on one object, or on all of a kind in a namespace.
type Wait struct {
	// Kind is group-qualified where the group is not a built-in one:
	// "Deployment", "Installation.operator.tigera.io".
	Kind string `yaml:"kind"`
	// Name of the object; empty for all of the kind that carry Selector.
	Name      string `yaml:"name,omitempty"`
	Namespace string `yaml:"namespace,omitempty"`
	Selector  string `yaml:"selector,omitempty"`
	// For is "ready" (rolled out, complete, bound or established, by kind),
	// "exists", or a status condition's type that must be True.
	For string `yaml:"for"`
}

// DefaultStepTimeout bounds a step that states no timeout.
const DefaultStepTimeout = 10 * time.Minute

// Deadline is the parsed Timeout.
func (s *Step) Deadline() time.Duration {
	d, err := time.ParseDuration(s.Timeout)
	if err != nil || d <= 0 {
		return DefaultStepTimeout
	}
	return d
}

// ReleaseName is the Helm release name of a chart step.
func (s *Step) ReleaseName() string {
	if s.Release != "" {
		return s.Release
	}
	return s.Chart
}

// SplitManifest gives the file that an entry of a step's manifests names, and the
// folder of the kustomization in it; empty for a file that is YAML itself.
func SplitManifest(name string) (file, folder string) {
	file, folder, _ = strings.Cut(name, "//")
	return file, folder
}

func (c *ComponentSpec) validateSteps(doc *document, at string) {
	seen := map[string]bool{}
	for i := range c.Steps {
		p := fmt.Sprintf("%ssteps[%d]", at, i)
		s := &c.Steps[i]
		if !idRE.MatchString(s.Name) || seen[s.Name] {
			doc.errorf(p+".name", "step name %q is not a name, or given twice", s.Name)
		}
		seen[s.Name] = true
		s.validate(doc, p, c)
	}
}

func (s *Step) validate(doc *document, at string, c *ComponentSpec) {
	chart, objects := s.Chart != "", len(s.Manifests) > 0 || s.Inline != ""
	switch {
	case chart == objects:
		doc.errorf(at, "step %q: want either a chart, or manifests and inline", s.Name)
	case chart && c.Chart(s.Chart) == nil:
		doc.errorf(at+".chart", "step %q installs chart %q, which the component does not list", s.Name, s.Chart)
	case chart && s.Namespace == "":
		doc.errorf(at, "step %q installs a chart and names no namespace", s.Name)
	case !chart && (s.Values != "" || s.Release != ""):
		doc.errorf(at, "step %q has values or a release, and no chart", s.Name)
	}
	for i, name := range s.Manifests {
		name, _ = SplitManifest(name)
		if !slices.ContainsFunc(c.Files, func(f File) bool { return f.Name == name }) {
			doc.errorf(fmt.Sprintf("%s.manifests[%d]", at, i), "step %q applies file %q, which the component does not list", s.Name, name)
		}
	}
	s.validateTemplates(doc, at)
	s.validateWaits(doc, at)
}

func (s *Step) validateWaits(doc *document, at string) {
	for i, w := range s.Wait {
		if w.Kind == "" || w.For == "" || (w.Name != "" && w.Selector != "") {
			doc.errorf(fmt.Sprintf("%s.wait[%d]", at, i), "step %q: a wait needs kind and for, and a name or a selector, not both", s.Name)
		}
	}
	if s.Timeout != "" {
		if d, err := time.ParseDuration(s.Timeout); err != nil || d <= 0 {
			doc.errorf(at+".timeout", "timeout %q: want a duration, as in 10m", s.Timeout)
		}
	}
}

func (s *Step) validateTemplates(doc *document, at string) {
	for field, text := range map[string]string{"when": s.When, "values": s.Values, "inline": s.Inline} {
		if _, err := parseTemplate(s.Name, text); err != nil {
			doc.errorf(at+"."+field, "%v", err)
		}
	}
	for i, p := range s.Patches {
		if p.Kind == "" || p.Name == "" || p.Patch == "" || len(s.Manifests) == 0 {
			doc.errorf(fmt.Sprintf("%s.patches[%d]", at, i), "step %q: a patch needs kind, name and patch, and manifests to change", s.Name)
		}
		if _, err := parseTemplate(s.Name, p.Patch); err != nil {
			doc.errorf(fmt.Sprintf("%s.patches[%d].patch", at, i), "%v", err)
		}
	}
}
