package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/internal/phase"
	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// restarts is rooted without services: starts and restarts of units are counted, and fail
// as long as broken says so, as where the installer is killed before them.
type restarts struct {
	rooted
	broken        *bool
	started, anew map[string]int
}

func (r restarts) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	text := strings.Join(c.Argv, " ")
	switch {
	case strings.Contains(text, "journalctl"), strings.Contains(text, "systemctl is-"), strings.Contains(text, "ip -o addr"):
		return &bootstrap.Result{}, nil
	case strings.Contains(text, "systemctl"):
		if *r.broken {
			return nil, errors.New("cut off")
		}
		unit := c.Argv[len(c.Argv)-2]
		r.started[unit]++
		if c.Argv[len(c.Argv)-1] == "restart" {
			r.anew[unit]++
		}
		return &bootstrap.Result{}, nil
	}
	for i := range c.Argv {
		c.Argv[i] = strings.ReplaceAll(c.Argv[i], "haproxy -q -c -f", "test -s")
	}
	return r.rooted.Run(ctx, c)
}

// TestRestartIsOwed: a run that was killed between the configuration of HAProxy, keepalived
// or chrony and the restart left the old one running, and no later run noticed.
func TestRestartIsOwed(t *testing.T) {
	c, hosts := planes(t, "a", "b")
	c.Site.Endpoint.VIP = "10.0.0.100"
	c.Site.Hosts[0].Roles = append(c.Site.Hosts[0].Roles, manifest.RoleLB)
	c.Set = &carried.Set{Systems: []*manifest.Distribution{{}}}
	c.Components = []*manifest.ComponentSpec{{Packages: []manifest.Packages{{Names: []string{"chrony"}}}}}
	r := restarts{rooted: hosts["a"], broken: new(bool), started: map[string]int{}, anew: map[string]int{}}
	h := c.Hosts[0]
	h.Runner, h.Facts = r, &bootstrap.HostFacts{Interface: "eth0"}
	for unit, task := range map[string]phase.Task{"haproxy.service": c.haproxyTask(h), "keepalived.service": c.keepalivedTask(h), "chrony.service": c.chronyTasks(h)[0]} {
		holds := func(when string, want bool) {
			t.Helper()
			if done, err := task.Done(t.Context()); err != nil || done != want {
				t.Errorf("%s, %s: holds %v, %v, want %v", unit, when, done, err, want)
			}
		}
		holds("before", false)
		*r.broken = true
		if err := task.Do(t.Context()); err == nil {
			t.Errorf("%s: a restart that was cut off is no error", unit)
		}
		holds("cut off before the restart", false)
		*r.broken = false
		ok(t, task.Do(t.Context()))
		holds("done", true)
		if r.anew[unit] != 1 {
			t.Errorf("%s was started anew %d times", unit, r.anew[unit])
		}
		ok(t, task.Do(t.Context())) // as where it turned out not to run
		if r.anew[unit] != 1 || r.started[unit] != 2 {
			t.Errorf("%s was started %d times, %d of them anew", unit, r.started[unit], r.anew[unit])
		}
		// A reboot takes the mark away, and was a restart.
		ok(t, os.WriteFile(filepath.Join(hosts["a"].dir, staleMark(unit)), nil, 0o600))
		holds("marked", false)
		ok(t, os.RemoveAll(filepath.Join(hosts["a"].dir, "/run/naru")))
		holds("rebooted", true)
	}
}

// notes is an observer that keeps what it is told.
type notes struct {
	progress.Nop
	told *[]string
}

func (n notes) Note(text string) { *n.told = append(*n.told, text) }

// TestOthersConfigurationIsKept: what was the host's own before naru's can be had again, and
// is told of.
func TestOthersConfigurationIsKept(t *testing.T) {
	c, hosts := planes(t, "a")
	var told []string
	c.Progress = notes{told: &told}
	c.Site.Hosts[0].Roles = append(c.Site.Hosts[0].Roles, manifest.RoleLB)
	h := c.Hosts[0]
	h.Runner = restarts{rooted: hosts["a"], broken: new(bool), started: map[string]int{}, anew: map[string]int{}}
	hosts["a"].write(t, "/etc/haproxy/haproxy.cfg", "frontend theirs\n")
	ok(t, c.haproxyTask(h).Do(t.Context()))
	const kept = "/etc/haproxy/haproxy.cfg.before-naru"
	if data := must(os.ReadFile(filepath.Join(hosts["a"].dir, kept)))(t); string(data) != "frontend theirs\n" {
		t.Errorf("kept: %q", data)
	}
	if len(told) != 1 || !strings.Contains(told[0], kept) {
		t.Errorf("told: %q", told)
	}
}
