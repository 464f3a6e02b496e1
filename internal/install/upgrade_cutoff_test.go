package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/manifest"
)

// program gives the host a program below /usr/local/bin.
func (r rooted) program(t *testing.T, name, text string) {
	t.Helper()
	p := filepath.Join(r.dir, "usr/local/bin", name)
	ok(t, os.MkdirAll(filepath.Dir(p), 0o755))
	ok(t, os.WriteFile(p, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
}

// TestCutOffUpgradeGoesNotBack: a control plane whose kubelet was not replaced yet took
// the older bundle, and kubeadm would have gone back a minor version.
func TestCutOffUpgradeGoesNotBack(t *testing.T) {
	const manifestPath = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	for name, c := range map[string]struct {
		kubelet, api, brought string
		worker                bool
		want                  string // in the finding's mend, "" for none
	}{
		"nothing under way":                 {kubelet: "1.33.4", api: "1.33.4", brought: "1.33.4"},
		"an upgrade":                        {kubelet: "1.33.4", api: "1.33.4", brought: "1.34.1"},
		"cut off, and gone on with":         {kubelet: "1.33.4", api: "1.34.1", brought: "1.34.1"},
		"cut off, and another patch":        {kubelet: "1.33.4", api: "1.34.1", brought: "1.34.2"},
		"cut off, and the older bundle":     {kubelet: "1.33.4", api: "1.34.1", brought: "1.33.4", want: "does not go back"},
		"cut off, and a bundle after next":  {kubelet: "1.33.4", api: "1.34.1", brought: "1.35.0", want: "1.34 first"},
		"a manifest that says nothing":      {kubelet: "1.33.4", api: "", brought: "1.33.4"},
		"a worker has no API server at all": {kubelet: "1.33.4", api: "1.34.1", brought: "1.33.4", worker: true},
	} {
		site, hosts := planes(t, "a", "b")
		on := "a"
		if c.worker {
			on, site.Site.Hosts[1].Roles = "b", []string{manifest.RoleWorker}
		}
		h := hosts[on]
		h.put(t, "/var/lib/kubelet/config.yaml", manifestPath)
		h.program(t, "kubelet", "echo Kubernetes v"+c.kubelet)
		text := "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    image: registry.k8s.io/kube-apiserver:v" + c.api + "\n    imagePullPolicy: IfNotPresent\n"
		if c.api == "" {
			text = "spec: {}\n"
		}
		ok(t, os.WriteFile(filepath.Join(h.dir, manifestPath), []byte(text), 0o600))
		site.Set = &carried.Set{Kubernetes: c.brought}
		found := must(site.otherKubernetes(t.Context()))(t)
		if (len(found) > 0) != (c.want != "") || len(found) > 0 && (found[0].Host != on || !strings.Contains(found[0].Mend, c.want)) {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

// TestKubeadmOutlivesAnInterrupt: on the installer's own host a terminal's interrupt
// reached kubeadm, which ended halfway.
func TestKubeadmOutlivesAnInterrupt(t *testing.T) {
	for name, script := range map[string]string{"upgrade": kubeadmUpgradeScript, "init": kubeadmScript} {
		site, hosts := planes(t, "a")
		h := hosts["a"]
		h.put(t, "/run/naru/input", "/var/lib/naru/x")
		h.program(t, "systemctl", "exit 0")
		h.program(t, "kubeadm", `kill -INT $PPID; kill -INT $$; echo "$@" >`+filepath.Join(h.dir, "ran"))
		args := []string{"node"}
		if name == "init" {
			args = []string{"/run/naru/input", kubeadmMark, "init"}
		}
		if _, err := site.Hosts[0].Script(t.Context(), script, args...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(h.dir, "ran")); err != nil {
			t.Errorf("%s: kubeadm did not come to its end: %v", name, err)
		}
	}
}

// TestRunsOfAHostThatLeavesTwice: what it had handed over the first time was lost.
func TestRunsOfAHostThatLeavesTwice(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	hosts["b"].put(t, journalPath)
	to := filepath.Join(hosts["a"].dir, "/var/lib/naru/runs-b.jsonl")
	for i, c := range []struct{ runs, want string }{{"1\n", "1\n"}, {"1\n", "1\n"}, {"1\n2\n", "1\n2\n"}, {"3\n", "1\n2\n3\n"}, {"3\n", "1\n2\n3\n"}} {
		ok(t, os.WriteFile(filepath.Join(hosts["b"].dir, journalPath), []byte(c.runs), 0o600))
		ok(t, site.keepRuns(t.Context(), site.Hosts[1]))
		if got := string(must(os.ReadFile(to))(t)); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}
