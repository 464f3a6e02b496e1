package build_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/internal/build"
	"naru/internal/discover"
	"naru/internal/progress"
	"naru/manifest"
	"naru/test/lab/helmchart"
	"naru/test/lab/layout"
)

// notes is a progress.Observer that keeps what it is told.
type notes struct {
	progress.Nop
	said []string
}

func (n *notes) Note(text string) { n.said = append(n.said, text) }

// harbour publishes a chart with a sub-chart, a hook, a CRD and images of every kind,
// over HTTP and in a registry, and returns the files of the chart.
func (w *world) harbour(name string, change ...string) {
	w.t.Helper()
	files := map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: " + name + "\nversion: 1.0.0+x\ndependencies: [{name: sub, version: 0.1.0}]\n",
		"values.yaml": "plain: " + plain + "\nextra: {}\n",
		"templates/web.yaml": fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: a, image: "%s@%s", args: ["--helper={{ .Values.plain }}"]}]}}}
`, app, w.index.Digest),
		"templates/hook.yaml":         "apiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: pre-install}}\nspec: {template: {spec: {containers: [{name: a, image: \"" + appRef + "\"}]}}}\n",
		"crds/x.yaml":                 "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.a.b}\nspec: {group: a.b, names: {kind: X}, versions: [{name: v1}]}\n",
		"charts/sub/Chart.yaml":       "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
		"charts/sub/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a.yaml: \"x: {image: '" + plain + "'}\"}\n",
	}
	for i := 0; i+1 < len(change); i += 2 {
		files[change[i]] = change[i+1]
	}
	c := must(helmchart.Package(files))(w.t)
	more := must(layout.NewWriter(w.t.TempDir()))(w.t)
	ok(w.t, helmchart.Publish(more, "https://dl.lab.test/charts", c))
	w.chart = must(helmchart.Push(more, "ghcr.io/naru/charts", c))(w.t)
	ok(w.t, w.up.Add(w.t.Context(), must(more.Close())(w.t)))
}

// withCharts builds a content file of one component.
func (w *world) withCharts(component string) build.Options {
	w.t.Helper()
	o := w.options()
	o.ContentFiles = []string{w.write("charts.yaml", "apiVersion: naru/v1\nkind: Content\nname: charts\nplatforms: [linux/amd64]\ncomponents:\n  - id: port\n    version: 1.0.0\n"+component)}
	return o
}

const (
	chartHTTP  = "    charts: [{name: app, version: 1.0.0+x, repository: \"https://dl.lab.test/charts\"}]\n"
	chartOCI   = "    charts: [{name: app, version: 1.0.0+x, repository: \"oci://ghcr.io/naru/charts\"}]\n"
	chartSteps = "    steps: [{name: app, chart: app, namespace: ns, values: \"extra: {nodes: {{ len .Nodes }}}\"}]\n"
	bothImages = "    images: [{ref: " + appRef + "}, {ref: " + plain + "}]\n"
)

func TestChartsCarriedAndImagesFound(t *testing.T) {
	for name, chart := range map[string]string{"http": chartHTTP, "oci": chartOCI} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.harbour("app")
			o := w.withCharts(bothImages + chart + chartSteps)
			first := w.run(o)
			d := first.Discovery
			if first.Charts != 1 || d == nil || d.Rendered != 1 || d.Found != 4 || len(d.Unused) != 0 || len(d.ByIndexDigest) != 1 {
				t.Fatalf("%+v, discovery %+v", first, d)
			}
			if !strings.Contains(d.ByIndexDigest[0], "app/templates/web.yaml") {
				t.Errorf("by index digest: %v", d.ByIndexDigest)
			}
			want := tree(t, o.OutDir)
			locked := w.withCharts(bothImages + chart + chartSteps)
			locked.LockFile, locked.Locked = filepath.Join(o.OutDir, "lock.yaml"), true
			w.run(locked)
			if diff := cmp.Diff(want, tree(t, locked.OutDir)); diff != "" {
				t.Errorf("built from the lock it differs:\n%s", diff)
			}
			w.closed()
			if again := w.run(o); !again.UpToDate || len(w.up.Requests()) != 0 {
				t.Errorf("the second run: up to date %v, %d requests", again.UpToDate, len(w.up.Requests()))
			}
		})
	}
}

func TestImageThatNobodyListsFailsTheBuild(t *testing.T) {
	w := newWorld(t)
	w.harbour("app")
	_, err := build.Build(t.Context(), w.withCharts("    images: [{ref: "+appRef+"}]\n"+chartHTTP+chartSteps))
	missing, isMissing := errors.AsType[*discover.MissingImagesError](err)
	if !isMissing || len(missing.Images) != 2 {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"chart app-1.0.0+x", "template app/templates/web.yaml", "Deployment web", "args[0]", plain, "template app/charts/sub/templates/c.yaml", `component "port"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	// A component that it requires may list it; one that it does not may not.
	other := "  - id: other\n    version: 1.0.0\n    images: [{ref: " + plain + "}]\n"
	if _, err := build.Build(t.Context(), w.withCharts("    images: [{ref: "+appRef+"}]\n"+chartHTTP+chartSteps+other)); !errors.As(err, &missing) {
		t.Errorf("listed elsewhere: %v", err)
	}
	w.run(w.withCharts("    requires: [other]\n    images: [{ref: " + appRef + "}]\n" + chartHTTP + chartSteps + other))
	// What is no image may be said to be none.
	w.run(w.withCharts("    images: [{ref: " + appRef + "}]\n    notImages: [{ref: \"" + plain + "\", note: an example}]\n" + chartHTTP + chartSteps))
}

func TestImageByAnotherDigestFailsTheBuild(t *testing.T) {
	w := newWorld(t)
	w.harbour("app", "templates/web.yaml", fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: \"%s@%s\"}]}\n", app, w.newer.Digest))
	_, err := build.Build(t.Context(), w.withCharts(bothImages+chartHTTP+chartSteps))
	if _, isMissing := errors.AsType[*discover.MissingImagesError](err); !isMissing {
		t.Fatalf("got %v", err)
	}
	// Both digests are named: the one the chart asks for, and the one pinned.
	for _, part := range []string{"pinned to", "another digest than " + w.newer.Digest.String()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	_, after, _ := strings.Cut(err.Error(), "pinned to ")
	if d, _, _ := strings.Cut(after, ","); digest.Digest(d).Validate() != nil || d == w.newer.Digest.String() {
		t.Errorf("the digest that was pinned is not in %v", err)
	}
}

func TestImageThatNothingNamesIsNoted(t *testing.T) {
	w := newWorld(t)
	w.harbour("app", "templates/web.yaml", "", "templates/hook.yaml", "")
	for suffix, want := range map[string]int{"": 1, ", runtime: true, note: the operator starts it": 0} {
		o := w.withCharts("    images: [{ref: " + appRef + suffix + "}, {ref: " + plain + "}]\n" + chartHTTP + chartSteps)
		n := &notes{}
		o.Progress = n
		got := w.run(o)
		if len(got.Discovery.Unused) != want || want == 1 && !strings.Contains(strings.Join(n.said, "\n"), "port: "+appRef) {
			t.Errorf("unused %v, said %v", got.Discovery.Unused, n.said)
		}
	}
}

func TestChartThatNoStepInstallsIsNoted(t *testing.T) {
	w := newWorld(t)
	w.harbour("app")
	o := w.options()
	o.ContentFiles = []string{w.write("loose.yaml", "apiVersion: naru/v1\nkind: Content\nname: loose\nplatforms: [linux/amd64]\n"+strings.TrimSpace(chartHTTP)+"\n")}
	got := w.run(o)
	if got.Charts != 1 || len(got.Discovery.Unchecked) != 4 {
		t.Errorf("%+v %+v", got, got.Discovery)
	}
}

func TestStepThatDoesNotRenderFailsTheBuild(t *testing.T) {
	w := newWorld(t)
	w.harbour("app")
	steps := "    steps: [{name: app, chart: app, namespace: ns, values: \"extra: {{ .Values.nothing }}\"}]\n"
	_, err := build.Build(t.Context(), w.withCharts(bothImages+chartHTTP+steps))
	if _, is := errors.AsType[*discover.RenderError](err); !is || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("got %v", err)
	}
}

func TestLockedRefusesAChartThatNoLockPins(t *testing.T) {
	w := newWorld(t)
	w.harbour("app")
	o := w.withCharts(bothImages + chartHTTP + chartSteps)
	o.Locked = true
	_, err := build.Build(t.Context(), o)
	if unpinned, is := errors.AsType[*build.UnpinnedError](err); !is || !strings.Contains(unpinned.Error(), "port/app") {
		t.Errorf("got %v", err)
	}
	lock := must(build.Pin(t.Context(), w.withCharts(bothImages+chartHTTP+chartSteps)))(t)
	if len(lock.Charts) != 1 || lock.Charts[0].Size == 0 || lock.Charts[0].PinnedBy != manifest.PinnedByBuild {
		t.Errorf("locked %+v", lock.Charts)
	}
}
