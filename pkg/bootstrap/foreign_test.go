package bootstrap

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/manifest"
)

// ownRoot is a Runner whose file system is a folder of the test, with a systemctl that
// writes down what it is asked and knows every unit.
type ownRoot string

func newOwnRoot(t *testing.T) ownRoot {
	t.Helper()
	r := ownRoot(t.TempDir())
	r.write(t, "/proc/mounts", "")
	r.write(t, "/etc/hosts", "127.0.0.1 localhost\n")
	r.write(t, "/usr/local/bin/systemctl", "#!/bin/sh\necho \"$*\" >>"+string(r)+"/asked\n")
	for _, name := range []string{"ip", "iptables-save", "ip6tables-save", "kubeadm", "ctr"} {
		r.write(t, "/usr/local/bin/"+name, "#!/bin/sh\nexit 1\n")
	}
	return r
}

func (r ownRoot) Run(ctx context.Context, c Command) (*Result, error) {
	var tops []string
	for _, top := range []string{"/etc/", "/var/", "/run/", "/opt/", "/proc/", "/usr/local/"} {
		tops = append(tops, top, string(r)+top)
	}
	inside := strings.NewReplacer(tops...)
	argv := slices.Clone(c.Argv)
	for i := range argv {
		argv[i] = inside.Replace(argv[i])
	}
	if argv[1] == "-euc" {
		argv[2] = "PATH=" + string(r) + "/usr/local/bin:$PATH\n" + argv[2]
	}
	c.Argv = argv
	res, err := NewLocal("a").Run(ctx, c)
	if res != nil {
		res.Stdout = []byte(strings.ReplaceAll(string(res.Stdout), string(r), ""))
	}
	return res, err
}

func (ownRoot) Close() error { return nil }

func (r ownRoot) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(string(r), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// files are all files with their content.
func (r ownRoot) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(string(r), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, string(r))] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestResetLeavesOthers: the reset of a load balancer or a depot stopped and removed the
// containers of others that ran there, and that of any host a haproxy of others.
func TestResetLeavesOthers(t *testing.T) {
	theirs := map[string]string{
		"/etc/containerd/config.toml": "theirs\n", "/var/lib/containerd/content": "theirs\n", "/usr/local/bin/kubectl": "theirs\n", "/etc/cni/net.d/theirs": "theirs\n",
		"/var/lib/kubelet/theirs": "theirs\n",
	}
	const haproxy, keepalived = "/etc/haproxy/haproxy.cfg", "/etc/keepalived/keepalived.conf"
	const chrony = "/etc/chrony/chrony.conf"
	const unit = "/etc/systemd/system/containerd.service"
	for name, c := range map[string]struct {
		role string
		more map[string]string
		node bool     // what is a node's goes
		off  []string // units that are switched off
	}{
		"a balancer":               {role: manifest.RoleLB},
		"a depot":                  {role: manifest.RoleDepot, more: map[string]string{haproxy: "theirs\n", unit: "theirs\n"}},
		"a balancer of naru's":     {role: manifest.RoleLB, more: map[string]string{haproxy: "# Written by naru.\n", keepalived: "# Written by naru.\n"}, off: []string{"haproxy", "keepalived"}},
		"a worker":                 {role: manifest.RoleWorker, more: map[string]string{haproxy: "theirs\n"}, node: true, off: []string{"containerd", "kubelet"}},
		"a balancer, node before":  {role: manifest.RoleLB, more: map[string]string{unit: "# Written by naru.\n"}, node: true, off: []string{"containerd", "kubelet"}},
		"a balancer, kubeadm ran":  {role: manifest.RoleLB, more: map[string]string{"/var/lib/naru/kubeadm.done": "join\n"}, node: true, off: []string{"containerd", "kubelet"}},
		"a balancer before naru's": {role: manifest.RoleLB, more: map[string]string{haproxy: "# Written by naru.\n", haproxy + beforeSuffix: "theirs\n"}, off: []string{"haproxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newOwnRoot(t)
			for _, files := range []map[string]string{theirs, c.more, {chrony: ownMark + "\n", chrony + beforeSuffix: "ntp of theirs\n", "/var/lib/naru/cluster": "site\n", "/etc/sysctl.d/90-naru.conf": "", "/usr/local/lib/naru/install": ""}} {
				for file, text := range files {
					r.write(t, file, text)
				}
			}
			h := &Host{SiteHost: &manifest.SiteHost{Name: "a", Roles: []string{c.role}}, Runner: r}
			for range 2 { // again, nothing changes
				if _, err := h.Reset(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			have := r.files(t)
			for file := range theirs {
				if have[file] == "" != c.node {
					t.Errorf("%s is there: %v", file, have[file] != "")
				}
			}
			for file, text := range have {
				if strings.Contains(file, "naru") && !strings.HasSuffix(file, ".lock") || strings.HasPrefix(text, ownMark) {
					t.Errorf("%s is left", file)
				}
			}
			for file, text := range c.more {
				if text == "theirs\n" && !strings.HasSuffix(file, beforeSuffix) && have[file] != text {
					t.Errorf("%s is %q", file, have[file])
				}
			}
			if c.more[haproxy+beforeSuffix] != "" && have[haproxy] != "theirs\n" {
				t.Errorf("what was there before naru's is %q", have[haproxy])
			}
			if have[chrony] != "ntp of theirs\n" {
				t.Errorf("chrony follows %q", have[chrony])
			}
			var off []string
			for line := range strings.Lines(have["/asked"]) {
				if unit, ok := strings.CutPrefix(strings.TrimSpace(line), "disable -q --now "); ok && unit != "naru-depot" {
					off = append(off, unit)
				}
			}
			slices.Sort(off)
			if off = slices.Compact(off); !slices.Equal(off, c.off) {
				t.Errorf("switched off: %q, want %q", off, c.off)
			}
		})
	}
}

// TestKeepForeign: the configuration of a haproxy, keepalived or chrony that was there
// before naru's was written over and gone.
func TestKeepForeign(t *testing.T) {
	const path = "/etc/chrony/chrony.conf"
	r := newOwnRoot(t)
	h := &Host{SiteHost: &manifest.SiteHost{Name: "a"}, Runner: r}
	ours := ChronyFile(path, []string{"10.0.0.1"}, false, nil)
	keep := func(want ...string) {
		t.Helper()
		for i := range 2 { // a run that was cut off after it
			got, err := h.KeepForeign(t.Context(), []File{ours, {Path: "/etc/hosts", Content: []byte("not marked")}})
			if err != nil || i == 0 && !slices.Equal(got, want) || i > 0 && len(got) > 0 {
				t.Errorf("kept %q, %v, want %q", got, err, want)
			}
		}
		if err := h.Put(t.Context(), ours); err != nil {
			t.Fatal(err)
		}
	}
	keep()
	keep()
	r.write(t, path, "server ntp.corp.test\n")
	keep(path + beforeSuffix)
	r.write(t, path, "server ntp.corp.test\n")
	keep()
	r.write(t, path, "") // emptied by hand
	keep(path + beforeSuffix + ".2")
	have := r.files(t)
	if have[path+beforeSuffix] != "server ntp.corp.test\n" || have[path] != string(ours.Content) {
		t.Errorf("%q", have)
	}
}

// TestBalancingForOthers: preflight sees a haproxy that runs for others.
func TestBalancingForOthers(t *testing.T) {
	r := newOwnRoot(t)
	r.write(t, "/etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n")
	r.write(t, "/usr/local/bin/getent", "#!/bin/sh\nexit 2\n")
	r.write(t, haproxyConfig, "theirs\n")
	r.write(t, keepalivedConfig, "# Written by naru.\n")
	h := &Host{SiteHost: &manifest.SiteHost{Name: "a"}, Runner: r}
	f, err := h.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Balancing, []string{"haproxy"}) {
		t.Errorf("balancing: %q", f.Balancing)
	}
}

// TestBalancingAsShipped: after an apply that was cut off and a reset, preflight took the
// haproxy that dpkg had started for one of others.
func TestBalancingAsShipped(t *testing.T) {
	const query = "#!/bin/sh\necho ' %s/etc/default/haproxy 0'\necho ' %s" + haproxyConfig + " 0'\n"
	for name, c := range map[string]struct {
		more   map[string]string
		theirs bool
	}{
		"as shipped":            {},
		"other configuration":   {more: map[string]string{"/usr/local/bin/dpkg": "#!/bin/sh\necho '??5?????? c " + haproxyConfig + "'\n"}, theirs: true},
		"other settings":        {more: map[string]string{"/usr/local/bin/dpkg": "#!/bin/sh\necho 'missing   c /etc/default/haproxy'\n"}, theirs: true},
		"without its manual":    {more: map[string]string{"/usr/local/bin/dpkg": "#!/bin/sh\necho 'missing     /usr/share/doc/haproxy/a'\n"}},
		"another unit":          {more: map[string]string{"/etc/systemd/system/haproxy.service": "theirs\n"}, theirs: true},
		"more in its unit":      {more: map[string]string{"/etc/systemd/system/haproxy.service.d/a.conf": "theirs\n"}, theirs: true},
		"of no package":         {more: map[string]string{"/usr/local/bin/dpkg-query": "#!/bin/sh\nexit 1\n"}, theirs: true},
		"of no package manager": {more: map[string]string{"/usr/local/bin/dpkg-query": "#!/bin/sh\nexit 127\n", "/usr/local/bin/dpkg": "#!/bin/sh\nexit 127\n"}, theirs: true},
		"not the package's own": {more: map[string]string{"/usr/local/bin/dpkg-query": "#!/bin/sh\necho ' /etc/default/haproxy 0'\n"}, theirs: true},
		"a package taken off":   {more: map[string]string{"/usr/local/bin/dpkg": "#!/bin/sh\nexit 1\n", "/usr/local/bin/dpkg-query": "#!/bin/sh\necho\n"}, theirs: true},
	} {
		r := newOwnRoot(t)
		r.write(t, "/etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n")
		r.write(t, "/usr/local/bin/getent", "#!/bin/sh\nexit 2\n")
		r.write(t, "/usr/local/bin/dpkg", "#!/bin/sh\nexit 0\n")
		r.write(t, "/usr/local/bin/dpkg-query", fmt.Sprintf(query, r, r))
		r.write(t, haproxyConfig, "global\n")
		for file, text := range c.more {
			r.write(t, file, text)
		}
		f, err := (&Host{SiteHost: &manifest.SiteHost{Name: "a"}, Runner: r}).Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if (len(f.Balancing) > 0) != c.theirs {
			t.Errorf("%s: balancing: %q", name, f.Balancing)
		}
	}
}
