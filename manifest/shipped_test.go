package manifest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	for _, facts := range SampleSites(set.Name, set.Kubernetes, c) {
		for i := range c.Steps {
			renderStep(t, facts, c, &c.Steps[i])
		}
	}
}

func renderStep(t *testing.T, facts *Facts, c *ComponentSpec, s *Step) {
	t.Helper()
	at := facts.Release + "/" + c.ID + "/" + s.Name
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

// systems are those of the standard architecture of 2025, with the components that
// carry them. One that a release drops is missed on the day.
var systems = map[string][]string{
	"Kubernetes": {"kubernetes"}, "etcd tools": {"etcd-tools"}, "container runtime": {"containerd", "runc", "cni-plugins", "crictl", "nerdctl"},
	"load balancer": {"haproxy", "keepalived"}, "Calico": {"calico"}, "Cilium": {"cilium"}, "MetalLB": {"metallb"},
	"ingress-nginx": {"ingress-nginx"}, "Gateway API": {"gateway-api"}, "k8gb": {"k8gb"}, "metrics-server": {"metrics-server"},
	"cert-manager": {"cert-manager"}, "snapshot controller": {"snapshot-controller"}, "local-path": {"local-path"}, "NFS CSI": {"nfs-csi"},
	"Helm": {"helm"}, "Harbor with Trivy": {"harbor", "trivy-db", "trivy"}, "Argo CD": {"argo-cd", "argo-rollouts"}, "Jenkins": {"jenkins"},
	"GitLab": {"gitlab", "gitlab-runner"}, "GitHub Actions": {"github-actions"}, "Docker and BuildKit": {"docker", "buildkit"},
	"Teleport": {"teleport"}, "Keycloak": {"keycloak"}, "Vault": {"vault", "secrets-store-csi"},
	"Istio": {"istio", "kiali"}, "Knative": {"knative"}, "Rook and Ceph": {"rook-ceph"}, "Velero": {"velero"},
	"Kubeflow": {"kubeflow", "kubeflow-pipelines", "kubeflow-katib", "kubeflow-notebooks", "kubeflow-training", "kubeflow-serving", "kubeflow-notebook-images", "kubeflow-serving-runtimes"},
	"KubeVirt": {"kubevirt", "cdi"}, "Falco": {"falco"}, "OpenTelemetry": {"opentelemetry"}, "Fluent Bit": {"fluent-bit"},
	"Elastic": {"elastic"}, "Jaeger": {"jaeger"}, "Prometheus and Grafana": {"prometheus"},
	"kubespray": {"kubespray"}, "Terraform and OpenTofu": {"terraform", "opentofu"}, "desktop": {"lens", "headlamp", "k9s"},
	"OS packages": {"host-packages"},
}

// optional are carried by name alone.
var optional = []string{"karmada", "kyverno", "tracee"}

// TestFullProfile: every system of the standard architecture is in the profile full
// of every release but the demonstration, and nothing optional is in any profile.
func TestFullProfile(t *testing.T) {
	names, err := ReleaseNames(EmbeddedReleases())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "demo" {
			continue
		}
		set, err := LoadRelease(EmbeddedReleases(), name)
		if err != nil {
			t.Fatal(err)
		}
		sel, err := Select(set, nil, SelectOptions{Profile: "full"})
		if err != nil {
			t.Fatal(err)
		}
		ids := sel.IDs()
		for system, want := range systems {
			for _, id := range want {
				if !slices.Contains(ids, id) {
					t.Errorf("release %q, profile full: %s is missing (component %q)", name, system, id)
				}
			}
		}
		for _, id := range optional {
			if set.Specs[id] == nil {
				t.Errorf("release %q has no component %q", name, id)
			}
			if slices.Contains(ids, id) {
				t.Errorf("release %q, profile full: %q is optional", name, id)
			}
		}
	}
}

// TestUnsealedByHand: what somebody has to unseal is not waited for, or no run would get
// past it.
func TestUnsealedByHand(t *testing.T) {
	for _, name := range []string{"2025.1", "2025.2"} {
		set, err := LoadRelease(EmbeddedReleases(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range set.Specs["vault"].Steps {
			if len(s.Wait) == 0 {
				t.Errorf("release %q: step %q waits for all workloads of its chart", name, s.Name)
			}
			for _, w := range s.Wait {
				if w.Kind == "StatefulSet" && w.For != "exists" {
					t.Errorf("release %q: step %q waits for %s %s to be %s", name, s.Name, w.Kind, w.Name, w.For)
				}
			}
		}
	}
}

// TestSupplyFiles: the files that docs give to start from are good ones.
func TestSupplyFiles(t *testing.T) {
	files, err := filepath.Glob("../docs/supply/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := DecodeContent(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, spec := range c.Specs() {
			renderSteps(t, &ReleaseSet{Release: Release{Name: c.Name, Kubernetes: "1.32.13"}}, &spec)
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
