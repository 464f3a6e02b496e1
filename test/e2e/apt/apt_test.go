//go:build e2e

package apt

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/manifest"
)

func TestApt(t *testing.T) {
	s := newSite(t)
	t.Run("install", s.installs)
	t.Run("closure", s.closure)
	t.Run("changed on the way", s.changedOnTheWay)
	t.Run("changed in the bundle", s.changedInBundle)
}

// installs installs everything that was asked for, with the clock 60 days ahead.
func (s *site) installs(t *testing.T) {
	sources := must(run(t, "nsenter", s.inside("curl", "-sS", "--fail", "--cacert", s.ca, "https://"+s.addr+"/apt/debian-12/naru.sources")...))(t)
	for _, never := range []string{"rusted:", "nsecure", "Allow-Weak"} {
		if strings.Contains(sources, never) {
			t.Fatalf("%q stands in the sources file:\n%s", never, sources)
		}
	}
	h := s.newHost(t, sources, s.ca, true)
	clock := strings.TrimSpace(must(h.chroot(t, true, "date", "-u", "+%F"))(t))
	if want := time.Now().UTC().AddDate(0, 0, 60).Format(time.DateOnly); clock != want {
		t.Fatalf("the host's date is %s, want %s", clock, want)
	}
	if out := must(h.apt(t, true, "update"))(t); strings.Contains(out, "W:") || strings.Contains(out, "Ign:") || strings.Contains(out, "Err:") {
		t.Errorf("apt-get update has something to say:\n%s", out)
	}
	before := h.installed(t)
	start := time.Now()
	out := must(h.apt(t, true, append([]string{"install"}, asked...)...))(t)
	if !regexp.MustCompile(`\d+ newly installed, 0 to remove`).MatchString(out) {
		t.Errorf("apt-get removed something:\n%s", out)
	}
	after := h.installed(t)
	for _, name := range asked {
		if !s.carries(name, after[name]) {
			t.Errorf("%s %q is installed, which the bundle does not have", name, after[name])
		}
	}
	fresh := 0
	for name, version := range after {
		if before[name] == version {
			continue
		}
		fresh++
		if !s.carries(name, version) {
			t.Errorf("%s %s did not come from the bundle", name, version)
		}
	}
	t.Logf("at %s, apt-get installed or upgraded %d packages in %s: %s", clock, fresh, time.Since(start).Round(time.Second), summary(out))
	t.Run("not carried", func(t *testing.T) {
		out, err := h.apt(t, true, "install", "nginx")
		if err == nil || !strings.Contains(out, "404") || !strings.Contains(out, "nginx") {
			t.Errorf("want a clear 404, got %v\n%s", err, out)
		}
		t.Logf("apt-get: %s", grep(out, "404"))
	})
	t.Run("host's own sources", func(t *testing.T) {
		// What naru did left nothing for the host's own apt to trip over.
		if out, err := h.chroot(t, false, "apt-get", "-s", "upgrade"); err != nil || !strings.Contains(out, "0 upgraded") {
			t.Errorf("a plain apt-get upgrade: %v\n%s", err, out)
		}
	})
}

// installed are the packages of a host with their versions.
func (h *host) installed(t *testing.T) map[string]string {
	t.Helper()
	out := must(h.chroot(t, false, "dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n"))(t)
	list := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "ii" {
			list[f[1]] = f[2]
		}
	}
	return list
}

// carries tells whether the bundle has a package.
func (s *site) carries(name, version string) bool {
	return slices.ContainsFunc(s.lock.Packages, func(p manifest.LockedPackage) bool { return p.Name == name && p.Version == version })
}

// closure compares the closure with what apt's own resolver picks: on a host without
// any package, on a minimal one, and on hosts whose packages are of other versions.
func (s *site) closure(t *testing.T) {
	addr, ca := s.serve(t, s.bundle, false)
	h := s.newHost(t, string(fetch(t, addr, ca, "/apt/debian-12/naru-amd64.sources")), ca, false)
	must(h.apt(t, false, "update"))(t)
	// A second update has nothing to fetch. (With libfaketime it would: the dates of
	// files are moved as well, and the depot takes only the very date for unchanged.)
	if out := must(h.apt(t, false, "update"))(t); strings.Count(out, "Hit:") != 3 || strings.Contains(out, "Get:") {
		t.Errorf("a second apt-get update fetched again:\n%s", out)
	}
	status := string(must(os.ReadFile(filepath.Join(h.root, "var/lib/dpkg/status")))(t))
	for name, text := range map[string]string{
		"no packages at all":       "",
		"minimal":                  status,
		"everything older":         aged(status, 1),
		"every other one is older": aged(status, 2),
		"gawk in place of mawk":    strings.ReplaceAll(status, "Package: mawk\n", "Package: gawk\n"),
	} {
		h.write(t, "tmp/status", text)
		out, err := h.apt(t, false, append([]string{"-s", "-o", "Dir::State::status=/tmp/status", "install"}, asked...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		picked, removed := 0, 0
		for _, m := range regexp.MustCompile(`(?m)^(Inst|Remv) (\S+) (?:\[\S+\] )?\(?(\S+)`).FindAllStringSubmatch(out, -1) {
			if m[1] == "Remv" {
				removed++
				continue
			}
			picked++
			if !s.carries(strings.TrimSuffix(m[2], ":amd64"), m[3]) {
				t.Errorf("%s: apt picks %s %s, which is not in the closure", name, m[2], m[3])
			}
		}
		if picked < len(asked) || removed > 0 {
			t.Errorf("%s: apt picks %d packages and removes %d\n%s", name, picked, removed, out)
		}
		t.Logf("%s: apt picks %d packages, all carried", name, picked)
	}
}

// relation is one in a dpkg status that names a version at least, or the very one.
var relation = regexp.MustCompile(`([a-z0-9][a-z0-9+.-]+)(:any)? \((>=|=) ([^)]+)\)`)

// aged is a dpkg status in which every nth package is older. Those whose age would
// break another one that is not stay as they are: no host is like that.
func aged(status string, nth int) string {
	paragraphs := strings.Split(strings.TrimSpace(status), "\n\n")
	versions, old := map[string]string{}, map[string]bool{}
	for i, p := range paragraphs {
		name := field(p, "Package")
		versions[name], old[name] = field(p, "Version"), i%nth == 0
	}
	for again := true; again; {
		again = false
		for _, p := range paragraphs {
			for _, m := range relation.FindAllStringSubmatch(field(p, "Depends")+", "+field(p, "Pre-Depends"), -1) {
				if !old[field(p, "Package")] && old[m[1]] && m[4] == versions[m[1]] {
					old[m[1]], again = false, true
				}
			}
		}
	}
	for i, p := range paragraphs {
		name := field(p, "Package")
		if !old[name] {
			continue
		}
		// What is older wants older versions, as far as what it wants is older too.
		p = relation.ReplaceAllStringFunc(p, func(r string) string {
			m := relation.FindStringSubmatch(r)
			if !old[m[1]] || m[4] != versions[m[1]] {
				return r
			}
			return m[1] + m[2] + " (" + m[3] + " " + m[4] + "~old)"
		})
		paragraphs[i] = strings.Replace(p, "\nVersion: "+versions[name]+"\n", "\nVersion: "+versions[name]+"~old\n", 1)
	}
	return strings.Join(paragraphs, "\n\n") + "\n"
}

// field is the value of a field of one line.
func field(paragraph, name string) string {
	for line := range strings.Lines(paragraph) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// changedOnTheWay lets somebody between depot and apt change one byte of a package, of
// an index, and of an InRelease.
func (s *site) changedOnTheWay(t *testing.T) {
	addr, ca := s.serve(t, s.bundle, false)
	sources := string(fetch(t, addr, ca, "/apt/debian-12/naru.sources"))
	h := s.newHost(t, sources, ca, false)
	for _, c := range []struct{ file, says string }{
		{"haproxy_", "Hash Sum mismatch"}, {"by-hash", "Hash Sum mismatch"}, {"InRelease", "signature"},
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data := fetch(t, addr, ca, r.URL.EscapedPath())
			if data == nil {
				http.NotFound(w, r)
				return
			}
			if strings.Contains(r.URL.Path, c.file) {
				data[len(data)/2] ^= 1
			}
			_, _ = w.Write(data)
		}))
		h.write(t, "etc/naru/apt/naru.sources", strings.ReplaceAll(sources, "https://"+addr, proxy.URL))
		must(h.chroot(t, false, "find", "/var/lib/naru/lists", "-type", "f", "-delete"))(t)
		out, err := h.apt(t, false, "update")
		if err == nil {
			out, err = h.apt(t, false, "install", "haproxy")
		}
		proxy.Close()
		if err == nil || !strings.Contains(out, c.says) || h.installed(t)["haproxy"] != "" {
			t.Errorf("%s changed, apt says %v\n%s", c.file, err, out)
		}
		t.Logf("%s changed, apt: %s", c.file, grep(out, c.says))
	}
}

// changedInBundle changes one byte of a package, of an index and of an InRelease in
// the volume.
func (s *site) changedInBundle(t *testing.T) {
	volume := must(filepath.Glob(filepath.Join(s.bundle, "*.tar.zst")))(t)[0]
	whole := must(os.ReadFile(volume))(t)
	main := s.lock.Source("main")
	for name, at := range map[string]int{
		"a package": s.offset(t, whole, s.debian(t, "haproxy")),
		"an index":  s.offset(t, whole, must(os.ReadFile(filepath.Join(s.archive.FileDir(), "deb.lab.test/debian/dists/bookworm/main/binary-amd64/Packages.xz")))(t)),
		"InRelease": s.entry(t, whole, main.Digest.Encoded()),
	} {
		bad := filepath.Join(s.dir, "bad-"+strings.ReplaceAll(name, " ", "-"))
		must(run(t, "cp", "-r", s.bundle, bad))(t)
		data := bytes.Clone(whole)
		data[at] ^= 1
		must(0, os.WriteFile(filepath.Join(bad, filepath.Base(volume)), data, 0o600))(t)
		out, err := run(t, "bundle", "verify", bad, "--key", s.pub)
		if err == nil {
			t.Errorf("%s changed: bundle verify believes it:\n%s", name, out)
		}
		t.Logf("%s changed, bundle verify: %s", name, grep(out, "error"))
	}
}

// offset is where content lies in the volume, a little behind its start.
func (s *site) offset(t *testing.T, volume, content []byte) int {
	t.Helper()
	at := bytes.Index(volume, content[:4096])
	if at < 0 {
		t.Fatal("the content does not lie in the volume as it is")
	}
	return at + 2048
}

// entry is a byte of the packed content of a blob, found by its name.
func (s *site) entry(t *testing.T, volume []byte, hex string) int {
	t.Helper()
	at := bytes.Index(volume, []byte("blobs/sha256/"+hex))
	if at < 0 {
		t.Fatal("the blob's entry is not in the volume")
	}
	return at + 4096
}

// debian is a package file of the archive.
func (s *site) debian(t *testing.T, name string) []byte {
	t.Helper()
	for _, p := range s.lock.Packages {
		if p.Name == name {
			dir := "debian"
			if p.Source == "security" {
				dir = "debian-security"
			}
			return must(os.ReadFile(filepath.Join(s.archive.FileDir(), "deb.lab.test", dir, p.Path)))(t)
		}
	}
	t.Fatalf("%s is not carried", name)
	return nil
}

// grep is the first line of a text that has a word in it.
func grep(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return strings.TrimSpace(line)
		}
	}
	return strings.TrimSpace(strings.SplitN(text, "\n", 2)[0])
}

// summary is apt's own line about what it did.
func summary(out string) string { return grep(out, "newly installed") }
