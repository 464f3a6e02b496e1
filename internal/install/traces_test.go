package install

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// harmless is rooted without the scripts that work on the whole machine: resets are
// counted instead.
type harmless struct {
	rooted
	resets *int
}

func (h harmless) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	if strings.Contains(strings.Join(c.Argv, " "), "kubeadm reset") {
		*h.resets++
		return &bootstrap.Result{}, nil
	}
	return h.rooted.Run(ctx, c)
}

// kubectl gives the host a kubectl that answers with nodes, or does not.
func (h harmless) kubectl(t *testing.T, nodes, addons string) {
	t.Helper()
	dir := filepath.Join(h.dir, "usr/local/bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := "#!/bin/sh\nexit 1\n"
	if nodes != "" {
		text = "#!/bin/sh\ncase \"$*\" in *nodes*) echo '{\"items\":[" + nodes + "]}';; *coredns*) echo '" + addons + "';; esac\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func node(name, label, ready string) string {
	return `{"metadata":{"name":"` + name + `","labels":{"` + label + `":""}},"status":{"conditions":[{"type":"Ready","status":"` + ready + `"}]}}`
}

// TestMissingMark: a mark that was lost had a live control plane reset.
func TestMissingMark(t *testing.T) {
	const label, admin = "node-role.kubernetes.io/control-plane", "/etc/kubernetes/admin.conf"
	type want int
	const (
		reset  want = iota // reset
		live               // left alone, and marked again
		refuse             // left alone
		bare               // nothing to do
	)
	for name, c := range map[string]struct {
		worker        bool // the traces are on the worker
		nodes, addons string
		first, second []string // files of the first control plane, and of the worker
		want          want
	}{
		"nothing there":                              {want: bare},
		"init was cut off, nothing answers":          {first: []string{admin}, want: reset},
		"init was cut off, it answers":               {first: []string{admin}, nodes: node("a", "x", "False"), want: reset},
		"init was cut off before the add-ons":        {first: []string{admin}, nodes: node("a", label, "False"), addons: "deployment.apps/coredns", want: reset},
		"init came to its end":                       {first: []string{admin}, nodes: node("a", label, "False"), addons: "deployment.apps/coredns daemonset.apps/kube-proxy", want: live},
		"others joined, add-ons were replaced":       {first: []string{admin}, nodes: node("a", label, "True") + "," + node("b", "x", "True"), want: live},
		"a run came to its end":                      {first: []string{admin, appliedPath}, nodes: node("a", label, "True"), want: live},
		"a run came to its end, nothing answers":     {first: []string{admin, appliedPath}, want: refuse},
		"others joined, nothing answers":             {first: []string{admin}, second: []string{kubeadmMark}, want: refuse},
		"a join was cut off":                         {worker: true, second: []string{"/etc/kubernetes/kubelet.conf"}, nodes: node("a", label, "True"), want: reset},
		"a worker that works":                        {worker: true, second: []string{"/etc/kubernetes/kubelet.conf"}, nodes: node("a", label, "True") + "," + node("b", "x", "True"), want: live},
		"a worker before the network":                {worker: true, second: []string{"/etc/kubernetes/kubelet.conf"}, nodes: node("b", "x", "False"), want: live},
		"a worker whose kubelet is not heard of":     {worker: true, second: []string{"/etc/kubernetes/kubelet.conf"}, nodes: node("b", "x", "Unknown"), want: refuse},
		"a worker of a cluster that does not answer": {worker: true, second: []string{"/etc/kubernetes/kubelet.conf"}, want: refuse},
	} {
		site, files := planes(t, "a", "b")
		site.Site.Hosts[1].Roles = []string{manifest.RoleWorker}
		resets := 0
		first, second := harmless{files["a"], &resets}, harmless{files["b"], &resets}
		site.Hosts[0].Runner, site.Hosts[1].Runner = first, forgetful{second}
		first.put(t, c.first...)
		second.put(t, c.second...)
		first.kubectl(t, c.nodes, c.addons)
		site.Hosts[0].Runner = forgetful{first}
		on, at := site.Hosts[0], first
		if c.worker {
			on, at = site.Hosts[1], second
		}
		was, err := site.settle(t.Context(), on, c.worker)
		var alive *LiveHostError
		_, merr := os.Stat(filepath.Join(at.dir, kubeadmMark))
		marked := merr == nil
		got := bare
		switch {
		case errors.As(err, &alive), err != nil && c.nodes == "" && c.worker:
			got = refuse
		case errors.As(err, new(*noEtcdError)): // the node and member of the name are removed first
			got = reset
		case err != nil:
			t.Fatal(name, err)
		case resets > 0:
			got = reset
		case was && marked:
			got = live
		}
		if got != c.want || resets > 0 != (got == reset && !c.worker) {
			t.Errorf("%s: got %d, want %d; %d resets, %v", name, got, c.want, resets, err)
		}
	}
}

// noEtcdError is what forgetful answers where etcd's certificates are read.
type noEtcdError struct{}

func (*noEtcdError) Error() string { return "no etcd in this test" }

// forgetful is a Runner of a host whose etcd cannot be asked.
type forgetful struct{ harmless }

func (f forgetful) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	if strings.Contains(strings.Join(c.Argv, " "), "pki/etcd") {
		return nil, &noEtcdError{}
	}
	return f.harmless.Run(ctx, c)
}

func (forgetful) Listen(ctx context.Context) (net.Listener, error) {
	return bootstrap.NewLocal("").Listen(ctx)
}

func (forgetful) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return bootstrap.NewLocal("").Dial(ctx, network, address)
}
