package install

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"testing"

	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// scripted is a Runner whose commands are answered by a function.
type scripted func(argv []string) (string, int)

func (s scripted) Run(_ context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	out, code := s(c.Argv)
	r := &bootstrap.Result{Stdout: []byte(out)}
	if code != 0 {
		return r, &bootstrap.ExitError{Host: "test", Argv: c.Argv, Code: code}
	}
	return r, nil
}

func (scripted) Close() error { return nil }

// here runs commands on this machine as whoever runs the test.
func here(argv []string) (string, int) {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// clusterOf is a site of local hosts, all reached through r.
func clusterOf(r bootstrap.Runner, hosts ...manifest.SiteHost) *Cluster {
	c := &Cluster{Site: &manifest.Site{Name: "site", Domain: "site.test", Hosts: hosts}, Progress: progress.Nop{}}
	for i := range c.Site.Hosts {
		c.Hosts = append(c.Hosts, &bootstrap.Host{SiteHost: &c.Site.Hosts[i], Runner: r})
	}
	return c
}

// TestRenamedHostIsNotTakenOut: a host with a new name in the site file would have
// been drained, thrown out of etcd and reset, with all it keeps.
func TestRenamedHostIsNotTakenOut(t *testing.T) {
	const last = `apiVersion: naru/v1
kind: Site
name: site
domain: site.test
hosts:
  - {name: cp1, address: 10.0.0.1, local: true, roles: [control-plane]}
  - {name: w1, address: 10.0.0.2, roles: [worker]}
`
	const nodes = `{"items": [
{"metadata": {"name": "cp1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}},
{"metadata": {"name": "w1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}}]}`
	for _, kept := range []string{last, ""} { // a site without a file keeps none
		run := scripted(func(argv []string) (string, int) {
			switch {
			case slices.Contains(argv, "nodes"):
				return nodes, 0
			case slices.Contains(argv, sitePath) && kept == "":
				return "", 44
			default:
				return kept, 0
			}
		})
		control := []string{manifest.RoleControlPlane}
		c := clusterOf(run, manifest.SiteHost{Name: "first", Address: "10.0.0.1", Roles: control})
		var renamed *RenamedError
		if left, err := c.left(t.Context()); !errors.As(err, &renamed) || renamed.Was != "cp1" || renamed.Is != "first" {
			t.Errorf("would take out %v, %v", left, err)
		}
		found, err := c.renamed(t.Context())
		if err != nil || len(found) != min(len(kept), 1) {
			t.Errorf("preflight finds %v, %v", found, err)
		}
		// A host that is gone altogether still leaves.
		c = clusterOf(run, manifest.SiteHost{Name: "cp1", Address: "10.0.0.1", Roles: control})
		if left, err := c.left(t.Context()); err != nil || len(left) != 1 || left[0].name != "w1" {
			t.Errorf("would take out %v, %v", left, err)
		}
		if found, err := c.renamed(t.Context()); err != nil || len(found) != 0 {
			t.Errorf("preflight finds %v, %v", found, err)
		}
	}
}
