//go:build e2e

package yum

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/manifest"
	lab "naru/test/lab/yum"
)

func TestYum(t *testing.T) {
	s := newSite(t)
	t.Run("install", s.installs)
	t.Run("branches", s.branches)
	t.Run("closed", s.closed)
	t.Run("not carried", s.notCarried)
	t.Run("changed in the bundle", s.changedInBundle)
	t.Run("changed on the way", s.changedOnTheWay)
	t.Run("signed by another", s.signedByAnother)
}

// installs installs on an empty host of each architecture, with the vendor's
// signatures checked.
func (s *site) installs(t *testing.T) {
	if !strings.Contains(s.repoFile, "\ngpgcheck=1\nrepo_gpgcheck=1\n") {
		t.Fatalf("the .repo file does not check signatures:\n%s", s.repoFile)
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		h := s.newHost(t, s.repoFile, "--forcearch", arch)
		out := must(h.dnf(t, "install", lab.App))(t)
		list := h.packages(t)
		for _, want := range []string{"lab-app-2:1.5~rc1-1." + arch, "lab-lib-1.3^git1-1." + arch, "lab-epoch-1:1.0-1.noarch", "lab-db-3-1.noarch",
			"lab-crypto-new-1-1.noarch", "lab-data-1-1.noarch", "lab-plain-1-1.noarch", "lab-mod-client-2.0-1.noarch"} {
			if !slices.Contains(list, want) {
				t.Errorf("%s: %s is not installed: %v\n%s", arch, want, list, out)
			}
		}
		if strings.Contains(strings.Join(list, " "), "weak") {
			t.Errorf("%s: a weak dependency is installed: %v", arch, list)
		}
		t.Logf("%s: dnf installed %d packages, signatures checked", arch, len(list))
	}
}

// branches drives dnf's own resolver into each branch: everything that it picks must
// be there.
func (s *site) branches(t *testing.T) {
	for name, c := range map[string]struct {
		before []string // installed already
		args   []string
		want   []string // among what is installed afterwards
	}{
		"first alternative":          {args: []string{lab.App, "--exclude=lab-provider-b"}, want: []string{"lab-provider-a-1-1.noarch"}},
		"second alternative":         {args: []string{lab.App, "--exclude=lab-provider-a"}, want: []string{"lab-provider-b-1-1.noarch", "lab-b-helper-1-1.noarch"}},
		"or, first":                  {args: []string{lab.App, "--exclude=lab-wl-utils"}, want: []string{"lab-x11-1-1.noarch"}},
		"or, second":                 {args: []string{lab.App, "--exclude=lab-x11"}, want: []string{"lab-wl-utils-1-1.noarch"}},
		"or, without obsoleter":      {args: []string{lab.App, "--exclude=lab-x11,lab-wayland-ng"}, want: []string{"lab-wl-utils-1-1.noarch", "lab-wayland-1-1.noarch"}},
		"if, asked for":              {args: []string{lab.App, "lab-policy"}, want: []string{"lab-policy-1-1.noarch", "lab-selinux-1-1.noarch"}},
		"if, there before":           {before: []string{"lab-policy-1-1.noarch.rpm"}, args: []string{lab.App}, want: []string{"lab-selinux-1-1.noarch"}},
		"else":                       {args: []string{lab.App}, want: []string{"lab-plain-1-1.noarch"}},
		"if, of what is not carried": {before: []string{"lab-desktop-1-1.noarch.rpm"}, args: []string{lab.App}, want: []string{"lab-extra-1-1.noarch"}},
		"older versions there": {before: []string{"lab-lib-1.1-1.x86_64.rpm", "lab-epoch-0.9-1.noarch.rpm", "lab-db-1-1.noarch.rpm"}, args: []string{lab.App},
			want: []string{"lab-lib-1.3^git1-1.x86_64", "lab-epoch-1:1.0-1.noarch", "lab-db-3-1.noarch"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := s.newHost(t, s.repoFile)
			if len(c.before) > 0 {
				s.preinstall(t, h, "x86_64", c.before...)
			}
			out, err := h.dnf(t, append([]string{"install"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			list := h.packages(t)
			for _, want := range c.want {
				if !slices.Contains(list, want) {
					t.Errorf("%s is not installed: %v\n%s", want, list, out)
				}
			}
		})
	}
}

// closed has dnf's repoclosure judge exactly what is carried.
func (s *site) closed(t *testing.T) {
	lock := must(manifest.DecodeLock("lock.yaml", must(os.ReadFile(filepath.Join(s.bundle, "lock.yaml")))(t)))(t)
	for platform, arch := range map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64"} {
		dir := filepath.Join(s.dir, "carried-"+arch)
		must(0, os.MkdirAll(dir, 0o755))(t)
		set := lock.PackageSet(lab.ID, platform)
		for _, p := range set.Packages {
			data := s.get(t, "/yum/"+lab.ID+"/"+manifest.TreePath(manifest.FamilyRPM, p.Source, arch, (&url.URL{Path: p.Path}).EscapedPath()))
			must(0, os.WriteFile(filepath.Join(dir, filepath.Base(p.Path)), data, 0o600))(t)
		}
		if _, err := repoclosure(t, dir, arch); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		t.Logf("%s: repoclosure finds nothing missing among %d carried packages", arch, len(set.Packages))
		// It would find it.
		must(0, os.Remove(filepath.Join(dir, "lab-db-3-1.noarch.rpm")))(t)
		if out, err := repoclosure(t, dir, arch); err == nil || !strings.Contains(out, "lab-db") {
			t.Errorf("%s: repoclosure does not miss what was taken away: %v\n%s", arch, err, out)
		}
	}
}

func repoclosure(t *testing.T, dir, arch string) (string, error) {
	t.Helper()
	must(run(t, "createrepo_c", "--quiet", dir))(t)
	return run(t, "dnf", "repoclosure", "--setopt=reposdir=/nonexistent", "--setopt=cachedir="+must(os.MkdirTemp(dir, ".cache"))(t), "--releasever", "9",
		"--forcearch", arch, "--repofrompath=carried,"+dir, "--repo=carried", "--setopt=module_platform_id=platform:lab9")
}

// notCarried asks for a package that metadata lists and the bundle does not hold.
func (s *site) notCarried(t *testing.T) {
	h := s.newHost(t, s.repoFile)
	out, err := h.dnf(t, "install", "lab-weak")
	if err == nil || !strings.Contains(out, "404") || !strings.Contains(out, "lab-weak-1-1.noarch.rpm") {
		t.Errorf("want a clear 404, got %v\n%s", err, out)
	}
}

// changedInBundle flips one byte of a package in the volume.
func (s *site) changedInBundle(t *testing.T) {
	bad := filepath.Join(s.dir, "bad")
	must(run(t, "cp", "-r", s.bundle, bad))(t)
	volume := must(filepath.Glob(filepath.Join(bad, "*.tar.zst")))(t)[0]
	rpm := must(os.ReadFile(filepath.Join(s.dist.Repository("base", "x86_64"), "Packages/lab-data-1-1.noarch.rpm")))(t)
	data := must(os.ReadFile(volume))(t)
	at := strings.Index(string(data), string(rpm))
	if at < 0 {
		t.Fatal("the package does not lie in the volume as it is")
	}
	data[at+len(rpm)-20] ^= 1
	must(0, os.WriteFile(volume, data, 0o600))(t)
	out, err := run(t, "bundle", "verify", bad, "--key", s.pub)
	if err == nil {
		t.Errorf("bundle verify believes a changed package:\n%s", out)
	}
	t.Logf("bundle verify: %s", firstLine(out))
	addr, ca := s.serve(t, bad)
	h := s.newHost(t, strings.ReplaceAll(s.repoFile, s.addr, addr))
	out, err = h.dnf(t, "--setopt=sslcacert="+ca, "install", "lab-data")
	if err == nil {
		t.Errorf("dnf took a changed package from the depot:\n%s", out)
	}
	t.Logf("dnf: %s", errorLine(out))
}

// changedOnTheWay lets somebody between depot and dnf change one byte of a package,
// then one of repomd.xml.
func (s *site) changedOnTheWay(t *testing.T) {
	for file, part := range map[string]string{"lab-data-1-1.noarch.rpm": "checksum", "repomd.xml": "GPG"} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data := s.get(t, r.URL.EscapedPath())
			if strings.HasSuffix(r.URL.Path, file) {
				data[len(data)-20] ^= 1
			}
			_, _ = w.Write(data)
		}))
		h := s.newHost(t, strings.ReplaceAll(s.repoFile, "https://"+s.addr, proxy.URL))
		out, err := h.dnf(t, "install", "lab-data")
		proxy.Close()
		if err == nil || !strings.Contains(out, part) {
			t.Errorf("%s changed, dnf says %v\n%s", file, err, out)
		}
		t.Logf("%s changed, dnf: %s", file, errorLine(out))
	}
}

// signedByAnother offers a package that somebody else signed, with metadata to match:
// where a vendor does not sign its metadata, gpgcheck is what refuses it.
func (s *site) signedByAnother(t *testing.T) {
	other := must(lab.NewKey(t.Context(), must(os.MkdirTemp("", "nk"))(t)))(t)
	t.Cleanup(func() { _ = other.Close(); _ = os.RemoveAll(filepath.Dir(other.Dir)) })
	dir := filepath.Join(s.dir, "forged")
	must(0, os.MkdirAll(dir, 0o755))(t)
	file := filepath.Join(dir, "lab-data-1-1.noarch.rpm")
	must(run(t, "cp", filepath.Join(s.dist.Repository("base", "x86_64"), "Packages", filepath.Base(file)), file))(t)
	if err := other.Sign(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	must(run(t, "createrepo_c", "--quiet", dir))(t)
	repo := strings.ReplaceAll(s.repoFile, "repo_gpgcheck=1", "repo_gpgcheck=0")
	for _, name := range []string{"base", "updates"} {
		repo = strings.ReplaceAll(repo, "baseurl=https://"+s.addr+"/yum/"+lab.ID+"/"+name+"/$basearch/", "baseurl=file://"+dir)
	}
	h := s.newHost(t, repo)
	out, err := h.dnf(t, "install", "lab-data")
	if err == nil || !strings.Contains(out, "GPG") || len(h.packages(t)) != 0 {
		t.Errorf("dnf took a package of another key: %v\n%s", err, out)
	}
	t.Logf("dnf: %s", errorLine(out))
}

func firstLine(s string) string { return strings.SplitN(strings.TrimSpace(s), "\n", 2)[0] }

// errorLine is the first line that tells of an error.
func errorLine(s string) string {
	for _, line := range strings.Split(s, "\n") {
		if l := strings.ToLower(line); strings.HasPrefix(l, "importing") {
			continue
		} else if strings.Contains(l, "error") || strings.Contains(l, "fail") || strings.Contains(l, "gpg") {
			return strings.TrimSpace(line)
		}
	}
	return firstLine(s)
}
