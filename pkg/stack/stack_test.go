package stack

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"naru/manifest"
)

func TestHolds(t *testing.T) {
	for name, c := range map[string]struct {
		object, want string
		holds, fails bool
	}{
		"rolled out":               {"kind: Deployment\nmetadata: {generation: 2}\nspec: {replicas: 2}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}", wantReady, true, false},
		"not seen yet":             {"kind: Deployment\nmetadata: {generation: 3}\nspec: {replicas: 2}\nstatus: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}", wantReady, false, false},
		"condition from before":    {"kind: Widget\nmetadata: {generation: 3}\nstatus: {observedGeneration: 2, conditions: [{type: Done, status: 'True'}]}", "Done", false, false},
		"condition of now":         {"kind: Widget\nmetadata: {generation: 3}\nstatus: {observedGeneration: 3, conditions: [{type: Done, status: 'True'}]}", "Done", true, false},
		"old replicas left":        {"kind: Deployment\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, replicas: 2, updatedReplicas: 1, availableReplicas: 1}", wantReady, false, false},
		"scaled to nothing":        {"kind: Deployment\nspec: {replicas: 0}\nstatus: {observedGeneration: 1}", wantReady, true, false},
		"fresh deployment":         {"kind: Deployment\nspec: {replicas: 0}", wantReady, false, false},
		"set half updated":         {"kind: StatefulSet\nspec: {replicas: 3}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 2}", wantReady, false, false},
		"set updated on delete":    {"kind: StatefulSet\nspec: {replicas: 3, updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, readyReplicas: 3}", wantReady, true, false},
		"daemons on no node":       {"kind: DaemonSet\nstatus: {observedGeneration: 1}", wantReady, true, false},
		"daemons":                  {"kind: DaemonSet\nstatus: {observedGeneration: 1, desiredNumberScheduled: 3, numberReady: 2, updatedNumberScheduled: 3}", wantReady, false, false},
		"job done":                 {"kind: Job\nstatus: {conditions: [{type: Complete, status: \"True\"}]}", wantReady, true, false},
		"job failed":               {"kind: Job\nstatus: {conditions: [{type: Failed, status: \"True\", message: too often}]}", wantReady, false, true},
		"pod ended":                {"kind: Pod\nstatus: {phase: Succeeded}", wantReady, true, false},
		"claim":                    {"kind: PersistentVolumeClaim\nstatus: {phase: Pending}", wantReady, false, false},
		"balancer with no address": {"kind: Service\nspec: {type: LoadBalancer}", wantReady, false, false},
		"service":                  {"kind: Service\nspec: {type: ClusterIP}", wantReady, true, false},
		"own condition":            {"kind: Installation\nstatus: {conditions: [{type: Degraded, status: \"False\"}, {type: Ready, status: \"True\"}]}", wantReady, true, false},
		"own phase":                {"kind: CephCluster\nstatus: {phase: Progressing}", wantReady, false, false},
		"own health":               {"kind: Elasticsearch\nstatus: {health: green}", wantReady, true, false},
		"nothing said":             {"kind: Thing", wantReady, false, false},
		"exists":                   {"kind: Thing", wantExists, true, false},
		"named condition":          {"kind: Thing\nstatus: {conditions: [{type: Programmed, status: \"True\"}]}", "Programmed", true, false},
		"condition not there":      {"kind: Thing", "Programmed", false, false},
	} {
		var o unstructured.Unstructured
		data, err := yaml.YAMLToJSON([]byte("apiVersion: v1\n" + c.object))
		if err != nil {
			t.Fatal(name, err)
		}
		if err := o.UnmarshalJSON(data); err != nil {
			t.Fatal(name, err)
		}
		holds, state, err := holds(&o, c.want)
		if holds != c.holds || c.fails != errors.Is(err, errFailed) || !holds && state == "" {
			t.Errorf("%s: %v, %q, %v", name, holds, state, err)
		}
	}
}

// TestPassedOver: a custom resource is looked at though a resource of Kubernetes has its
// name.
func TestPassedOver(t *testing.T) {
	for at, want := range map[[2]string]bool{
		{"", "secrets"}: true, {"", "events"}: true, {"events.k8s.io", "events"}: true, {"discovery.k8s.io", "endpointslices"}: true, {"metrics.k8s.io", "pods"}: true,
		{"apiregistration.k8s.io", "apiservices"}: true, {"", "pods"}: false, {"", "configmaps"}: false, {"apps", "deployments"}: false,
		{"example.com", "events"}: false, {"example.com", "nodes"}: false, {"gateway.networking.k8s.io", "gateways"}: false,
	} {
		if got := passedOver(at[0], at[1]); got != want {
			t.Errorf("%v: %v", at, got)
		}
	}
}

func TestOwnHostsAndAllowances(t *testing.T) {
	s := &sealer{found: map[string]*Finding{}, facts: manifest.SampleFacts("r", "1.33.0", nil)}
	s.Components = []*manifest.ComponentSpec{{ID: "c", Allow: []manifest.Allowance{{URL: "https://kubernetes.io/docs"}, {URL: "grafana.com"}}}}
	s.Hosts = []string{"depot.site", ".corp.example"}
	for url, fine := range map[string]bool{
		"http://loki:3100/x": true, "https://kubernetes.default.svc": true, "https://a.b.svc.cluster.local:443/x": true, "http://127.0.0.1/": true,
		"http://10.1.2.3:80": true, "https://[::1]:6443": true, "https://harbor.naru.test/v2/": true, "https://app.naru.test": true, "https://192.0.2.10:6443": true,
		"https://192.0.2.21": true, "https://depot.site:5000": true, "https://x.corp.example": true, "https://${HOST}/x": true, "https://{{ .Host }}.x.com": true,
		"https://kubernetes.io/docs": true, "https://kubernetes.io/docs/x": true, "https://grafana.com/x": true, "https://stats.grafana.com": true,
		"https://kubernetes.io/": false, "https://kubernetes.io/docs-x": false, "https://notgrafana.com": false, "https://8.8.8.8/dns": false, "https://example.org": false,
		"https://svc.example.org": false, "git://github.com/a/b": false,
		"https://[2001:db8::8]/x": false, "grpc://[2606:4700::1]:443": false, "https://[fd00::5]:6443/x": true,
	} {
		clear(s.found)
		s.urls("ConfigMap a/b", "", map[string]any{"data": "see " + url + " or not\n# https://comment.example.org\n"})
		if got := len(s.found) == 0; got != fine {
			t.Errorf("%s: %v, want %v", url, got, fine)
		}
	}
}

func TestDifferenceLeavesVersionsOut(t *testing.T) {
	before := []item{{"apps/v1beta1", "Deployment", "n", "a"}, {"v1", "ConfigMap", "n", "b"}, {"v1", "ConfigMap", "other", "a"}}
	now := []item{{"apps/v1", "Deployment", "n", "a"}, {"v1", "ConfigMap", "n", "a"}}
	got := difference(before, now)
	if len(got) != 2 || got[0].Name != "b" || got[1].Namespace != "other" {
		t.Errorf("got %+v", got)
	}
}

func TestGeneratedSecrets(t *testing.T) {
	for _, want := range []manifest.Secret{{Name: "a", Length: 40}, {Name: "b", Length: 20, Alphabet: "hex"}, {Name: "c"}} {
		first, err := generate(want)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := generate(want)
		length := want.Length
		if length == 0 {
			length = 32
		}
		if len(first) != length || first == second || want.Alphabet == "hex" && strings.Trim(first, hexes) != "" {
			t.Errorf("%s: %q %q", want.Name, first, second)
		}
	}
}

// blobs is content by digest in memory.
type blobs map[digest.Digest]string

func (b blobs) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := b[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(data), io.NopCloser(nil)}, nil
}

func (b blobs) put(data string) ocispec.Descriptor {
	d := digest.FromString(data)
	b[d] = data
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
}

func TestContentOfABundle(t *testing.T) {
	b := blobs{}
	amd, arm := b.put("a: amd"), b.put("a: arm")
	one := b.put(`{"layers":[{"digest":"` + amd.Digest.String() + `","size":6}]}`)
	two := b.put(`{"layers":[{"digest":"` + arm.Digest.String() + `","size":6}]}`)
	index := b.put(`{"manifests":[{"digest":"` + one.Digest.String() + `","platform":{"os":"linux","architecture":"amd64"}},{"digest":"` + two.Digest.String() + `","platform":{"os":"linux","architecture":"arm64"}}]}`)
	index.Annotations = map[string]string{ocispec.AnnotationRefName: "naru/files/c/up:1.0"}
	chart := b.put("a chart")
	lock := manifest.NewLock("r")
	lock.Charts = []manifest.LockedChart{{Component: "c", Name: "app", Digest: chart.Digest}}
	content := NewContent(b, ocispec.Index{Manifests: []ocispec.Descriptor{index}}, lock, "linux/arm64")
	if data, err := content.File(t.Context(), "c", "up"); err != nil || string(data) != "a: arm" {
		t.Errorf("file %q, %v", data, err)
	}
	r, err := content.Chart(t.Context(), "c", "app")
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := io.ReadAll(r); string(data) != "a chart" || content.ChartDigest("c", "app") != chart.Digest.String() {
		t.Errorf("chart %q", data)
	}
	for _, err := range []error{func() error { _, err := content.File(t.Context(), "c", "other"); return err }(), func() error { _, err := content.Chart(t.Context(), "d", "app"); return err }()} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
}
