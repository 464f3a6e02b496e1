//go:build e2e

package yum

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"naru/test/lab/layout"
	"naru/test/lab/upstream"
	lab "naru/test/lab/yum"
)

var bin = flag.String("bin", "", "folder of bundle and install")

// site is a bundle of the lab's packages, with a depot that serves it.
type site struct {
	dir       string
	dist      *lab.Distribution
	bundle    string // folder
	pub       string
	addr, ca  string
	repoFile  string // as the depot gives it
	installed int    // roots made so far
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

// newSite builds the lab, a bundle of lab-app for both architectures, and serves it.
func newSite(t *testing.T) *site {
	t.Helper()
	if *bin == "" {
		t.Fatal("run these tests by test/e2e/yum/run.sh")
	}
	dir := must(os.MkdirTemp("", "ny"))(t) // short: gpg's agent has a socket in it
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{dir: dir, dist: must(lab.Build(context.Background(), dir))(t), bundle: filepath.Join(dir, "bundle"), pub: filepath.Join(dir, "cosign.pub")}
	t.Cleanup(func() { _ = s.dist.Close() })
	w := must(layout.NewWriter(filepath.Join(dir, "layout")))(t)
	if err := s.dist.Publish(w); err != nil {
		t.Fatal(err)
	}
	l := must(w.Close())(t)
	up := must(upstream.Start(t.Context(), upstream.Options{Hosts: []string{lab.Host}}))(t)
	t.Cleanup(func() { _ = up.Close() })
	if err := up.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	content := filepath.Join(dir, "content.yaml")
	must(0, os.WriteFile(content, []byte(lab.Content("rpms", s.dist.PublicKey, lab.App)), 0o600))(t)
	must(run(t, "bundle", "keygen", "--out-prefix", filepath.Join(dir, "cosign")))(t)
	args := []string{"build", "--no-scan", "-f", content, "--key", filepath.Join(dir, "cosign.key"), "--out", s.bundle,
		"--cache", filepath.Join(dir, "cache"), "--ca-file", up.CAFile(), "--progress", "plain"}
	for _, m := range up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	out := must(run(t, "bundle", args...))(t)
	if !strings.Contains(out, "module streams taken, as their defaults: lab-mod:2") {
		t.Errorf("the build does not say what it did with module streams:\n%s", out)
	}
	must(run(t, "bundle", "verify", s.bundle, "--key", s.pub))(t)
	s.addr, s.ca = s.serve(t, s.bundle)
	s.repoFile = string(s.get(t, "/yum/"+lab.ID+"/naru.repo"))
	return s
}

// serve starts install serve on a bundle, until the test ends.
func (s *site) serve(t *testing.T, bundle string) (addr, ca string) {
	t.Helper()
	state := must(os.MkdirTemp(s.dir, "state"))(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(*bin, "install"), "serve", bundle, "--key", s.pub, "--state", state,
		"--listen", "127.0.0.1:0", "--progress", "none", "--allow-unscanned")
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

func (s *site) get(t *testing.T, path string) []byte {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must(os.ReadFile(s.ca))(t))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	resp := must(client.Get("https://" + s.addr + path))(t)
	defer func() { _ = resp.Body.Close() }()
	data := must(io.ReadAll(resp.Body))(t)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %s", path, resp.StatusCode, data)
	}
	return data
}

// host is an installation root with a configuration of dnf of its own.
type host struct {
	root string
	args []string
}

// newHost is an empty host that knows the depot's repositories, and no other, by
// the .repo file given.
func (s *site) newHost(t *testing.T, repoFile string, more ...string) *host {
	t.Helper()
	s.installed++
	dir := filepath.Join(s.dir, fmt.Sprintf("host%d", s.installed))
	repos := filepath.Join(dir, "repos")
	if err := os.MkdirAll(repos, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repos, "naru.repo"), []byte(repoFile), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &host{root: filepath.Join(dir, "root")}
	// What naru's own calls of dnf say: weak dependencies are not carried. An empty
	// root has no os-release that names the platform of modules.
	h.args = append([]string{"-y", "--installroot", h.root, "--releasever", "9", "--setopt=reposdir=" + repos, "--setopt=cachedir=" + filepath.Join(dir, "cache"),
		"--setopt=sslcacert=" + s.ca, "--setopt=install_weak_deps=0", "--setopt=plugins=0", "--setopt=retries=1",
		"--setopt=module_platform_id=platform:lab9"}, more...)
	return h
}

func (h *host) dnf(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t, "dnf", slices.Concat(h.args, args)...)
}

// packages are what rpm says is installed: name-[epoch:]version-release.arch.
func (h *host) packages(t *testing.T) []string {
	t.Helper()
	out := must(run(t, "rpm", "--root", h.root, "-qa", "--qf", "%{name}-%|epoch?{%{epoch}:}|%{version}-%{release}.%{arch}\n"))(t)
	list := slices.DeleteFunc(strings.Fields(out), func(s string) bool { return strings.HasPrefix(s, "gpg-pubkey") })
	slices.Sort(list)
	return list
}

// preinstall puts packages of the lab on a host past dnf, as they may be there
// before naru comes.
func (s *site) preinstall(t *testing.T, h *host, arch string, files ...string) {
	t.Helper()
	args := []string{"--root", h.root, "-i", "--nodeps", "--nosignature", "--ignorearch"}
	for _, f := range files {
		args = append(args, filepath.Join(s.dist.Repository("base", arch), "Packages", f))
	}
	must(0, os.MkdirAll(h.root, 0o755))(t)
	must(run(t, "rpm", args...))(t)
}
