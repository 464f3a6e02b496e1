//go:build e2e

package apt

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"naru/manifest"
	lab "naru/test/lab/apt"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

var (
	bin   = flag.String("bin", "", "folder of bundle and install")
	cache = flag.String("cache", "", "folder for the lab's content")
)

// asked are the packages of the demo release.
var asked = []string{"haproxy", "keepalived", "chrony", "conntrack", "nfs-common", "open-iscsi", "lvm2"}

// site is a bundle of the demo's packages, with a depot that serves it in a network
// namespace of its own.
type site struct {
	dir, bundle, pub string
	archive          *layout.Layout
	lock             *manifest.LockedPackages
	netns            string
	addr, ca         string
	hosts            int // made so far
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// run runs a program and returns what it printed on both streams.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	if name == "bundle" || name == "install" {
		name = filepath.Join(*bin, name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=e2e", "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=1750000000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// newSite builds the bundle and serves it.
func newSite(t *testing.T) *site {
	t.Helper()
	if *bin == "" || *cache == "" {
		t.Fatal("run these tests by test/e2e/apt/run.sh")
	}
	dir := must(os.MkdirTemp("", "naru-apt-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{dir: dir, bundle: filepath.Join(dir, "bundle"), pub: filepath.Join(dir, "cosign.pub"), netns: fmt.Sprintf("naru-apt-%d", os.Getpid())}
	s.archive = must(lab.Build(t.Context(), lab.Options{CacheDir: *cache, Names: asked, OnStep: func(step string) { t.Log(step) }}))(t)
	up := must(upstream.Start(t.Context(), upstream.Options{Hosts: []string{lab.Host}}))(t)
	t.Cleanup(func() { _ = up.Close() })
	if err := up.Add(t.Context(), s.archive); err != nil {
		t.Fatal(err)
	}
	must(run(t, "bundle", "keygen", "--out-prefix", filepath.Join(dir, "cosign")))(t)
	args := []string{"build", "--release", "demo", "--no-scan", "--profile", "minimal", "--with", "host-packages", "--without", "pause,cni-plugins",
		"--key", filepath.Join(dir, "cosign.key"), "--out", s.bundle, "--cache", filepath.Join(dir, "cache"), "--ca-file", up.CAFile(), "--progress", "plain"}
	for _, m := range up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	must(run(t, "bundle", args...))(t)
	must(run(t, "bundle", "verify", s.bundle, "--key", s.pub))(t)
	lock := must(manifest.DecodeLock("lock.yaml", must(os.ReadFile(filepath.Join(s.bundle, "lock.yaml")))(t)))(t)
	s.lock = lock.PackageSet("debian-12", "linux/amd64")
	if s.lock == nil {
		t.Fatal("the lock has no packages of debian-12")
	}
	s.makeNetwork(t)
	s.addr, s.ca = s.serve(t, s.bundle, true)
	return s
}

// makeNetwork makes a namespace that has a loopback interface and nothing else.
func (s *site) makeNetwork(t *testing.T) {
	t.Helper()
	must(run(t, "ip", "netns", "add", s.netns))(t)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", s.netns).Run() })
	must(run(t, "ip", "-n", s.netns, "link", "set", "lo", "up"))(t)
}

// inside is the command line of a program in the namespace.
func (s *site) inside(args ...string) []string {
	return append([]string{"--net=/run/netns/" + s.netns, "--"}, args...)
}

// serve starts install serve on a bundle, until the test ends, in the namespace or
// in the network of this process.
func (s *site) serve(t *testing.T, bundle string, sealed bool) (addr, ca string) {
	t.Helper()
	state := must(os.MkdirTemp(s.dir, "state"))(t)
	args := []string{filepath.Join(*bin, "install"), "serve", bundle, "--key", s.pub, "--state", state, "--listen", "127.0.0.1:0", "--progress", "none", "--allow-unscanned"}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	if sealed {
		cmd = exec.CommandContext(t.Context(), "nsenter", s.inside(args...)...)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	pipe := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if _, at, ok := strings.Cut(lines.Text(), "://"); ok {
			addr = at
		}
		if file, ok := strings.CutPrefix(lines.Text(), "clients trust "); ok {
			return addr, file
		}
	}
	t.Fatal("install serve ended before it served")
	return "", ""
}

// fetch gets a path of a depot that runs outside the namespace.
func fetch(t *testing.T, addr, ca, path string) []byte {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must(os.ReadFile(ca))(t))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	resp := must(client.Get("https://" + addr + path))(t)
	defer func() { _ = resp.Body.Close() }()
	data := must(io.ReadAll(resp.Body))(t)
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return data
}

// host is a root file system of Debian.
type host struct {
	s    *site
	root string
	// sealed hosts are in the namespace.
	sealed bool
}

// newHost is a minimal root that knows naru's sources and no other.
func (s *site) newHost(t *testing.T, sources, ca string, sealed bool) *host {
	t.Helper()
	s.hosts++
	h := &host{s: s, root: filepath.Join(s.dir, fmt.Sprintf("host%d", s.hosts)), sealed: sealed}
	if err := lab.Root(t.Context(), *cache, s.archive, h.root); err != nil {
		t.Fatal(err)
	}
	h.write(t, "etc/naru/apt/naru.sources", sources)
	h.write(t, "etc/naru/ca.crt", string(must(os.ReadFile(ca))(t)))
	h.write(t, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n") // no services in a chroot
	must(0, os.Chmod(filepath.Join(h.root, "usr/sbin/policy-rc.d"), 0o755))(t)
	must(0, os.MkdirAll(filepath.Join(h.root, "var/lib/naru/lists/partial"), 0o755))(t)
	must(run(t, "mount", "-t", "proc", "proc", filepath.Join(h.root, "proc")))(t)
	t.Cleanup(func() { _ = exec.Command("umount", filepath.Join(h.root, "proc")).Run() })
	return h
}

func (h *host) write(t *testing.T, path, text string) {
	t.Helper()
	file := filepath.Join(h.root, path)
	must(0, os.MkdirAll(filepath.Dir(file), 0o755))(t)
	must(0, os.WriteFile(file, []byte(text), 0o644))(t)
}

// private keeps naru's calls of apt apart from the host's own sources and state.
var private = []string{
	"-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=/etc/naru/apt", "-o", "Dir::State::Lists=/var/lib/naru/lists",
	"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Acquire::https::CAInfo=/etc/naru/ca.crt",
	"-o", "APT::Install-Recommends=false", "-o", "Acquire::Retries=0", "-y",
}

// chroot runs a program on the host; ahead sets its clock 60 days ahead.
func (h *host) chroot(t *testing.T, ahead bool, args ...string) (string, error) {
	t.Helper()
	env := []string{"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/root"}
	if ahead {
		env = append(env, "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "FAKETIME=+60d", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	}
	line := append([]string{"chroot", h.root}, append(env, args...)...)
	if h.sealed {
		line = append([]string{"nsenter"}, h.s.inside(line...)...)
	}
	return run(t, line[0], line[1:]...)
}

// apt runs apt-get on naru's sources. With the clock ahead apt stays root: libfaketime
// shares memory between processes, which the user that apt drops to may not open.
func (h *host) apt(t *testing.T, ahead bool, args ...string) (string, error) {
	t.Helper()
	if ahead {
		args = append([]string{"-o", "APT::Sandbox::User=root"}, args...)
	}
	return h.chroot(t, ahead, append(append([]string{"apt-get"}, private...), args...)...)
}
