package lint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"naru/internal/lint"
)

const releaseYAML = `apiVersion: naru/v1
kind: Release
name: r
kubernetes: 1.32.13
platforms: [linux/amd64, linux/arm64]
components: [user, operator, alone]
profiles:
  - {name: all, components: [user, operator, alone]}
defaultProfile: all
`

// bad holds a mistake for each rule; the line behind # says which.
const badUser = `apiVersion: naru/v1
kind: Component
id: user
version: "1"
license: Apache-2.0 MIT
requires: [operator]
images:
  - ref: ghcr.io/x/app:latest
  - ref: ghcr.io/x/unused:1.0.0
files:
  - name: tool
    sources:
      - {platform: linux/amd64, url: "https://dl.lab.test/tool"}
steps:
  - name: settings
    inline: |
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: a}
      data: {a: {{ .NoSuchFact }}}
  - name: object
    inline: |
      apiVersion: lab.test/v1
      kind: Thing
      metadata: {name: a}
      spec: {image: "ghcr.io/x/app:latest"}
  - name: other
    inline: |
      apiVersion: other.test/v1
      kind: Unknown
      metadata: {name: b}
  - name: pod
    inline: |
      apiVersion: v1
      kind: Pod
      metadata: {name: p}
      spec: {containers: [{name: c, image: "ghcr.io/x/nobody:2.0.0"}]}
  - name: app
    chart: app
    namespace: x
charts:
  - {name: app, version: 1.0.0, repository: "https://charts.lab.test/x"}
`

const badOperator = `apiVersion: naru/v1
kind: Component
id: operator
version: 1.0.0
license: LicenseRef-Lens
runtimePulls: []
phoneHome: []
files:
  - name: crds
    sources: [{url: "https://dl.lab.test/crds-1.yaml"}]
steps:
  - {name: crds, manifests: [crds]}
`

const badAlone = `apiVersion: naru/v1
kind: Component
id: alone
version: 1.0.0
license: Foo-1.0
images:
  - ref: ghcr.io/x/alone:1.0.0
  - ref: ghcr.io/x/half:1.0.0
    platforms: [linux/amd64]
    runtime: true
    note: Upstream has no other.
`

const crds = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.lab.test}
spec:
  group: lab.test
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true}]
`

func releases(user, operator, alone string) fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{"r/release.yaml": file(releaseYAML), "r/components/user.yaml": file(user),
		"r/components/operator.yaml": file(operator), "r/components/alone.yaml": file(alone)}
}

func run(t *testing.T, fsys fstest.MapFS, charts string) *lint.Report {
	t.Helper()
	report, err := lint.Run(t.Context(), lint.Options{Releases: fsys, Release: "r", Charts: charts})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// expect wants findings that start with "file:line: severity" and hold a text and rule.
func expect(t *testing.T, report *lint.Report, want [][3]string) {
	t.Helper()
	for _, w := range want {
		found := false
		for _, f := range report.Findings {
			s := f.String()
			found = found || strings.HasPrefix(s, "r/"+w[0]) && strings.Contains(s, w[1]) && strings.HasSuffix(s, w[2]+"]")
		}
		if !found {
			t.Errorf("no finding at %s with %q [%s", w[0], w[1], w[2])
		}
	}
	if t.Failed() {
		for _, f := range report.Findings {
			t.Log(f)
		}
	}
}

func TestRules(t *testing.T) {
	report := run(t, releases(badUser, badOperator, badAlone), "")
	expect(t, report, [][3]string{
		{"components/user.yaml:5:", "error: licence \"Apache-2.0 MIT\" is no SPDX expression", "[license"},
		{"components/user.yaml:6:12:", "error: release.yaml lists \"user\" before \"operator\"", "[order"},
		{"components/user.yaml:8:", "error: tag \"latest\"", "[floating-tag"},
		{"components/user.yaml:11:", "error: file \"tool\" has no source for linux/arm64", "[platforms"},
		{"components/user.yaml:16:", "error: ", "[template"},
		{"components/user.yaml:1:", "error: component \"user\" does not say what it pulls", "[runtime"},
		{"components/user.yaml:1:", "error: component \"user\" does not say what it calls", "[runtime"},
		{"components/operator.yaml:5:", "error: LicenseRef-Lens", "[license"},
		{"components/alone.yaml:5:", "error: licence \"Foo-1.0\"", "[license"},
		{"components/alone.yaml:7:", "error: image \"ghcr.io/x/alone:1.0.0\" is named by no step", "[explained"},
		{"components/alone.yaml:9:", "note: image ghcr.io/x/half:1.0.0 is not there for linux/arm64: Upstream has no other.", "[platforms"},
		{"lock.yaml", "note: 4 of 4 images and 2 of 2 files are pinned by nothing", "[pinned"},
	})
}

func TestRender(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "operator"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "operator", "crds-1.yaml"), []byte(crds), 0o600); err != nil {
		t.Fatal(err)
	}
	report := run(t, releases(badUser, badOperator, badAlone), dir)
	expect(t, report, [][3]string{
		{"components/user.yaml:", "warning: rendering step \"app\"", "[not-rendered"},
		{"components/user.yaml:", "error: rendering step \"settings\"", "[render"},
		{"components/user.yaml:", "names image \"ghcr.io/x/nobody:2.0.0\"", "[unlisted"},
		{"components/user.yaml:9:", "image \"ghcr.io/x/unused:1.0.0\" is listed, and nothing", "[explained"},
		{"components/user.yaml:", "other.test/v1, and no step before it", "[crd-order"},
	})
	for _, f := range report.Findings {
		if strings.Contains(f.Message, "lab.test/v1, and no step") {
			t.Errorf("a kind that a required component brings: %s", f)
		}
	}
	if report.Missing != 1 || report.Rendered != 4 {
		t.Errorf("%d rendered, %d missing, want 4 and 1", report.Rendered, report.Missing)
	}

	// With its chart, unpacked, the component renders whole.
	for name, text := range map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"templates/deploy.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: q}\nspec: {containers: [{name: c, image: \"ghcr.io/x/unused:1.0.0\"}]}\n",
	} {
		file := filepath.Join(dir, "app", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report = run(t, releases(badUser, badOperator, badAlone), dir)
	if report.Missing != 0 || report.Rendered != 5 {
		t.Errorf("%d rendered, %d missing, want 5 and 0", report.Rendered, report.Missing)
	}
	for _, f := range report.Findings {
		if strings.Contains(f.Message, "x/unused") && f.Severity != lint.Note {
			t.Errorf("the chart names it: %s", f)
		}
	}
}

// TestSchema shows mistakes of several documents at once.
func TestSchema(t *testing.T) {
	report := run(t, releases(badUser+"nonsense: 1\n", badOperator, strings.Replace(badAlone, "ghcr.io/x/alone:1.0.0", "alone:1.0.0", 1)), "")
	expect(t, report, [][3]string{
		{"components/user.yaml:", "unknown field \"nonsense\"", "[schema"},
		{"components/alone.yaml:7:", "no registry host", "[schema"},
	})
}
