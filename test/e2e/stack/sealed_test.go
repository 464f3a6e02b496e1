//go:build e2e

package stack

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"naru/manifest"
	"naru/pkg/stack"
)

// sealed looks at the cluster; only findings about the site's own namespaces count,
// since other tests run in the same cluster.
func (s *site) sealed(images ...string) string {
	s.t.Helper()
	lock := manifest.NewLock("e2e")
	for _, ref := range images {
		lock.Images = append(lock.Images, manifest.LockedImage{Ref: ref, Digest: digest.FromString(ref)})
	}
	r, err := stack.Sealed(s.t.Context(), stack.SealedOptions{Config: server.Config, Locks: []*manifest.Lock{lock}, Components: []*manifest.ComponentSpec{s.spec},
		Facts: func(c *manifest.ComponentSpec, secrets map[string]string) *manifest.Facts {
			f := manifest.SampleFacts("e2e", "1.32.0", c)
			f.Secrets, f.Values = secrets, s.values
			return f
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%d objects, %d images, %d addresses", r.Objects, r.Images, r.URLs)
	var out []string
	for _, f := range r.Findings {
		if strings.Contains(f.String(), s.spec.ID) {
			out = append(out, f.String())
		}
	}
	return strings.Join(out, "\n")
}

func TestSealed(t *testing.T) {
	s := port(t, "sealed")
	s.spec.Steps[1].Inline = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: \"http://loki:3100 https://harbor.naru.test/x http://10.0.0.1/ http://x.monitoring.svc.cluster.local/\"\n  b: |\n    # https://example.org/help\n    docs: https://kubernetes.io/docs/x\n"
	s.spec.Allow = []manifest.Allowance{{URL: "https://kubernetes.io/docs/", Note: "help"}}
	s.mustDeploy()
	if got := s.sealed("quay.io/a/web:1", "quay.io/a/hook:1"); got != "" {
		t.Errorf("found %s", got)
	}
	if got := s.sealed("quay.io/a/web:2", "quay.io/a/hook:1"); !strings.Contains(got, `image "quay.io/a/web:1"`) || !strings.Contains(got, "another version") || !strings.Contains(got, "Deployment sealed/web") {
		t.Errorf("found %s", got)
	}
	// A pod with a foreign image, and addresses outside in a ConfigMap, a custom resource
	// and the values of a chart.
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "foreign"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "busybox"}}}}
	if _, err := server.Client.CoreV1().Pods("sealed").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.spec.Steps[1].Inline += fmt.Sprintf("  c: \"push https://user:pass@telemetry.example.com/v1\"\n---\napiVersion: sealed.naru.test/v1\nkind: Ferry\nmetadata: {name: f}\nspec: {url: \"%s\"}\n", "https://updates.example.net")
	s.spec.Steps[0].Values += "mirror: \"https://kubernetes.io.example.org/docs/\"\n"
	s.mustDeploy()
	got := s.sealed("quay.io/a/web:1", "quay.io/a/hook:1")
	for _, part := range []string{`image "docker.io/library/busybox:latest"`, "Pod sealed/foreign", "https://telemetry.example.com/v1", "ConfigMap sealed/c, data.c", "https://updates.example.net", "Ferry sealed/f, spec.url", "https://kubernetes.io.example.org/docs/", "values of step app of component sealed"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not found in\n%s", part, got)
		}
	}
	if strings.Contains(got, "pass") {
		t.Errorf("a password is shown: %s", got)
	}
}
