package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/internal/sitekey"
	"naru/pkg/bootstrap"
)

// unreset is rooted of which nothing but the lock and files is touched: a reset works on
// the whole machine. It fails where fails says so.
type unreset struct {
	rooted
	fails bool
	did   *bool // that a reset was asked for
}

func (u unreset) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	script := strings.Join(c.Argv, " ")
	switch {
	case strings.Contains(script, "apply.lock"), strings.Contains(script, "exec cat"), strings.Contains(script, "kubelet.conf /etc"):
		return u.rooted.Run(ctx, c)
	case u.fails:
		return nil, errors.New("gone")
	}
	*u.did = true
	return &bootstrap.Result{}, nil
}

// TestResetOfSomeHosts: where one host could not be reset, the journal had none of them.
func TestResetOfSomeHosts(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	site.StateDir = t.TempDir()
	_ = must(sitekey.Load(filepath.Join(site.StateDir, "site")))(t)
	for i, h := range site.Hosts {
		hosts[h.Name].write(t, claimPath, "site\n")
		h.Runner = unreset{hosts[h.Name], i == 1, new(bool)}
	}
	r, err := site.reset(t.Context(), []string{"a", "b"})
	if err == nil || len(r.Hosts) != 1 || r.Hosts[0] != "a" {
		t.Errorf("%+v, %v", r, err)
	}
	entries := journalOf(t, site.StateDir)
	if len(entries) != 1 || strings.Contains(string(entries[0].Data), `"b"`) || !strings.Contains(string(entries[0].Data), `"a"`) {
		t.Errorf("noted %v", entries)
	}
}

// TestResetOfOthersHosts: a reset took everything off whatever machine answered at the
// address of the site file, another cluster's too.
func TestResetOfOthersHosts(t *testing.T) {
	const node = "/var/lib/kubelet/config.yaml"
	for name, c := range map[string]struct {
		files map[string]string // of the second host; the first is the site's
		left  bool              // as it is
		why   string            // it stops the reset, "" where it does not
	}{
		"the site's":                    {files: map[string]string{claimPath: "site\n", kubeCAPath: "this one's\n", node: ""}},
		"the site's, reset halfway":     {files: map[string]string{claimPath: "site\n"}},
		"another cluster's":             {files: map[string]string{claimPath: "other\n"}, why: `cluster "other"`},
		"another cluster's of the name": {files: map[string]string{claimPath: "site\n", kubeCAPath: "the other's\n"}, why: `another cluster that is called "site" too`},
		"a node that naru did not make": {files: map[string]string{node: ""}, why: node},
		"a node with an empty mark":     {files: map[string]string{claimPath: "", node: ""}, why: node},
		"nobody's":                      {left: true},
		"nobody's, with other files":    {files: map[string]string{"/etc/haproxy/haproxy.cfg": "theirs\n"}, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			site, hosts := planes(t, "a", "b")
			site.StateDir = t.TempDir()
			hosts["a"].write(t, claimPath, "site\n")
			hosts["a"].write(t, kubeCAPath, "this one's\n")
			for file, text := range c.files {
				hosts["b"].write(t, file, text)
			}
			did := map[string]*bool{"a": new(bool), "b": new(bool)}
			for _, h := range site.Hosts {
				h.Runner = unreset{hosts[h.Name], false, did[h.Name]}
			}
			r, err := site.reset(t.Context(), []string{"a", "b"})
			var other *NotOursError
			switch {
			case c.why != "":
				if !errors.As(err, &other) || other.Host != "b" || !strings.Contains(err.Error(), c.why) || r != nil {
					t.Errorf("%+v, %v", r, err)
				}
			case err != nil:
				t.Error(err)
			case c.left != slices.Equal(r.Left, []string{"b"}) || c.left == slices.Contains(r.Hosts, "b") || !slices.Contains(r.Hosts, "a"):
				t.Errorf("%+v", r)
			}
			for _, h := range []string{"a", "b"} {
				if *did[h] != (err == nil && (h == "a" || !c.left)) {
					t.Errorf("%s was reset: %v", h, *did[h])
				}
			}
		})
	}
}

// blinking is a Runner that cannot be reached the first times that it is used.
type blinking struct {
	bootstrap.Runner
	times *int
}

func (b blinking) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	if *b.times > 0 {
		*b.times--
		return nil, &bootstrap.ConnectError{Host: "b", Err: errors.New("no route")}
	}
	return b.Runner.Run(ctx, c)
}

// TestResetOfUnseenHosts: a host that could not be reached when it was looked whose it is,
// and could a moment later, was reset whosever it was.
func TestResetOfUnseenHosts(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	site.StateDir = t.TempDir()
	hosts["a"].write(t, claimPath, "site\n")
	hosts["a"].write(t, kubeCAPath, "this one's\n")
	hosts["b"].write(t, claimPath, "other\n")
	times, did := 1, map[string]*bool{"a": new(bool), "b": new(bool)}
	for _, h := range site.Hosts {
		h.Runner = unreset{hosts[h.Name], false, did[h.Name]}
	}
	site.Hosts[1].Runner = blinking{site.Hosts[1].Runner, &times}
	r, err := site.reset(t.Context(), []string{"a", "b"})
	if !errors.As(err, new(*bootstrap.ConnectError)) || r == nil || !slices.Equal(r.Hosts, []string{"a"}) || !*did["a"] || *did["b"] {
		t.Errorf("%+v, %v; a was reset: %v, b: %v", r, err, *did["a"], *did["b"])
	}
}

// TestResetWithoutTheFirst: while the first control plane was down, or was reset already, a
// node of another cluster of the same name was taken for the site's.
func TestResetWithoutTheFirst(t *testing.T) {
	for name, down := range map[string]int{"down": 1 << 20, "reset": 0} {
		t.Run(name, func(t *testing.T) {
			site, hosts := planes(t, "a", "b", "c")
			site.StateDir = t.TempDir()
			for h, ca := range map[string]string{"b": "this one's\n", "c": "the other's\n"} {
				hosts[h].write(t, claimPath, "site\n")
				hosts[h].write(t, kubeCAPath, ca)
			}
			did := new(bool)
			for _, h := range site.Hosts {
				h.Runner = unreset{hosts[h.Name], false, did}
			}
			site.Hosts[0].Runner = blinking{site.Hosts[0].Runner, &down}
			_, err := site.reset(t.Context(), []string{"a", "b", "c"})
			if other := new(NotOursError); !errors.As(err, &other) || other.Host != "c" || *did {
				t.Errorf("%v; reset: %v", err, *did)
			}
		})
	}
}

// TestResetThroughAnothersHost: a host that is to leave was taken out of whatever cluster
// answered at the address of the first control plane.
func TestResetThroughAnothersHost(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	site.StateDir = t.TempDir()
	hosts["a"].write(t, claimPath, "other\n")
	hosts["b"].write(t, claimPath, "site\n")
	did := new(bool)
	for _, h := range site.Hosts {
		h.Runner = unreset{hosts[h.Name], false, did}
	}
	_, err := site.reset(t.Context(), []string{"b"})
	if other := new(NotOursError); !errors.As(err, &other) || other.Host != "a" || *did {
		t.Errorf("%v; reset: %v", err, *did)
	}
}

// TestResetOfAnotherMachine: the machine that the installer runs on is not reset in the
// place of a host that it is not.
func TestResetOfAnotherMachine(t *testing.T) {
	site := filepath.Join(t.TempDir(), "site.yaml")
	write := func(address string) {
		text := "apiVersion: naru/v1\nkind: Site\nname: a\ndomain: k8s.test\nhosts:\n" +
			"  - {name: cp1, address: " + address + ", local: true, roles: [control-plane, worker, depot]}\n"
		if err := os.WriteFile(site, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.77") // of nobody: RFC 5737
	var other *OtherMachineError
	if _, _, err := ResetTargets(ResetOptions{SiteFile: site}); !errors.As(err, &other) || other.Host != "cp1" {
		t.Errorf("got %v", err)
	}
	write("127.0.0.1")
	if _, targets, err := ResetTargets(ResetOptions{SiteFile: site}); err != nil || len(targets) != 1 {
		t.Errorf("this host alone: %v, %v", targets, err)
	}
}

// TestApplyToOthersHosts: a worker of another cluster of the same name, as install init
// gives all of them one, passed for the site's own.
func TestApplyToOthersHosts(t *testing.T) {
	for name, c := range map[string]struct {
		first, second string // authorities
		found         bool
	}{
		"no cluster yet":     {},
		"a host that joins":  {first: "this one's\n"},
		"a node":             {first: "this one's\n", second: "this one's\n"},
		"another cluster's":  {first: "this one's\n", second: "the other's\n", found: true},
		"a new first before": {second: "this one's\n"}, // which is looked at elsewhere
	} {
		site, hosts := planes(t, "a", "b")
		for host, text := range map[string]string{"a": c.first, "b": c.second} {
			if text != "" {
				hosts[host].write(t, claimPath, "site\n")
				hosts[host].write(t, kubeCAPath, text)
			}
		}
		found := must(site.ownerFindings(t.Context()))(t)
		if c.found != (len(found) == 1 && found[0].Host == "b" && !found[0].Warning) || !c.found && len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
		if !c.found {
			continue
		}
		// Of a cluster of the site itself that was reset while this host was down, neither
		// apply nor reset took it any more, and nothing said how they would.
		b := site.Hosts[1]
		if !strings.Contains(found[0].Mend, "remove that file") {
			t.Errorf("%s: a host of the site's former cluster: %s", name, found[0].Mend)
		}
		ok(t, os.Remove(filepath.Join(hosts["b"].dir, kubeCAPath)))
		if whose, why, err := site.ownerOf(t.Context(), b, c.first); whose != ownerSite || err != nil {
			t.Errorf("%s, its authority removed: %v, %q, %v", name, whose, why, err)
		}
	}
}
