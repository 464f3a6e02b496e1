package install

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"naru/internal/carried"
	"naru/internal/phase"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/harbor"
	"naru/pkg/mirror/push"
)

// harborSite is a cluster by a site file, of a bundle with or without Harbor.
func harborSite(t *testing.T, text string, carriesHarbor bool) *Cluster {
	t.Helper()
	site := must(manifest.DecodeSite("site.yaml", []byte("apiVersion: naru/v1\nkind: Site\nname: a\ndomain: k8s.test\n"+text)))(t)
	c := &Cluster{Site: site, Set: &carried.Set{Lock: manifest.NewLock("")}, Progress: progress.Nop{}, StateDir: t.TempDir()}
	for i := range site.Hosts {
		c.Hosts = append(c.Hosts, &bootstrap.Host{SiteHost: &site.Hosts[i], Runner: bootstrap.NewLocal(site.Hosts[i].Name)})
	}
	if carriesHarbor {
		c.Components = []*manifest.ComponentSpec{{ID: harborID, Version: "2.14.4", Steps: []manifest.Step{{Name: "harbor", Chart: "harbor", Namespace: "harbor"}}}}
	}
	return c
}

const (
	oneHost    = "hosts: [{name: cp1, address: 10.0.0.11, roles: [control-plane, worker]}]\n"
	balanced   = "hosts: [{name: cp1, address: 10.0.0.11, roles: [control-plane]}, {name: lb1, address: 10.0.0.14, roles: [lb]}]\n"
	outsideOne = "harbor: {mode: external, host: harbor.corp.test, port: 8443, address: 10.9.0.5, user: admin, password: {env: X}}\n"
)

// TestWhereHarborIs: which address and URL stand for it, and what HAProxy passes on.
func TestWhereHarborIs(t *testing.T) {
	for name, c := range map[string]struct {
		site           string
		carried        bool
		url, address   string
		backends       int
		skipped, plans string
	}{
		"in-cluster":            {balanced, true, "https://harbor.k8s.test", "10.0.0.14", 1, "", "deploy harbor 2.14.4"},
		"in-cluster, one host":  {oneHost, true, "https://harbor.k8s.test:30003", "10.0.0.11", 1, "", "give Trivy"},
		"none":                  {balanced + "harbor: {mode: none}\n", true, "https://harbor.k8s.test", "", 0, "harbor.mode: none", ""},
		"not carried":           {balanced, false, "https://harbor.k8s.test", "", 0, "carries no Harbor", ""},
		"external":              {balanced + outsideOne, false, "https://harbor.corp.test:8443", "10.0.0.14", 1, "", "wait until Harbor is well"},
		"external, no balancer": {oneHost + outsideOne, true, "https://harbor.corp.test:8443", "10.9.0.5", 1, "", "name Harbor"},
		"external, by DNS":      {balanced + strings.Replace(outsideOne, " address: 10.9.0.5,", "", 1), false, "https://harbor.corp.test:8443", "", 0, "", "set up Harbor"},
	} {
		t.Run(name, func(t *testing.T) {
			w := harborSite(t, c.site, c.carried)
			backends := 0
			for _, f := range w.harborFrontend() {
				backends += len(f.Backends)
			}
			if w.harborURL() != c.url || w.harborAddress() != c.address || backends != c.backends {
				t.Errorf("%s at %q, %d backends; want %s at %q, %d", w.harborURL(), w.harborAddress(), backends, c.url, c.address, c.backends)
			}
			plan := must(phase.NewPlan(Phases(), w, phase.Selection{Only: []string{"harbor", "seed", "switch-mirrors"}}))(t)
			for _, step := range plan.Steps {
				if !slices.Contains([]string{"harbor", "seed", "switch-mirrors"}, step.Name) {
					continue
				}
				if (step.Skipped == "") != (c.skipped == "") || !strings.Contains(step.Skipped, c.skipped) {
					t.Errorf("%s is skipped for %q", step.Name, step.Skipped)
				}
				if step.Name == "harbor" && c.plans != "" && !slices.ContainsFunc(step.Tasks, func(task phase.Task) bool { return strings.HasPrefix(task.What, c.plans) }) {
					t.Errorf("the plan has no %q: %+v", c.plans, step.Tasks)
				}
			}
		})
	}
}

// TestHarborComesBeforeTheStack: the components are pulled from it.
func TestHarborComesBeforeTheStack(t *testing.T) {
	var names []string
	for _, p := range Phases() {
		names = append(names, p.Name)
	}
	at := slices.Index(names, "harbor")
	if want := []string{"storage", "harbor", "seed", "switch-mirrors", "stack"}; !slices.Equal(names[at-1:at+4], want) {
		t.Errorf("phases are %v", names)
	}
}

// TestTrivyLogin: the secret is made, pods older than it start again, and a new robot's
// login takes the place of the old one.
func TestTrivyLogin(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "harbor-trivy-0", Namespace: "harbor", Labels: map[string]string{"component": "trivy"}, CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour)),
	}}
	client := fake.NewClientset(pod)
	l := &RobotLogin{User: "robot$naru-pull-1", Secret: "planted"}
	if held, err := trivyHolds(t.Context(), client, "harbor", l); held || err != nil {
		t.Errorf("without a secret: %v, %v", held, err)
	}
	ok(t, giveTrivy(t.Context(), client, "harbor", l))
	kept := must(client.CoreV1().Secrets("harbor").Get(t.Context(), trivySecret, metav1.GetOptions{}))(t)
	if string(kept.Data["username"]) != l.User || string(kept.Data["password"]) != l.Secret {
		t.Errorf("secret %v", kept.Data)
	}
	// The API server dates it; the pod is older then.
	kept.CreationTimestamp = metav1.Now()
	must(client.CoreV1().Secrets("harbor").Update(t.Context(), kept, metav1.UpdateOptions{}))(t)
	if held, err := trivyHolds(t.Context(), client, "harbor", l); held || err != nil {
		t.Errorf("with a pod that is older: %v, %v", held, err)
	}
	ok(t, giveTrivy(t.Context(), client, "harbor", l))
	if pods := must(client.CoreV1().Pods("harbor").List(t.Context(), metav1.ListOptions{}))(t); len(pods.Items) != 0 {
		t.Errorf("the pod was not started again")
	}
	if held, err := trivyHolds(t.Context(), client, "harbor", l); !held || err != nil {
		t.Errorf("afterwards: %v, %v", held, err)
	}
	next := &RobotLogin{User: "robot$naru-pull-2", Secret: "planted too"}
	ok(t, giveTrivy(t.Context(), client, "harbor", next))
	if held, err := trivyHolds(t.Context(), client, "harbor", next); !held || err != nil {
		t.Errorf("a new robot: %v, %v", held, err)
	}
}

func TestMirrorFiles(t *testing.T) {
	c := harborSite(t, balanced+outsideOne, false)
	c.Set.Lock.Images = []manifest.LockedImage{{Ref: "docker.io/library/a:1"}, {Ref: "localhost:5000/b:1"}}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	ok(t, os.WriteFile(ca, []byte("no certificate"), 0o600))
	c.Site.Harbor.CAFile = ca
	l := &RobotLogin{Harbor: c.harborURL(), User: "robot$naru-pull-1", Secret: "planted"}
	if _, err := c.mirrorFiles(map[string]string{"docker.io": "docker.io"}, l); !errors.Is(err, harbor.ErrNoCertificate) {
		t.Errorf("an authority that is none: %v", err)
	}
	c.Site.Harbor.CAFile = ""
	files := must(c.mirrorFiles(map[string]string{"docker.io": "docker.io", "localhost:5000": "localhost_5000"}, l))(t)
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
		if f.Mode != "0600" || bytes.Contains(f.Content, []byte(l.Secret)) {
			t.Errorf("%s: mode %s", f.Path, f.Mode)
		}
	}
	slices.Sort(paths)
	const at = "/etc/containerd/certs.d/"
	if want := []string{at + "docker.io/hosts.toml", at + "harbor.corp.test_8443_/hosts.toml", at + "localhost_5000_/hosts.toml"}; !slices.Equal(paths, want) {
		t.Errorf("files %v", paths)
	}
}

// TestHarborFindings: what would take Harbor away from the nodes is found before anything
// is changed.
func TestHarborFindings(t *testing.T) {
	c, hosts := planes(t, "a")
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborInCluster, Host: "harbor.site.test", Port: 443}
	c.Set = &carried.Set{}
	look := func(want string) {
		t.Helper()
		found := must(c.harborFindings(t.Context()))(t)
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), want)) {
			t.Errorf("found %v, want %q", found, want)
		}
	}
	look("")
	ok(t, c.robotLogins().Keep(t.Context(), RobotLogin{Harbor: "https://elsewhere.test", Role: harbor.RolePull}))
	look("")
	ok(t, c.robotLogins().Keep(t.Context(), RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull}))
	look("") // what a reset left
	hosts["a"].put(t, bootstrap.KubeConfig)
	look("the bundle carries none")
	c.Site.Components.Without = []string{harborID}
	look("")
	c.Site.Components.Without = nil
	c.Components = []*manifest.ComponentSpec{{ID: harborID}}
	look("")
	c.Site.Endpoint.VIP = "10.0.0.100"
	look("")
	c.Site.Harbor.Port = manifest.SharedAPIPort
	look("port 8443 for both kube-api and harbor")
}

// gone is a Runner of a host that is off.
type gone struct{ rooted }

func (gone) Run(context.Context, bootstrap.Command) (*bootstrap.Result, error) {
	return nil, &bootstrap.ConnectError{Host: "b", Err: os.ErrDeadlineExceeded}
}

// TestHandOutWithANodeThatIsOff: the new login comes to those that have an older one, and
// the robot is not taken back: they would hold the login of one that is no more.
func TestHandOutWithANodeThatIsOff(t *testing.T) {
	c, hosts := planes(t, "a", "b", "c")
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborExternal, Host: "harbor.corp.test", Port: 443}
	c.Hosts[1].Runner = gone{hosts["b"]}
	old := &RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull, User: "robot$naru-pull-1", Secret: "old"}
	for _, f := range must(c.mirrorFiles(map[string]string{"ghcr.io": "ghcr.io"}, old))(t) {
		ok(t, c.Hosts[0].Put(t.Context(), f))
	}
	next := RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull, User: "robot$naru-pull-2", Secret: "new"}
	ok(t, c.handOut(t.Context(), next))
	text := string(must(os.ReadFile(filepath.Join(hosts["a"].dir, "etc/containerd/certs.d/ghcr.io/hosts.toml")))(t))
	if !strings.Contains(text, basic(next)) {
		t.Errorf("a node that asks Harbor has\n%s", text)
	}
	if have := must(steadyOn(t.Context(), c.Hosts[2]))(t); len(have) > 0 {
		t.Errorf("a node that asks the depot alone was made to ask Harbor: %v", have)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.handOut(ctx, next); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
}

// TestComparedCountsWhatTheSiteKeySigned: a comparison that somebody edited, of another
// Harbor, or that came out uneven does not spare the next seeding.
func TestComparedCountsWhatTheSiteKeySigned(t *testing.T) {
	c := harborSite(t, balanced+outsideOne, false)
	if even, err := c.compared(); even || err != nil {
		t.Errorf("without a report: %v, %v", even, err)
	}
	key := must(sitekey.Load(filepath.Join(c.StateDir, "site")))(t)
	write := func(name string, r SeedReport) string {
		path := filepath.Join(c.StateDir, "reports", name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
		ok(t, key.WriteSigned(path, r))
		return path
	}
	write("seed-1.json", SeedReport{Harbor: "https://elsewhere.test", Bundles: []digest.Digest{}})
	write("seed-2.json", SeedReport{Harbor: c.harborURL(), Bundles: []digest.Digest{}, Lock: []LockLine{{Name: "a", State: LockAbsent}}})
	if even, err := c.compared(); even || err != nil {
		t.Errorf("another Harbor, and an uneven one: %v, %v", even, err)
	}
	path := write("seed-3.json", SeedReport{Harbor: c.harborURL(), Bundles: []digest.Digest{}})
	if even, err := c.compared(); !even || err != nil {
		t.Errorf("an even one: %v, %v", even, err)
	}
	data := must(os.ReadFile(path))(t)
	write("seed-4.json", SeedReport{Harbor: c.harborURL(), Bundles: []digest.Digest{}, Findings: []push.Finding{{Kind: push.FindingBlob, Ref: "a"}}})
	if even, err := c.compared(); even || err != nil {
		t.Errorf("an even one before an uneven one: %v, %v", even, err)
	}
	ok(t, os.Remove(filepath.Join(c.StateDir, "reports", "seed-4.json")))
	ok(t, os.WriteFile(path, append(data, ' '), 0o600))
	if even, err := c.compared(); even || err != nil {
		t.Errorf("an edited one: %v, %v", even, err)
	}
}

// TestComparedInPart: what was compared of chosen artifacts alone, or left tags movable,
// does not spare the seeding.
func TestComparedInPart(t *testing.T) {
	c := harborSite(t, balanced+outsideOne, false)
	key := must(sitekey.Load(filepath.Join(c.StateDir, "site")))(t)
	ok(t, os.MkdirAll(filepath.Join(c.StateDir, "reports"), 0o700))
	all := SeedReport{
		Harbor: c.harborURL(), Bundles: []digest.Digest{}, Projects: []string{"docker.io", "naru"}, Immutable: []string{"docker.io", "naru"},
		Lock: []LockLine{{Kind: "image", Name: "a", State: LockHeld}, {Kind: "packages", Name: "debian/b", State: LockLeftOut}},
	}
	chosen, movable := all, all
	chosen.Lock = append(slices.Clone(all.Lock), LockLine{Kind: "image", Name: "c", State: LockLeftOut})
	movable.Immutable = []string{"docker.io"}
	for _, tt := range []struct {
		name string
		r    SeedReport
		even bool
	}{{"chosen artifacts", chosen, false}, {"movable tags", movable, false}, {"all", all, true}} {
		ok(t, key.WriteSigned(filepath.Join(c.StateDir, "reports", "seed-1.json"), tt.r))
		if even, err := c.compared(); even != tt.even || err != nil {
			t.Errorf("%s: %v, %v", tt.name, even, err)
		}
	}
}

// TestStorageComesBeforeHarbor: also where Harbor requires none by name, as it works with
// any.
func TestStorageComesBeforeHarbor(t *testing.T) {
	c := harborSite(t, balanced+"storage: {class: ceph-block}\n", true)
	step := []manifest.Step{{Name: "x"}}
	c.Components = append(c.Components,
		&manifest.ComponentSpec{ID: "snapshots", Steps: step},
		&manifest.ComponentSpec{ID: "ceph", Steps: step, Requires: []string{"snapshots"}, StorageClasses: []string{"ceph-block"}},
		&manifest.ComponentSpec{ID: "nfs", Steps: step, StorageClasses: []string{"nfs"}})
	var ids []string
	for _, s := range c.storageComponents() {
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []string{"snapshots", "ceph"}) {
		t.Errorf("storage is %v", ids)
	}
	c.Site.Harbor.Mode = manifest.HarborNone
	if list := c.storageComponents(); len(list) != 0 {
		t.Errorf("without a Harbor: %v", list)
	}
}
