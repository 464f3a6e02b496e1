package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/internal/sitepki"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// rooted is a Runner whose absolute paths below /var/lib/naru, /etc and the like lie in a
// folder of the test, so that the product's own scripts work on real files.
type rooted struct {
	dir string
	// ran are the scripts, by their first line.
	ran *[]string
}

func (r rooted) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	argv := make([]string, len(c.Argv))
	for i, a := range c.Argv {
		for _, top := range []string{"/var/lib/naru", "/run/naru", "/etc/naru", "/etc/systemd/system", "/etc/kubernetes", "/etc/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/usr/local/bin", "/usr/local/lib/naru", "/etc/haproxy", "/etc/keepalived", "/etc/chrony"} {
			a = strings.ReplaceAll(a, top, r.dir+top)
		}
		argv[i] = a
	}
	if r.ran != nil {
		*r.ran = append(*r.ran, strings.Join(c.Argv, " "))
	}
	c.Argv = argv
	res, err := bootstrap.NewLocal(r.dir).Run(ctx, c)
	if res != nil {
		res.Stdout = []byte(strings.ReplaceAll(string(res.Stdout), r.dir, ""))
	}
	return res, err
}

func (rooted) Close() error { return nil }

// put writes files of a host, whose names are absolute.
func (r rooted) put(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		r.write(t, n, "x\n")
	}
}

// write writes one file of a host, whose name is absolute.
func (r rooted) write(t *testing.T, name, text string) {
	t.Helper()
	p := filepath.Join(r.dir, name)
	ok(t, os.MkdirAll(filepath.Dir(p), 0o755))
	ok(t, os.WriteFile(p, []byte(text), 0o600))
}

// planes is a site of control planes, each with a file system of its own.
func planes(t *testing.T, names ...string) (*Cluster, map[string]rooted) {
	t.Helper()
	c := &Cluster{Site: &manifest.Site{Name: "site", Domain: "site.test"}, Progress: progress.Nop{}}
	for i, n := range names {
		c.Site.Hosts = append(c.Site.Hosts, manifest.SiteHost{Name: n, Address: "10.0.0." + string(rune('1'+i)), Roles: []string{manifest.RoleControlPlane}})
	}
	hosts := map[string]rooted{}
	for i := range c.Site.Hosts {
		r := rooted{dir: t.TempDir(), ran: new([]string)}
		hosts[names[i]] = r
		c.Hosts = append(c.Hosts, &bootstrap.Host{SiteHost: &c.Site.Hosts[i], Runner: r})
	}
	return c, hosts
}

// TestFirstControlPlane: a site file whose first control plane left would have made
// the next one another authority, and a new host in its place a second cluster.
func TestFirstControlPlane(t *testing.T) {
	inCluster := []string{claimPath, kubeadmMark}
	state := []string{caKeyPath, caCertPath}
	for name, c := range map[string]struct {
		files map[string][]string // by host; hosts in the order a, b
		want  string              // in what is found, "" for nothing
		mend  string
	}{
		"nothing yet":                    {},
		"cut off before kubeadm":         {files: map[string][]string{"a": slices.Concat([]string{claimPath}, state)}},
		"as it should be":                {files: map[string][]string{"a": slices.Concat(inCluster, state), "b": inCluster}},
		"a new host first":               {files: map[string][]string{"b": slices.Concat(inCluster, state)}, want: "a cluster of its own", mend: "list b before it"},
		"the other first without state":  {files: map[string][]string{"a": inCluster, "b": slices.Concat(inCluster, state)}, want: "does not hold", mend: "list b before it"},
		"the first is gone, no state":    {files: map[string][]string{"a": inCluster}, want: "does not hold", mend: "restore"},
		"the first is gone, with a copy": {files: map[string][]string{"a": slices.Concat(inCluster, state), "b": slices.Concat(inCluster, state)}},
		"half an authority":              {files: map[string][]string{"a": append([]string{caCertPath}, inCluster...)}, want: "does not hold", mend: "restore"},
		"kubeadm's mark is lost":         {files: map[string][]string{"a": {claimPath}, "b": slices.Concat([]string{claimPath, "/etc/kubernetes/kubelet.conf"}, state)}, want: "a cluster of its own"},
	} {
		site, hosts := planes(t, "a", "b")
		for h, files := range c.files {
			hosts[h].put(t, files...)
		}
		found, err := site.keeperFindings(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		if c.want == "" {
			if len(found) > 0 {
				t.Errorf("%s: found %v", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Host != "a" || !strings.Contains(found[0].What, c.want) || !strings.Contains(found[0].Mend, c.mend) || found[0].Warning {
			t.Errorf("%s: found %v", name, found)
		}
	}
}

// TestEndpointStays: without a vip, another first control plane is another endpoint.
func TestEndpointStays(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: old, address: 10.0.0.9, roles: [control-plane]}
  - {name: a, address: 10.0.0.1, roles: [control-plane]}
`
	for vip, want := range map[string]int{"": 1, "10.0.0.100": 0} {
		site, hosts := planes(t, "a")
		hosts["a"].put(t, claimPath, kubeadmMark, caKeyPath, caCertPath)
		text := last
		if vip != "" {
			text += "endpoint: {vip: " + vip + "}\n"
			site.Site.Endpoint.VIP = vip
		}
		if err := os.WriteFile(filepath.Join(hosts["a"].dir, sitePath), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := site.keeperFindings(t.Context())
		if err != nil || len(found) != want || want == 1 && found[0].Check != "endpoint" {
			t.Errorf("vip %q: found %v, %v", vip, found, err)
		}
	}
}

// TestCopiesOfTheState: what the first control plane keeps lies on the others as well,
// so that one of them is accepted in its place.
func TestCopiesOfTheState(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	a, err := sitepki.New("site", []string{"site.test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	site.setCA(a)
	site.Set = &carried.Set{}
	site.Site.Raw = []byte("the site file\n")
	for _, task := range site.copyTasks(site.Hosts[1]) {
		if done, err := task.Done(t.Context()); err != nil || done {
			t.Fatal(done, err)
		}
		if err := task.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if done, err := task.Done(t.Context()); err != nil || !done {
			t.Fatal(done, err)
		}
	}
	for path, mode := range map[string]os.FileMode{caKeyPath: 0o600, sitePath: 0o600, filepath.Dir(caKeyPath): 0o700 | os.ModeDir} {
		info, err := os.Stat(filepath.Join(hosts["b"].dir, path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	next, _ := planes(t, "b")
	next.Hosts[0].Runner = hosts["b"]
	if holds, err := next.authorityHolds(t.Context()); err != nil || !holds || string(next.ca().PEM) != string(a.PEM) {
		t.Errorf("the next first control plane has another authority: %v, %v", holds, err)
	}
}

// TestLockOfTheFormerFirst: a run with the former site file locks its own first
// control plane; one with the new file may not work beside it.
func TestLockOfTheFormerFirst(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: b, address: 10.0.0.2, roles: [control-plane]}
  - {name: a, address: 10.0.0.1, roles: [control-plane]}
`
	site, hosts := planes(t, "a", "b")
	hosts["a"].put(t, sitePath)
	if err := os.WriteFile(filepath.Join(hosts["a"].dir, sitePath), []byte(last), 0o600); err != nil {
		t.Fatal(err)
	}
	former, _ := planes(t, "b")
	former.Hosts[0].Runner = hosts["b"]
	if err := former.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if err := site.lock(t.Context()); !errors.As(err, &locked) || locked.Host != "b" {
		t.Errorf("locked beside another run: %v", err)
	}
	site.Unlock()
	former.Unlock()
	if err := site.lock(t.Context()); err != nil {
		t.Error(err)
	}
	site.Unlock()
}

// TestResetOfTheSite: the site's lock is taken, and what a reset did is in the journal
// of the machine that did it.
func TestResetOfTheSite(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	site.StateDir = t.TempDir()
	if _, err := sitekey.Load(filepath.Join(site.StateDir, "site")); err != nil {
		t.Fatal(err)
	}
	if err := site.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, _ := planes(t, "a", "b")
	for i := range other.Hosts {
		other.Hosts[i].Runner = hosts[other.Hosts[i].Name]
	}
	var locked *LockedError
	if _, err := other.reset(t.Context(), []string{"a", "b"}); !errors.As(err, &locked) {
		t.Errorf("reset beside another run: %v", err)
	}
	site.Unlock()
	if err := site.recordReset(&ResetResult{Hosts: []string{"a", "b"}, Kept: []Kept{{Host: "a", Paths: []string{"/x"}}}}); err != nil {
		t.Fatal(err)
	}
	entries := journalOf(t, site.StateDir)
	if len(entries) != 1 || entries[0].Event != "install-reset" || !strings.Contains(string(entries[0].Data), `"a"`) {
		t.Errorf("noted %v", entries)
	}
}

// TestHostOutsideOfTheAuthority: a depot that came later, outside of the networks of the
// first hosts, got a certificate that nobody accepts.
func TestHostOutsideOfTheAuthority(t *testing.T) {
	for networks, want := range map[string]int{"": 1, "10.9.0.0/16": 0} {
		first, hosts := planes(t, "a")
		if networks != "" {
			first.Site.PKI.Networks = []string{networks}
		}
		if err := first.keepAuthority(t.Context()); err != nil {
			t.Fatal(err)
		}
		next, _ := planes(t, "a", "far")
		next.Hosts[0].Runner = hosts["a"]
		next.Site.Hosts[1].Address, next.Site.Hosts[1].Roles = "10.9.8.7", []string{manifest.RoleDepot}
		found, err := next.authorityFindings(t.Context())
		if err != nil || len(found) != want || want == 1 && (found[0].Host != "far" || found[0].Warning) {
			t.Errorf("networks %q: found %v, %v", networks, found, err)
		}
		var outside *sitepki.OutsideError
		if _, err := next.depotPair(next.depotNames(next.Hosts[1])); errors.As(err, &outside) != (want == 1) {
			t.Errorf("networks %q: %v", networks, err)
		}
	}
}
