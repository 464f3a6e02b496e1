package content

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"naru/manifest"
)

// Release lab is valid, and asks for nothing in another version than the recipe makes.
func TestReleaseLab(t *testing.T) {
	set, err := manifest.LoadRelease(os.DirFS("../releases"), "lab")
	if err != nil {
		t.Fatal(err)
	}
	c := ClusterRecipe().Cluster
	for id, want := range map[string]string{
		"kubernetes": c.Kubernetes.Version, "containerd": c.Containerd.Version, "cni-plugins": c.CNI.Version, "flannel": c.Flannel.Version,
	} {
		if got := set.Specs[id].Version; "v"+got != want {
			t.Errorf("component %s is %s, the recipe makes %s", id, got, want)
		}
	}
	want := map[string]string{
		"registry.k8s.io/etcd": c.EtcdTag, "registry.k8s.io/coredns/coredns": c.CoreDNSTag, "ghcr.io/flannel-io/flannel-cni-plugin": c.FlannelCNITag,
	}
	for _, spec := range set.Specs {
		for _, img := range spec.Images {
			repo, tag, _ := strings.Cut(img.Ref, ":")
			if w, ok := want[repo]; ok && tag != w {
				t.Errorf("%s: the recipe makes %s", img.Ref, w)
			}
		}
	}
}

// Modules of the repository's own folders are taken as published, in the version
// that is to be had.
func TestGoMod(t *testing.T) {
	var m modFile
	err := json.Unmarshal([]byte(`{"Go":"1.23.0","GoDebug":[{"Key":"default","Value":"go1.23"}],
		"Require":[{"Path":"k8s.io/api","Version":"v0.0.0"},{"Path":"k8s.io/kube-proxy","Version":"v0.0.0"},
			{"Path":"k8s.io/sample-apiserver","Version":"v0.0.0"},{"Path":"example.org/x","Version":"v1.0.0"}],
		"Replace":[{"Old":{"Path":"k8s.io/api"},"New":{"Path":"./staging/src/k8s.io/api"}},{"Old":{"Path":"k8s.io/kube-proxy"},"New":{"Path":"./staging/src/k8s.io/kube-proxy"}},
			{"Old":{"Path":"k8s.io/sample-apiserver"},"New":{"Path":"./staging/src/k8s.io/sample-apiserver"}},
			{"Old":{"Path":"example.org/x","Version":"v1.0.0"},"New":{"Path":"example.org/y","Version":"v1.1.0"}}]}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	p := kubernetesProgram("v1.32.13", olderStaging)
	got := p.goMod(&m)
	for _, line := range []string{
		"godebug default=go1.23\n", "require k8s.io/kubernetes v1.32.13\n", "require k8s.io/api v0.32.13\n", "require k8s.io/kube-proxy v0.32.2\n", "require example.org/x v1.0.0\n",
		"replace k8s.io/api => k8s.io/api v0.32.13\n", "replace k8s.io/kube-proxy => k8s.io/kube-proxy v0.32.2\n", "replace example.org/x v1.0.0 => example.org/y v1.1.0\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.Contains(got, "sample-apiserver") {
		t.Errorf("what nothing imports is asked for:\n%s", got)
	}
}

func TestMainWithoutPackages(t *testing.T) {
	dir := t.TempDir()
	src := "package main\n\nimport (\n\t_ \"example.org/m/a\"\n\t_ \"example.org/m/b\"\n)\n"
	if err := os.WriteFile(dir+"/main.go", []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	p := GoProgram{Module: "example.org/m", MainFrom: "main.go", Without: []string{"a"}}
	got, err := p.main(dir)
	if err != nil || strings.Contains(got, "m/a") || !strings.Contains(got, "m/b") {
		t.Errorf("got %q, %v", got, err)
	}
	p.Without = []string{"a", "c"}
	if _, err := p.main(dir); err == nil {
		t.Error("a package to leave out that is not imported went unnoticed")
	}
}
