package chart

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	helm "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

// Chart is a loaded chart. Rendering it changes it, so that it is rendered once.
type Chart struct{ *helm.Chart }

// Load reads a packaged chart (.tgz) from r.
func Load(r io.Reader) (*Chart, error) {
	c, err := loader.LoadArchive(r)
	if err != nil {
		return nil, fmt.Errorf("loading a chart: %w", err)
	}
	return &Chart{c}, nil
}

// LoadFolder reads an unpacked chart.
func LoadFolder(dir string) (*Chart, error) {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("loading the chart in %q: %w", dir, err)
	}
	return &Chart{c}, nil
}

// String is "name-version".
func (c *Chart) String() string { return c.Name() + "-" + c.Metadata.Version }

// Capabilities are what templates may ask of the cluster.
type Capabilities struct {
	// Kubernetes is the version, without "v".
	Kubernetes string
	// APIVersions are served beside those of Kubernetes itself.
	APIVersions []string
}

// Release is what an installed chart is called, and where.
type Release struct{ Name, Namespace string }

// ParseValues reads the values of a chart.
func ParseValues(data string) (map[string]any, error) {
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(data), &values); err != nil {
		return nil, fmt.Errorf("parsing values: %w", err)
	}
	return values, nil
}

func (c Capabilities) helm() (*chartutil.Capabilities, error) {
	out := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(c.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("parsing Kubernetes version %q: %w", c.Kubernetes, err)
	}
	out.KubeVersion = *version
	out.APIVersions = append(slices.Clone(chartutil.DefaultVersionSet), c.APIVersions...)
	return out, nil
}

// Render gives the objects that helm install would create: CRDs first, then those of
// the templates by their names, hooks among them.
func (c *Chart) Render(rel Release, values map[string]any, caps Capabilities) ([]Object, error) {
	objects, err := c.render(rel, values, caps)
	if err != nil {
		return nil, fmt.Errorf("rendering chart %q: %w", c.String(), err)
	}
	return objects, nil
}

func (c *Chart) render(rel Release, values map[string]any, caps Capabilities) ([]Object, error) {
	capabilities, err := caps.helm()
	if err != nil {
		return nil, err
	}
	if want := c.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, capabilities.KubeVersion.Version) {
		return nil, fmt.Errorf("it wants Kubernetes %s, the release has %s", want, capabilities.KubeVersion.Version)
	}
	if err := chartutil.ProcessDependenciesWithMerge(c.Chart, values); err != nil {
		return nil, err
	}
	definitions, err := c.definitions()
	if err != nil {
		return nil, err
	}
	capabilities.APIVersions = append(capabilities.APIVersions, Provides(definitions)...)
	options := chartutil.ReleaseOptions{Name: rel.Name, Namespace: rel.Namespace, Revision: 1, IsInstall: true}
	top, err := chartutil.ToRenderValues(c.Chart, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c.Chart, top)
	if err != nil {
		return nil, err
	}
	out := definitions
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if base := path.Base(name); base == "NOTES.txt" || strings.HasPrefix(base, "_") {
			continue
		}
		objects, err := ParseObjects(name, []byte(files[name]))
		if err != nil {
			return nil, err
		}
		out = append(out, slices.DeleteFunc(objects, Object.test)...)
	}
	return out, nil
}

// definitions are the objects of the crds folders, which are there before the
// templates are rendered.
func (c *Chart) definitions() ([]Object, error) {
	var out []Object
	for _, crd := range c.CRDObjects() {
		objects, err := ParseObjects(crd.Filename, crd.File.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}
