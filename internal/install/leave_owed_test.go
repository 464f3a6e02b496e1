package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/internal/phase"
	"naru/internal/sitepki"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// former is a host that left: what is run there is counted and answered as it stands.
type former struct {
	rooted
	gone   *bool
	resets *int
}

func (f former) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	switch text := strings.Join(c.Argv, " "); {
	case *f.gone:
		return nil, &bootstrap.ConnectError{Host: "w1", Address: "test", Err: errors.New("gone")}
	case strings.Contains(text, "kubeadm reset"):
		*f.resets++
		return &bootstrap.Result{}, nil
	case strings.Contains(text, "containerd-shim"): // the rest of a reset, not on this machine
		return &bootstrap.Result{}, os.RemoveAll(filepath.Join(f.dir, claimPath))
	default:
		return f.rooted.Run(ctx, c)
	}
}

// TestResetIsTriedAgain: a host that left while it was down was reset never: the record of
// how to reach it was replaced at the end of that run.
func TestResetIsTriedAgain(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: a, address: 10.0.0.1, roles: [control-plane]}
  - {name: b, address: 10.0.0.2, roles: [control-plane]}
  - {name: w1, address: 10.0.0.7, roles: [worker]}
`
	c, hosts := planes(t, "a", "b")
	for i, h := range c.Hosts {
		h.Runner = noKube{hosts[c.Site.Hosts[i].Name]}
	}
	w := former{rooted: rooted{dir: t.TempDir()}, gone: new(bool), resets: new(int)}
	hosts["a"].write(t, sitePath, last)
	w.write(t, claimPath, "site\n")
	// run is what the phase does in one run of apply, and tells which of its tasks did not hold.
	run := func() (did []string) {
		t.Helper()
		c.resets = nil
		c.newRunner = func(*manifest.Site, *manifest.SiteHost) (bootstrap.Runner, error) { return w, nil }
		for _, task := range leavePhase().Tasks(c) {
			if done, err := task.Done(t.Context()); err != nil {
				t.Fatal(err)
			} else if !done {
				did = append(did, strings.Fields(task.What)[0])
				ok(t, task.Do(t.Context()))
			}
		}
		hosts["a"].write(t, sitePath, strings.ReplaceAll(last, "  - {name: w1, address: 10.0.0.7, roles: [worker]}\n", ""))
		return did
	}
	owed := func() bool {
		_, err := os.Stat(filepath.Join(hosts["b"].dir, owedPath("w1"))) // another one may be first next time
		return err == nil
	}
	*w.gone = true
	if did := run(); !slices.Equal(did, []string{"take"}) || *w.resets != 0 || !owed() {
		t.Errorf("left while it was down: %v, %d resets, written down %v", did, *w.resets, owed())
	}
	if did := run(); did != nil || !owed() {
		t.Errorf("still down: %v, written down %v", did, owed())
	}
	*w.gone = false
	if did := run(); !slices.Equal(did, []string{"reset"}) || *w.resets != 1 || owed() {
		t.Errorf("back again: %v, %d resets, written down %v", did, *w.resets, owed())
	}
	if did := run(); did != nil || *w.resets != 1 {
		t.Errorf("afterwards: %v, %d resets", did, *w.resets)
	}
	// What has another cluster's mark, or none, is not touched.
	for _, mark := range []string{"other\n", ""} {
		for _, h := range []string{"a", "b"} {
			hosts[h].write(t, owedPath("w1"), last)
		}
		w.write(t, claimPath, mark)
		if did := run(); !slices.Equal(did, []string{"reset"}) || *w.resets != 1 || owed() {
			t.Errorf("marked %q: %v, %d resets, written down %v", mark, did, *w.resets, owed())
		}
	}
	// Neither is a node of another cluster that is called the same.
	hosts["a"].write(t, kubeCAPath, "this one's\n")
	hosts["a"].write(t, owedPath("w1"), last)
	w.write(t, claimPath, "site\n")
	w.write(t, kubeCAPath, "the other's\n")
	if run(); *w.resets != 1 || owed() {
		t.Errorf("in another cluster of the name: %d resets, written down %v", *w.resets, owed())
	}
	hosts["a"].write(t, owedPath("w1"), last)
	w.write(t, kubeCAPath, "this one's\n")
	if run(); *w.resets != 2 || owed() {
		t.Errorf("in this cluster still: %d resets, written down %v", *w.resets, owed())
	}
	*w.resets = 1
	// Neither is a host that has its address in the site.
	hosts["a"].write(t, owedPath("w1"), last)
	w.write(t, claimPath, "site\n")
	c.Site.Hosts[1].Address = "10.0.0.7"
	if run(); *w.resets != 1 || owed() {
		t.Errorf("another host at its address: %d resets, written down %v", *w.resets, owed())
	}
}

// noKube is rooted with a cluster that has no nodes but the site's.
type noKube struct{ rooted }

func (n noKube) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	if strings.HasSuffix(c.Argv[0], "/kubectl") {
		return &bootstrap.Result{Stdout: []byte(`{"items": []}`)}, nil
	}
	return n.rooted.Run(ctx, c)
}

// TestLostNodesLeaveBeforeTheUpgrade: a control plane that died and was taken out of the
// site file, together with a newer bundle, stopped the upgrade, which came first.
func TestLostNodesLeaveBeforeTheUpgrade(t *testing.T) {
	node := func(name, address, ready string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q, "labels": {"node-role.kubernetes.io/control-plane": ""}}, "status": {"conditions": [{"type": "Ready", "status": %q}], "addresses": [{"type": "InternalIP", "address": %q}]}}`, name, ready, address)
	}
	nodes := `{"items": [` + strings.Join([]string{node("a", "10.0.0.1", "True"), node("dead", "10.0.0.8", "Unknown"), node("leaves", "10.0.0.9", "True")}, ",") + `]}`
	mark := true
	c := clusterOf(scripted(func(argv []string) (string, int) {
		switch {
		case slices.Contains(argv, "nodes"):
			return nodes, 0
		case slices.Contains(argv, kubeadmMark) && !mark:
			return "", 1
		case slices.Contains(argv, sitePath):
			return "", 44
		}
		return "", 0
	}), manifest.SiteHost{Name: "a", Address: "10.0.0.1", Roles: []string{manifest.RoleControlPlane}})
	lost, err := c.lost(t.Context())
	if err != nil || len(lost) != 1 || lost[0].name != "dead" || !lost[0].controlPlane {
		t.Errorf("lost: %v, %v", lost, err)
	}
	// The other one stays until others have joined.
	if left, err := c.left(t.Context()); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
	mark = false // before there is a cluster nobody is asked
	if lost, err := c.lost(t.Context()); err != nil || len(lost) != 0 {
		t.Errorf("lost before kubeadm init: %v, %v", lost, err)
	}
	c.Set = &carried.Set{Lock: manifest.NewLock("x"), Kubernetes: "1.33.0"}
	plan := must(phase.NewPlan(Phases(), c, phase.Selection{}))(t)
	at := func(name string) int {
		return slices.IndexFunc(plan.Steps, func(s phase.Step) bool { return s.Name == name })
	}
	upgrade := plan.Steps[at("upgrade")]
	if at("leave-lost") < 0 || !slices.Contains(upgrade.After, "leave-lost") || at("leave") < at("control-plane-join") {
		t.Errorf("the upgrade comes after %v", upgrade.After)
	}
}

// TestMovedHostIsLeftAsItIs: a host that was reset by hand and put into another cluster was
// reset there, when the site file that it was in was applied without it.
func TestMovedHostIsLeftAsItIs(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: a, address: 10.0.0.1, roles: [control-plane]}
  - {name: w1, address: 10.0.0.7, roles: [worker]}
`
	ca := string(must(sitepki.New("kubernetes", []string{"site.test"}, nil))(t).PEM)
	for name, there := range map[string]struct {
		mark, authority string
		resets          int
	}{
		"still ours":                     {"site\n", ca, 1},
		"ours in other words":            {"site\n", "# of the cluster\n" + ca + "\n", 1},
		"not a node yet":                 {"site\n", "", 1},
		"in another cluster":             {"other\n", "the other's\n", 0},
		"in another one called the same": {"site\n", "the other's\n", 0},
		"in none":                        {"", "", 0},
	} {
		c, hosts := planes(t, "a")
		c.Hosts[0].Runner = noKube{hosts["a"]}
		w := former{rooted: rooted{dir: t.TempDir()}, gone: new(bool), resets: new(int)}
		c.newRunner = func(*manifest.Site, *manifest.SiteHost) (bootstrap.Runner, error) { return w, nil }
		for path, text := range map[string]string{
			filepath.Join(hosts["a"].dir, sitePath): last, filepath.Join(hosts["a"].dir, kubeCAPath): ca,
			filepath.Join(w.dir, claimPath): there.mark, filepath.Join(w.dir, kubeCAPath): there.authority,
		} {
			if text != "" {
				ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
				ok(t, os.WriteFile(path, []byte(text), 0o600))
			}
		}
		ok(t, leavePhase().Tasks(c)[0].Do(t.Context()))
		_, err := os.Stat(filepath.Join(hosts["a"].dir, owedPath("w1")))
		if *w.resets != there.resets || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %d resets, written down: %v", name, *w.resets, err)
		}
	}
}

// TestFormerMachineOfTheInstaller: the host that the installer ran on left, and the machine
// that it runs on now, a control plane that stays or a notebook, was reset in its place.
func TestFormerMachineOfTheInstaller(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: gone, address: 192.0.2.9, local: true, roles: [control-plane]}
  - {name: a, address: 10.0.0.1, roles: [control-plane]}
`
	c, hosts := planes(t, "a")
	c.Hosts[0].Runner = noKube{hosts["a"]}
	ok(t, os.MkdirAll(filepath.Join(hosts["a"].dir, bootstrap.StateDir), 0o755))
	ok(t, os.WriteFile(filepath.Join(hosts["a"].dir, sitePath), []byte(last), 0o600))
	here := former{rooted: rooted{dir: t.TempDir()}, gone: new(bool), resets: new(int)}
	here.put(t, claimPath)
	ok(t, os.WriteFile(filepath.Join(here.dir, claimPath), []byte("site\n"), 0o600))
	c.newRunner = func(*manifest.Site, *manifest.SiteHost) (bootstrap.Runner, error) { return here, nil }
	if was, _, err := c.lastKeeper(t.Context()); was != nil || err != nil {
		t.Errorf("this machine is taken for the former first control plane: %v", err)
	}
	for range 2 { // runs
		c.resets = nil
		for _, task := range leavePhase().Tasks(c) {
			if done, err := task.Done(t.Context()); err != nil {
				t.Fatal(err)
			} else if !done {
				ok(t, task.Do(t.Context()))
			}
		}
		ok(t, os.WriteFile(filepath.Join(hosts["a"].dir, sitePath), []byte(strings.ReplaceAll(last, "  - {name: gone, address: 192.0.2.9, local: true, roles: [control-plane]}\n", "")), 0o600))
	}
	if *here.resets != 0 {
		t.Errorf("this machine was reset %d times", *here.resets)
	}
	if _, err := os.Stat(filepath.Join(hosts["a"].dir, owedPath("gone"))); err != nil {
		t.Errorf("that it was not reset is not written down: %v", err)
	}
}

func TestThisMachine(t *testing.T) {
	for _, other := range []string{"192.0.2.9", "127.0.0.1", "::1", "", "x"} {
		if thisMachine(other) {
			t.Errorf("%q is taken for this machine", other)
		}
	}
	for _, a := range must(net.InterfaceAddrs())(t) {
		p := must(netip.ParsePrefix(a.String()))(t)
		if own := p.Addr(); thisMachine(own.String()) == own.IsLoopback() {
			t.Errorf("%s: %v", own, !own.IsLoopback())
		}
	}
}
