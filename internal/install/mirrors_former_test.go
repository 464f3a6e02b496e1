package install

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"naru/internal/carried"
	"naru/internal/phase"
	"naru/internal/sitepki"
	"naru/manifest"
	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
)

// etcOf lists the files below /etc of a host.
func etcOf(t *testing.T, host rooted) (names []string) {
	t.Helper()
	ok(t, filepath.WalkDir(filepath.Join(host.dir, "etc"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, host.dir))
		}
		return err
	}))
	return names
}

// TestForgetHarbor: a site that has no Harbor any more asks the depot alone, and nothing of
// naru's speaks of Harbor on its nodes; what others put there stays.
func TestForgetHarbor(t *testing.T) {
	c, hosts := planes(t, "a")
	c.Set = &carried.Set{Lock: manifest.NewLock("")}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	ok(t, os.WriteFile(ca, must(sitepki.New("harbor", []string{"corp.test"}, nil))(t).PEM, 0o600))
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborExternal, Host: "harbor.corp.test", Port: 8443, CAFile: ca}
	login := &RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull, User: "robot$naru-site-pull-1", Secret: "planted"}
	files := must(c.mirrorFiles(map[string]string{"docker.io": "docker.io", "localhost:5000": "localhost_5000"}, login))(t)
	must(c.Hosts[0].Ensure(t.Context(), files))(t)
	const theirs = "/etc/containerd/certs.d/registry.corp.test/hosts.toml"
	hosts["a"].put(t, theirs)
	// A copy has the login in it as well: it goes, and not the folder that its name begins with.
	const spaced = "/etc/containerd/certs.d/_default copy/hosts.toml"
	hosts["a"].put(t, spaced)
	ok(t, os.WriteFile(filepath.Join(hosts["a"].dir, spaced), []byte(certsd.Mark+"\n"), 0o600))

	task := c.depotMirrorTask(c.Hosts[0])
	ok(t, task.Do(t.Context()))
	if done := must(task.Done(t.Context()))(t); !done || len(etcOf(t, hosts["a"])) != 7 {
		t.Fatalf("with a Harbor: %v, %q", done, etcOf(t, hosts["a"]))
	}
	c.Site.Harbor.Mode = manifest.HarborNone
	for _, want := range []bool{false, true} {
		if done := must(task.Done(t.Context()))(t); done != want {
			t.Errorf("done: %v, want %v", done, want)
		}
		ok(t, task.Do(t.Context()))
		if names := etcOf(t, hosts["a"]); !slices.Equal(names, []string{"/etc/containerd/certs.d/_default/hosts.toml", theirs}) {
			t.Errorf("left: %q", names)
		}
	}
}

// TestHarborUnderAnotherName: what a node had of the Harbor before goes, when it was seen
// to reach the new one.
func TestHarborUnderAnotherName(t *testing.T) {
	c, hosts := planes(t, "a")
	c.Set = &carried.Set{Lock: manifest.NewLock("")}
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborExternal, Host: "old.corp.test", Port: 443}
	login := RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull, User: "robot$naru-site-pull-1", Secret: "planted"}
	must(c.Hosts[0].Ensure(t.Context(), must(c.mirrorFiles(map[string]string{"docker.io": "docker.io"}, &login))(t)))(t)
	hosts["a"].put(t, harborCAFile)
	c.Site.Harbor.Host = "new.corp.test"
	login.Harbor = c.harborURL()
	ok(t, c.robotLogins().Keep(t.Context(), login))
	m := &mirrors{c: c}
	wanted, _, err := m.wanted(t.Context())
	ok(t, err)
	must(c.Hosts[0].Ensure(t.Context(), wanted))(t)
	if held := must(m.hold(t.Context(), c.Hosts[0]))(t); held {
		t.Error("with the files of the Harbor before: all is said to be done")
	}
	ok(t, forgetHarbor(t.Context(), c.Hosts[0], must(formerHarbor(t.Context(), c.Hosts[0], wanted))(t)))
	if held := must(m.hold(t.Context(), c.Hosts[0]))(t); !held {
		t.Errorf("afterwards: %q", etcOf(t, hosts["a"]))
	}
	const at = "/etc/containerd/certs.d/"
	if names := etcOf(t, hosts["a"]); !slices.Equal(names, []string{at + "docker.io/hosts.toml", at + "new.corp.test/hosts.toml"}) {
		t.Errorf("left: %q", names)
	}
}

// TestCoreDNSForgetsHarbor: the name is taken away where the site has no Harbor, and where
// its own DNS knows the name now.
func TestCoreDNSForgetsHarbor(t *testing.T) {
	const theirs = ".:53 {\n    errors\n}\n"
	block := namesBlock("harbor.k8s.test", "10.0.0.14")
	client := fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "coredns"}, Data: map[string]string{corefileKey: theirs}})
	for _, want := range []string{block, ""} {
		if held := must(namesHold(t.Context(), client, want))(t); held {
			t.Errorf("before %q", want)
		}
		ok(t, putNames(t.Context(), client, want))
		if held := must(namesHold(t.Context(), client, want))(t); !held {
			t.Errorf("after %q", want)
		}
		if _, file, err := corefile(t.Context(), client); err != nil || file != theirs+want {
			t.Errorf("Corefile %q, %v", file, err)
		}
	}
	const forget = "name Harbor inside the cluster no longer"
	for name, s := range map[string]struct{ site, phase, want string }{
		"none":             {balanced + "harbor: {mode: none}\n", "nodes", forget},
		"external, by DNS": {balanced + strings.Replace(outsideOne, " address: 10.9.0.5,", "", 1), "harbor", forget},
		"external":         {balanced + outsideOne, "harbor", "name Harbor inside the cluster"},
	} {
		plan := must(phase.NewPlan(Phases(), harborSite(t, s.site, false), phase.Selection{Only: []string{s.phase}}))(t)
		for _, step := range plan.Steps {
			found := slices.ContainsFunc(step.Tasks, func(task phase.Task) bool { return task.What == s.want })
			if found != (step.Name == s.phase) && (found || step.Name == s.phase) {
				t.Errorf("%s: phase %s has %q: %v", name, step.Name, s.want, found)
			}
		}
	}
}
