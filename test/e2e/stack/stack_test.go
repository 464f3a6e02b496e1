//go:build e2e

package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"naru/manifest"
	"naru/pkg/stack"
)

const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ferries.%[1]s.naru.test}
spec:
  group: %[1]s.naru.test
  scope: Namespaced
  names: {kind: Ferry, plural: ferries, singular: ferry, listKind: FerryList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true, description: "%[2]s"}}}]
`

func deployment(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: {{ .Values.replicas | default 1 }}
  selector: {matchLabels: {app: %[1]s}}
  template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: main, image: "%[2]s"}]}}
`, name, image)
}

const hook = `apiVersion: batch/v1
kind: Job
metadata: {name: prepare, annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "quay.io/a/hook:1"}]}}}
`

// port is a component with a chart, manifests and a secret, in namespaces of its own.
func port(t *testing.T, id string) *site {
	s := newSite(t, &manifest.ComponentSpec{
		ID: id, Version: "1",
		Charts:  []manifest.Chart{{Name: "app", Version: "1.0.0"}},
		Secrets: []manifest.Secret{{Name: "admin", Length: 24, Alphabet: "hex"}},
		Steps: []manifest.Step{
			{Name: "app", Chart: "app", Namespace: id, NamespaceLabels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"}, Timeout: "60s",
				Values: "replicas: {{ .Values.replicas }}\npassword: {{ .Secrets.admin }}\n"},
			{Name: "extra", Namespace: id, Manifests: []string{"up"}, Timeout: "60s",
				Patches: []manifest.Patch{{Kind: "ConfigMap", Name: "from-file", Patch: "data: {domain: {{ .Domain }}, drop: null}"}},
				Inline:  "{{ if .Values.inline }}apiVersion: v1\nkind: ConfigMap\nmetadata: {name: inline}\ndata: {admin: {{ .Secrets.admin }}}\n{{ end }}"},
			{Name: "never", When: "{{ eq .Domain \"other\" }}", Inline: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: never}\n"},
		},
	})
	s.values["replicas"], s.values["inline"] = 2, true
	s.content.files["up"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-file}\ndata: {drop: this, keep: that}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa}\n"
	s.publish("1.0.0", "first")
	return s
}

func (s *site) publish(version, description string) {
	s.chart("app", version, map[string]string{
		"crds/ferry.yaml":       fmt.Sprintf(crd, s.spec.ID, description),
		"templates/web.yaml":    deployment("web", "quay.io/a/web:1"),
		"templates/hook.yaml":   hook,
		"templates/ferry.yaml":  fmt.Sprintf("apiVersion: %s.naru.test/v1\nkind: Ferry\nmetadata: {name: one}\nspec: {to: here}\n", s.spec.ID),
		"templates/secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: admin}\nstringData: {password: {{ .Values.password | quote }}}\n",
	})
}

func TestDeployedOnceAndThenLeftAlone(t *testing.T) {
	s := port(t, "once")
	if got := s.plan(); len(got) != 3 || !strings.HasPrefix(got[0], "app install") || !strings.HasPrefix(got[1], "extra apply") || !strings.HasPrefix(got[2], "never left out") {
		t.Errorf("planned %q", got)
	}
	if r := s.mustDeploy(); r.Changed != 2 {
		t.Errorf("changed %+v", r)
	}
	before := s.versions()
	start := time.Now()
	r := s.mustDeploy()
	if r.Changed != 0 || !strings.Contains(strings.Join(s.events, "\n"), "app unchanged: nothing to do") {
		t.Errorf("the second run changed %+v, said %q", r, s.events)
	}
	t.Logf("a run with nothing to do took %s", time.Since(start).Round(time.Millisecond))
	if after := s.versions(); after != before {
		t.Errorf("the second run touched something:\n%s\n%s", before, after)
	}
	ns, err := server.Client.CoreV1().Namespaces().Get(t.Context(), "once", metav1.GetOptions{})
	if err != nil || ns.Labels["pod-security.kubernetes.io/enforce"] != "baseline" {
		t.Errorf("namespace %v, %v", ns.Labels, err)
	}
	m, err := server.Client.CoreV1().ConfigMaps("once").Get(t.Context(), "from-file", metav1.GetOptions{})
	if err != nil || m.Data["domain"] != "naru.test" || m.Data["keep"] != "that" || m.Data["drop"] != "" {
		t.Errorf("patched to %v, %v", m.Data, err)
	}
}

// versions are the resource versions of what the site deployed.
func (s *site) versions() string {
	s.t.Helper()
	ctx, ns := s.t.Context(), s.spec.ID
	var out []string
	for _, in := range []string{ns, stack.Namespace} {
		maps, err := server.Client.CoreV1().ConfigMaps(in).List(ctx, metav1.ListOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range maps.Items {
			out = append(out, in+"/"+m.Name+"="+m.ResourceVersion)
		}
		secrets, err := server.Client.CoreV1().Secrets(in).List(ctx, metav1.ListOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range secrets.Items {
			out = append(out, in+"/"+m.Name+"="+m.ResourceVersion)
		}
	}
	list, err := server.Client.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range list.Items {
		out = append(out, d.Name+"="+d.ResourceVersion)
	}
	return strings.Join(out, " ")
}

func TestChangesAreDeployed(t *testing.T) {
	s := port(t, "change")
	s.mustDeploy()
	password := s.secret()
	s.values["replicas"], s.values["inline"] = 3, false
	s.publish("1.1.0", "second")
	s.spec.Charts[0].Version = "1.1.0"
	if got := s.plan(); !strings.HasPrefix(got[0], "app upgrade") || !strings.HasPrefix(got[1], "extra apply") {
		t.Errorf("planned %q", got)
	}
	if r := s.mustDeploy(); r.Changed != 2 {
		t.Errorf("changed %+v", r)
	}
	d, err := server.Client.AppsV1().Deployments("change").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas != 3 || d.Status.AvailableReplicas != 3 {
		t.Errorf("deployment %+v, %v", d.Status, err)
	}
	if _, err := server.Client.CoreV1().ConfigMaps("change").Get(t.Context(), "inline", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the map that the manifests no longer have was not pruned: %v", err)
	}
	if again := s.secret(); again != password || len(password) != 24 || strings.Trim(password, "0123456789abcdef") != "" {
		t.Errorf("the secret was %q and is %q", password, again)
	}
	raw, err := server.Client.Discovery().RESTClient().Get().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ferries.change.naru.test").DoRaw(t.Context())
	if err != nil || !strings.Contains(string(raw), "second") {
		t.Errorf("the definition was not upgraded: %v", err)
	}
	// Something that went missing is put back.
	if err := server.Client.AppsV1().Deployments("change").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := s.plan(); !strings.Contains(got[0], "Deployment") || !strings.Contains(got[0], "is gone") {
		t.Errorf("planned %q", got)
	}
	if r := s.mustDeploy(); r.Changed != 1 {
		t.Errorf("changed %+v", r)
	}
}

// secret is the generated password, the same in the record and in the chart's Secret.
func (s *site) secret() string {
	s.t.Helper()
	kept, err := server.Client.CoreV1().Secrets(stack.Namespace).Get(s.t.Context(), "naru-secrets-"+s.spec.ID, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	used, err := server.Client.CoreV1().Secrets(s.spec.ID).Get(s.t.Context(), "admin", metav1.GetOptions{})
	if err != nil || string(used.Data["password"]) != string(kept.Data["admin"]) {
		s.t.Fatalf("the chart has another password than was kept: %v", err)
	}
	return string(kept.Data["admin"])
}

func TestReasonsAreReadable(t *testing.T) {
	for name, c := range map[string]struct{ image, says string }{
		"pull":  {"quay.io/a/broken:1", "ImagePullBackOff Back-off pulling image \"quay.io/a/broken:1\""},
		"crash": {"quay.io/a/crash:1", "exit code 3 no license"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, &manifest.ComponentSpec{ID: name, Version: "1", Charts: []manifest.Chart{{Name: "app", Version: "1.0.0"}},
				Steps: []manifest.Step{{Name: "app", Chart: "app", Namespace: "reason-" + name, Timeout: "4s"}}})
			s.chart("app", "1.0.0", map[string]string{"templates/web.yaml": deployment("web", c.image)})
			start := time.Now()
			_, err := s.deploy()
			var late *stack.NotReadyError
			if !errors.As(err, &late) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "Deployment reason-"+name+"/web") {
				t.Errorf("got %v", err)
			}
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("a deadline of 4 s passed after %s", took)
			}
			t.Log(err)
		})
	}
	s := newSite(t, &manifest.ComponentSpec{ID: "absent", Version: "1", Steps: []manifest.Step{
		{Name: "m", Inline: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: there, namespace: default}\n", Timeout: "2s", Wait: []manifest.Wait{{Kind: "Thing.nowhere.test", Name: "x", For: "ready"}}}}})
	if _, err := s.deploy(); err == nil || !strings.Contains(err.Error(), "Thing x") {
		t.Errorf("got %v", err)
	}
}

// A custom resource whose definition an operator brings later is waited for.
func TestDefinitionThatComesLater(t *testing.T) {
	s := newSite(t, &manifest.ComponentSpec{ID: "later", Version: "1", Steps: []manifest.Step{
		{Name: "m", Namespace: "later", Inline: "apiVersion: later.naru.test/v1\nkind: Ferry\nmetadata: {name: x}\n", Timeout: "30s", Wait: []manifest.Wait{{Kind: "Ferry.later.naru.test", Name: "x", For: "exists"}}}}})
	operator := newSite(t, &manifest.ComponentSpec{ID: "operator", Version: "1", Steps: []manifest.Step{{Name: "crd", Inline: fmt.Sprintf(crd, "later", "x")}}})
	done := make(chan error, 1)
	go func() { _, err := s.deploy(); done <- err }()
	time.Sleep(time.Second)
	operator.mustDeploy()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A run that was killed inside Helm leaves the release pending; the next one takes it up.
func TestKilledRunIsTakenUp(t *testing.T) {
	s := port(t, "killed")
	s.mustDeploy()
	for _, status := range []release.Status{release.StatusPendingUpgrade, release.StatusPendingInstall, release.StatusFailed} {
		s.setStatus(status)
		if got := s.plan(); !strings.Contains(got[0], string(status)) {
			t.Errorf("planned %q", got)
		}
		if r := s.mustDeploy(); r.Changed != 1 {
			t.Errorf("%s: changed %+v", status, r)
		}
		if r := s.mustDeploy(); r.Changed != 0 {
			t.Errorf("%s: the run after it changed %+v", status, r)
		}
	}
}

// setStatus rewrites the newest revision of the release as Helm keeps it.
func (s *site) setStatus(status release.Status) {
	s.t.Helper()
	d := driver.NewSecrets(server.Client.CoreV1().Secrets(s.spec.ID))
	list, err := d.List(func(*release.Release) bool { return true })
	if err != nil || len(list) == 0 {
		s.t.Fatal(len(list), err)
	}
	last := list[0]
	for _, r := range list {
		if r.Version > last.Version {
			last = r
		}
	}
	last.Info.Status = status
	if err := d.Update(fmt.Sprintf("sh.helm.release.v1.%s.v%d", last.Name, last.Version), last); err != nil {
		s.t.Fatal(err)
	}
}

func TestPlanIsADocument(t *testing.T) {
	s := port(t, "document")
	p, err := s.stack().Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil || !strings.Contains(string(data), `"chart":"app-1.0.0"`) || p.Changes() != 2 {
		t.Errorf("%s %v", data, err)
	}
	if _, err := server.Client.CoreV1().Namespaces().Get(t.Context(), "document", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("planning made a namespace: %v", err)
	}
}

// Helm says of a hook that fails only that it waited; naru says what held it up.
func TestHookThatFailsIsExplained(t *testing.T) {
	s := newSite(t, &manifest.ComponentSpec{ID: "hooked", Version: "1", Charts: []manifest.Chart{{Name: "app", Version: "1.0.0"}},
		Steps: []manifest.Step{{Name: "app", Chart: "app", Namespace: "hooked", Timeout: "4s"}}})
	files := map[string]string{"templates/hook.yaml": strings.ReplaceAll(hook, "quay.io/a/hook:1", "quay.io/a/broken:1"), "templates/web.yaml": deployment("web", "quay.io/a/web:1")}
	s.chart("app", "1.0.0", files)
	_, err := s.deploy()
	var hooked *stack.HookError
	if !errors.As(err, &hooked) || !strings.Contains(err.Error(), "ImagePullBackOff") {
		t.Errorf("got %v", err)
	}
	t.Log(err)
	// Mended, the next run takes it up.
	files["templates/hook.yaml"] = hook
	s.chart("app", "1.0.1", files)
	s.spec.Steps[0].Timeout = "60s"
	if r := s.mustDeploy(); r.Changed != 1 {
		t.Errorf("changed %+v", r)
	}
}

func TestReadyLooksOnce(t *testing.T) {
	s := newSite(t, &manifest.ComponentSpec{ID: "look", Version: "1", Charts: []manifest.Chart{{Name: "app", Version: "1.0.0"}},
		Steps: []manifest.Step{{Name: "app", Chart: "app", Namespace: "look", Timeout: "1s"}}})
	s.chart("app", "1.0.0", map[string]string{"templates/web.yaml": deployment("web", "quay.io/a/broken:1")})
	if _, err := s.deploy(); err == nil {
		t.Error("a broken image became ready")
	}
	st := s.stack()
	p, err := st.Plan(t.Context())
	if err != nil || p.Changes() != 0 {
		t.Fatalf("planned %+v, %v", p, err)
	}
	start := time.Now()
	ok, state, err := st.Ready(t.Context(), p)
	if ok || err != nil || !strings.Contains(state, "Deployment look/web: 0 of 1") || time.Since(start) > time.Second {
		t.Errorf("ready %v, %q, %v after %s", ok, state, err, time.Since(start))
	}
}

// Two components that share a namespace keep each other's labels.
func TestSharedNamespaceKeepsLabels(t *testing.T) {
	for _, id := range []string{"shares-a", "shares-b", "shares-a"} {
		s := newSite(t, &manifest.ComponentSpec{ID: id, Version: "1", Steps: []manifest.Step{
			{Name: "m", Namespace: "shared", NamespaceLabels: map[string]string{"naru.test/" + id: "yes"}, Inline: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + id + "}\n"}}})
		s.mustDeploy()
	}
	ns, err := server.Client.CoreV1().Namespaces().Get(t.Context(), "shared", metav1.GetOptions{})
	if err != nil || ns.Labels["naru.test/shares-a"] != "yes" || ns.Labels["naru.test/shares-b"] != "yes" {
		t.Errorf("labels %v, %v", ns.Labels, err)
	}
}
