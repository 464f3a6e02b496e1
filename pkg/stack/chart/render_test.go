package chart_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"

	"naru/manifest"
	"naru/pkg/stack/chart"
)

// files of a chart with a sub-chart, a hook, a test hook, a CRD and notes.
var files = map[string]string{
	"Chart.yaml":                    "apiVersion: v2\nname: app\nversion: 1.2.3\nkubeVersion: \">=1.30.0-0\"\ndependencies: [{name: sub, version: 0.1.0, repository: \"\", condition: sub.enabled}]\n",
	"values.yaml":                   "image: quay.io/a/app:1\nsub: {enabled: true}\n",
	"values.schema.json":            `{"type":"object","properties":{"image":{"type":"string"}}}`,
	"templates/_help.tpl":           `{{ define "n" }}x{{ end }}`,
	"templates/NOTES.txt":           "not: an object",
	"templates/web.yaml":            "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Release.Name }}-{{ include \"n\" . }}, namespace: {{ .Release.Namespace }}}\nspec: {containers: [{name: a, image: {{ .Values.image | quote }}}]}\n",
	"templates/hook.yaml":           "apiVersion: v1\nkind: Pod\nmetadata: {name: hook, annotations: {helm.sh/hook: \"pre-install,test\"}}\nspec: {containers: [{name: a, image: \"quay.io/a/hook:1\"}]}\n",
	"templates/tests/t.yaml":        "apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\nspec: {containers: [{name: a, image: \"quay.io/a/test:1\"}]}\n",
	"templates/monitor.yaml":        "{{ if .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}\napiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: m}\n{{ end }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"v{{ .Capabilities.KubeVersion.Minor }}\"}\n",
	"crds/x.yaml":                   "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.a.b}\nspec: {group: a.b, names: {kind: X}, versions: [{name: v1, served: true}, {name: v0, served: false}]}\n",
	"charts/sub/Chart.yaml":         "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
	"charts/sub/templates/sub.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: sub}\nspec: {containers: [{name: a, image: \"quay.io/a/sub:1\"}]}\n",
}

func packaged(t *testing.T) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := chart.LoadFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	file, err := chartutil.Save(c.Chart, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// carried is content of one chart and some files.
type carried struct {
	chart []byte
	files map[string]string
}

func (c carried) Chart(_ context.Context, _, name string) (io.ReadCloser, error) {
	if name != "app" {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(c.chart)), nil
}

func (c carried) File(_ context.Context, _, name string) ([]byte, error) {
	data, ok := c.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(data), nil
}

func component(steps ...manifest.Step) *manifest.ComponentSpec {
	return &manifest.ComponentSpec{ID: "comp", Steps: steps}
}

func names(objects []chart.Object) string {
	var out []string
	for _, o := range objects {
		out = append(out, o.String())
	}
	return strings.Join(out, ", ")
}

func TestRenderChartStep(t *testing.T) {
	content := carried{chart: packaged(t)}
	step := manifest.Step{Name: "app", Chart: "app", Namespace: "ns", Release: "rel", Values: "image: \"{{ .Harbor.Host }}/a:1\"\n"}
	spec := component(step)
	facts := manifest.SampleFacts("r", "1.33.1", spec)
	got, err := chart.RenderStep(t.Context(), content, spec, &step, facts, chart.Capabilities{Kubernetes: "1.33.1", APIVersions: []string{"monitoring.coreos.com/v1"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "CustomResourceDefinition xs.a.b, Pod sub, Pod hook, ServiceMonitor m, ConfigMap v33, Pod ns/rel-x"; names(got.Objects) != want {
		t.Errorf("got %s, want %s", names(got.Objects), want)
	}
	if want := "a.b/v1 a.b/v1/X"; strings.Join(chart.Provides(got.Objects), " ") != want {
		t.Errorf("provides %v", chart.Provides(got.Objects))
	}
	hits, err := chart.Images(got.Chart, got.Objects)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, h := range hits {
		found = append(found, h.Ref.String())
		if h.Chart != "app-1.2.3" || !h.ByPlace {
			t.Errorf("hit %+v", h)
		}
	}
	if want := "quay.io/a/sub:1 quay.io/a/hook:1 harbor.naru.test/a:1"; strings.Join(found, " ") != want {
		t.Errorf("found %v", found)
	}
}

func TestRenderRefuses(t *testing.T) {
	content := carried{chart: packaged(t)}
	for name, c := range map[string]struct {
		step manifest.Step
		kube string
	}{
		"old Kubernetes":   {manifest.Step{Name: "s", Chart: "app"}, "1.29.0"},
		"schema":           {manifest.Step{Name: "s", Chart: "app", Values: "image: 5"}, "1.33.0"},
		"missing key":      {manifest.Step{Name: "s", Chart: "app", Values: "image: {{ .Values.nothing }}"}, "1.33.0"},
		"no such chart":    {manifest.Step{Name: "s", Chart: "other"}, "1.33.0"},
		"no such file":     {manifest.Step{Name: "s", Manifests: []string{"f"}}, "1.33.0"},
		"no object":        {manifest.Step{Name: "s", Inline: "a: b"}, "1.33.0"},
		"version not read": {manifest.Step{Name: "s", Chart: "app"}, "one"},
	} {
		spec := component(c.step)
		_, err := chart.RenderStep(t.Context(), content, spec, &c.step, manifest.SampleFacts("r", c.kube, spec), chart.Capabilities{Kubernetes: c.kube})
		if err == nil || !strings.Contains(err.Error(), `"comp"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRenderManifests(t *testing.T) {
	content := carried{files: map[string]string{"a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: ns}\nspec: {replicas: 1, paused: true}\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMapList\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}]\n"}}
	step := manifest.Step{Name: "s", Manifests: []string{"a.yaml"}, Inline: "apiVersion: v1\nkind: Namespace\nmetadata: {name: {{ .Cluster }}}\n",
		Patches: []manifest.Patch{{Kind: "Deployment.apps", Name: "d", Patch: "spec: {replicas: {{ len .Nodes }}, paused: null, template: {a: b}}"}}}
	spec := component(step)
	facts := manifest.SampleFacts("r", "1.33.0", spec)
	got, err := chart.RenderStep(t.Context(), content, spec, &step, facts, chart.Capabilities{Kubernetes: "1.33.0"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "Deployment ns/d, ConfigMap c, Namespace naru"; names(got.Objects) != want {
		t.Errorf("got %s", names(got.Objects))
	}
	data, err := got.Objects[0].JSON()
	if err != nil || !strings.Contains(string(data), `"spec":{"replicas":4,"template":{"a":"b"}}`) {
		t.Errorf("patched to %s, %v", data, err)
	}
	step.Patches[0].Name = "gone"
	if _, err := chart.RenderStep(t.Context(), content, spec, &step, facts, chart.Capabilities{}); err == nil {
		t.Error("a patch of nothing was taken")
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
