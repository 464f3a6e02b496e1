package kustomize_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"slices"
	"strings"
	"testing"

	"naru/pkg/stack/kustomize"
)

// pack makes a tar archive of files under the folder top.
func pack(t *testing.T, zip bool, files map[string]string) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(&buf)
	if zip {
		w = tar.NewWriter(z)
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		h := &tar.Header{Name: "top-1.0/" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if zip {
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return &buf
}

var tree = map[string]string{
	"base/kustomization.yaml":      "resources: [a.yaml]\n",
	"base/a.yaml":                  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: base}\n",
	"overlays/x/kustomization.yml": "namespace: x\nresources: [../../base]\npatches:\n  - patch: |\n      apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: a}\n      data: {k: overlay}\n",
	"remote/kustomization.yaml":    "resources: [https://example.com/base]\n",
	"git/kustomization.yaml":       "resources: [github.com/example/base]\n",
	"chart/kustomization.yaml":     "helmCharts: [{name: c, repo: https://example.com}]\n",
	"outside/kustomization.yaml":   "resources: [../../../etc]\n",
	"patch/kustomization.yaml":     "resources: [../base]\npatches: [{path: \"http://127.0.0.1:1/p.yaml\"}]\n",
	"merge/kustomization.yaml":     "resources: [../base]\npatchesStrategicMerge: [\"http://127.0.0.1:1/p.yaml\"]\n",
	"config/kustomization.yaml":    "configMapGenerator: [{name: c, files: [\"k=http://127.0.0.1:1/f\"]}]\n",
	"secret/kustomization.yaml":    "secretGenerator: [{name: c, envs: [\"HTTP://127.0.0.1:1/f\"]}]\n",
	"openapi/kustomization.yaml":   "resources: [../base]\nopenapi: {path: \"http://127.0.0.1:1/s.json\"}\n",
	"change/kustomization.yaml":    "resources: [../base]\ntransformers: [github.com/example/base]\n",
	"nested/kustomization.yaml":    "resources: [../base]\ngenerators: [../config]\n",
	"inline/kustomization.yaml":    "resources: [../base]\ntransformers:\n  - |-\n    apiVersion: builtin\n    kind: PrefixTransformer\n    metadata: {name: p}\n    prefix: x-\n    fieldSpecs: [{path: metadata/name}]\n",
}

func TestBuild(t *testing.T) {
	for _, zip := range []bool{true, false} {
		got, err := kustomize.Read(pack(t, zip, tree), "top-1.0")
		if err != nil {
			t.Fatal(err)
		}
		out, err := got.Build("overlays/x")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"namespace: x", "k: overlay", "name: a"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("zip %v: %q is not in\n%s", zip, want, out)
			}
		}
	}
}

// TestRemote: what is not in the archive is refused before anything is asked of a
// network.
func TestRemote(t *testing.T) {
	got, err := kustomize.Read(pack(t, true, tree), "top-1.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"remote", "git", "chart", "outside", "patch", "merge", "config", "secret", "openapi", "change", "nested"} {
		_, err := got.Build(at)
		var remote *kustomize.RemoteError
		if !errors.As(err, &remote) {
			t.Errorf("%s: %v, want a RemoteError", at, err)
		}
	}
	if _, err := got.Build("nowhere"); err == nil {
		t.Error("a folder that is not there was built")
	}
}

// TestInline: YAML in place of a path is no address.
func TestInline(t *testing.T) {
	got, err := kustomize.Read(pack(t, true, tree), "top-1.0")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := got.Build("inline"); err != nil || !strings.Contains(string(out), "name: x-a") {
		t.Errorf("%s, %v", out, err)
	}
}

func TestReadDamaged(t *testing.T) {
	whole := pack(t, true, tree).Bytes()
	if _, err := kustomize.Read(bytes.NewReader(whole[:len(whole)/2]), ""); err == nil {
		t.Error("half an archive was read")
	}
}
