package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"naru/test/lab/hosts"
)

// refusal is a site or host that must stop the installer before it changes anything.
type refusal struct {
	name string
	// words must stand in what the installer says: the host, the finding and its mend.
	words []string
	// host is the one that the case is about, beside cp1; prepare and restore are
	// command lines on it.
	host, prepare, restore string
	// code is the exit code that docs/cli.md gives.
	code int
	// site changes the site file; media is another bundle.
	site  func(*world, site) (site, error)
	media string
}

// clockWrapper makes date tell the time as a clock that is ten minutes behind does: the
// hosts share this machine's clock.
const clockWrapper = `mv /usr/bin/date /usr/bin/date.lab; printf '#!/bin/sh\nexec /usr/bin/date.lab -d "10 minutes ago" "$@"\n' >/usr/bin/date; chmod 755 /usr/bin/date`

// conflict installs a package that will not have HAProxy beside it, and holds it.
const conflict = `set -e; d=$(mktemp -d); mkdir -p $d/p/DEBIAN
printf 'Package: site-proxy\nVersion: 1\nArchitecture: all\nMaintainer: lab\nConflicts: haproxy\nDescription: another proxy\n' >$d/p/DEBIAN/control
dpkg-deb -b $d/p $d/p.deb >/dev/null; dpkg -i $d/p.deb >/dev/null; apt-mark hold site-proxy >/dev/null; rm -r $d`

func refusalCases() []refusal {
	return []refusal{
		{name: "wrong host key", code: 21, words: []string{"cp2", "key"}, host: "cp2", site: (*world).wrongHostKey},
		{name: "wrong sudo", code: 21, words: []string{"w1", "sudo"}, host: "w1", site: func(_ *world, s site) (site, error) {
			return s.edit("w1", func(h *siteHost) { h.more = ", ssh: {user: guest}" }), nil
		}},
		{name: "port taken", code: 20, words: []string{"cp1", "6443"}, host: "cp1",
			prepare: "systemd-run -q --unit=taken systemd-socket-activate -l 6443 cat; sleep 0.5", restore: "systemctl stop taken"},
		{name: "clock 10 minutes off", code: 20, words: []string{"cp2", "clock"}, host: "cp2", prepare: clockWrapper, restore: "mv /usr/bin/date.lab /usr/bin/date"},
		{name: "no default route", code: 20, words: []string{"w1", "default route"}, host: "w1",
			prepare: "ip route del default", restore: "ip route add default via " + hosts.Gateway + " dev host0"},
		{name: "no name server", code: 20, words: []string{"w1", "resolv.conf", "CoreDNS"}, host: "w1",
			prepare: "cp /etc/resolv.conf /run/resolv.conf; : >/etc/resolv.conf", restore: "cat /run/resolv.conf >/etc/resolv.conf"},
		{name: "silent name server", code: 20, words: []string{"w1", "resolv.conf", "127.0.0.9"}, host: "w1",
			prepare: "cp /etc/resolv.conf /run/resolv.conf; echo 'nameserver 127.0.0.9' >/etc/resolv.conf; systemd-run -q --unit=silent systemd-socket-activate -d -l 127.0.0.9:53 sleep infinity; sleep 0.5",
			restore: "systemctl stop silent; cat /run/resolv.conf >/etc/resolv.conf"},
		{name: "disk too small", code: 20, words: []string{"small", "/var/lib"}, site: func(_ *world, s site) (site, error) {
			return s.with(siteHost{name: "small", addr: "10.77.0.60", roles: "worker"}), nil
		}},
		{name: "conflicting package", code: 20, words: []string{"lb1", "haproxy"}, host: "lb1", prepare: conflict, restore: "dpkg --force-all -P site-proxy >/dev/null"},
		{name: "tampered bundle", code: 5, media: "tampered"},
		{name: "bundle without a needed image", code: 5, words: []string{"registry.k8s.io/etcd"}, media: "lacking"},
	}
}

// edit is the site with one host changed.
func (s site) edit(name string, change func(*siteHost)) site {
	s.hosts = slices.Clone(s.hosts)
	for i := range s.hosts {
		if s.hosts[i].name == name {
			change(&s.hosts[i])
		}
	}
	return s
}

// wrongHostKey is the site with a known_hosts in which cp2 has the key of cp1.
func (w *world) wrongHostKey(s site) (site, error) {
	data, err := os.ReadFile(w.lab.KnownHosts())
	if err != nil {
		return s, err
	}
	var key string
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "10.77.0.11 "); ok {
			key = rest
		}
	}
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "10.77.0.12 ") {
			line = "10.77.0.12 " + key
		}
		b.WriteString(line)
	}
	file := w.path("known_hosts.wrong")
	s.ssh = "  knownHostsFile: " + file + "\n"
	return s, os.WriteFile(file, []byte(b.String()), 0o600)
}

// refusals tries each case on bare hosts and wants that nothing on them changed.
func (w *world) refusals(ctx context.Context) (string, error) {
	if err := w.addBare(ctx, "small", "10.77.0.60", "220M"); err != nil {
		return "", err
	}
	defer func() { _ = w.lab.Cut(context.WithoutCancel(ctx), "small") }()
	if err := w.tamper(); err != nil {
		return "", err
	}
	var names []string
	for _, c := range refusalCases() {
		if err := w.refused(ctx, c); err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		names = append(names, c.name)
	}
	return strings.Join(names, ", "), nil
}

func (w *world) addBare(ctx context.Context, name, addr, smallVar string) error {
	return w.lab.Add(ctx, w.cache, hosts.Host{Name: name, Addr: addr, SmallVar: smallVar})
}

func (w *world) refused(ctx context.Context, c refusal) (err error) {
	// Few hosts, to be quick: preflight looks at all of them at once.
	s := w.site
	for _, h := range w.site.hosts {
		if h.name != "cp1" && h.name != c.host {
			s = s.without(h.name)
		}
	}
	if c.host != "lb1" {
		s.vip = ""
	}
	if c.site != nil {
		if s, err = c.site(w, s); err != nil {
			return err
		}
	}
	if c.prepare != "" {
		if _, err := w.lab.SSH(ctx, c.host, c.prepare); err != nil {
			return err
		}
		defer func() {
			if _, rerr := w.lab.SSH(context.WithoutCancel(ctx), c.host, c.restore); err == nil {
				err = rerr
			}
		}()
	}
	if err := w.mark(ctx, s); err != nil {
		return err
	}
	media := w.media()
	if c.media == "lacking" {
		s.more = "allowUnscanned: true\n"
	}
	if c.media != "" {
		media = w.path(c.media)
	}
	file, err := w.writeSite(s)
	if err != nil {
		return err
	}
	r, err := w.exec(w.install(ctx, "apply", media, "-f", file, "--key", w.pub(), "--state", w.path("operator"), "--progress", "none"))
	if err != nil {
		return err
	}
	if r.code != c.code {
		return fmt.Errorf("exit code %d, want %d: %s", r.code, c.code, last(r.all(), 2000))
	}
	for _, word := range c.words {
		if !strings.Contains(r.all(), word) {
			return fmt.Errorf("what it says does not name %q: %s", word, last(r.all(), 2000))
		}
	}
	fmt.Printf("   %s: exit code %d after %s: %s\n", c.name, r.code, seconds(r.took), finding(r.stderr))
	return w.untouched(ctx, s)
}

// finding is the line that says what was found.
func finding(text string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "error: "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return strings.TrimSpace(last(text, 300))
}

// mark sets the moment that untouched compares with.
func (w *world) mark(ctx context.Context, s site) error {
	for _, name := range s.names() {
		if _, err := w.lab.SSH(ctx, name, "touch /run/lab-mark"); err != nil {
			return err
		}
	}
	return nil
}

// untouched wants that no file of the hosts changed since mark, but for logs.
func (w *world) untouched(ctx context.Context, s site) error {
	const script = `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/lib/systemd \) -prune -o -cnewer /run/lab-mark -print
find /var/lib -xdev -path /var/lib/systemd -prune -o -cnewer /run/lab-mark -print`
	for _, name := range s.names() {
		out, err := w.lab.SSH(ctx, name, script)
		if err != nil {
			return err
		}
		if out = strings.TrimSpace(out); out != "" {
			return fmt.Errorf("refused, but changed on %s: %s", name, last(out, 1000))
		}
	}
	return nil
}

// tamper makes a copy of the bundle with one byte changed in the middle of its
// volume.
func (w *world) tamper() error {
	dir := w.path("tampered")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := copyTree(w.media(), dir); err != nil {
		return err
	}
	volumes, err := filepath.Glob(filepath.Join(dir, "*.tar.zst"))
	if err != nil || len(volumes) != 1 {
		return fmt.Errorf("the bundle has %d volumes: %w", len(volumes), err)
	}
	f, err := os.OpenFile(volumes[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], info.Size()/2); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], info.Size()/2)
	return err
}

// buildLacking builds a bundle of the release without etcd's image.
func (w *world) buildLacking(ctx context.Context, args []string, release string) error {
	dir := w.path("release/lab")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := copyTree(release, dir); err != nil {
		return err
	}
	file := filepath.Join(dir, "components/kubernetes.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const etcd = "  - ref: registry.k8s.io/etcd:3.5.24-0\n    runtime: true\n    note: kubeadm writes it into a static pod.\n"
	text := strings.Replace(string(data), etcd, "", 1)
	if text == string(data) {
		return fmt.Errorf("%s does not list etcd as expected", file)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	args = slices.Clone(args)
	args[slices.Index(args, release)] = dir
	out := w.path("lacking")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	_, err = w.ok(exec.CommandContext(ctx, filepath.Join(w.bin, "bundle"), append(args, "--no-scan", "--out", out)...))
	return err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}
