package rpm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/pkg/mirror/packages/rpm"
	"naru/test/lab/yum"
)

// lab is the lab's distribution, built once for the package.
var lab struct {
	once sync.Once
	dist *yum.Distribution
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if lab.dist != nil {
		_ = lab.dist.Close()
		_ = os.RemoveAll(filepath.Dir(lab.dist.Dir))
	}
	os.Exit(code)
}

func distribution(t *testing.T) *yum.Distribution {
	t.Helper()
	lab.once.Do(func() {
		dir, err := os.MkdirTemp("", "yl") // short: gpg's agent has a socket in it
		if err == nil {
			lab.dist, err = yum.Build(context.Background(), dir)
		}
		lab.err = err
	})
	if lab.err != nil {
		t.Fatal(lab.err)
	}
	return lab.dist
}

// open opens a metadata file of a repository, unpacked.
func open(t *testing.T, dir string, d *rpm.Data) io.ReadCloser {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, d.Location))
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size {
		t.Fatalf("%s is not what repomd.xml says", d.Location)
	}
	r, err := rpm.Decompress(bytes.NewReader(data), d.OpenSize)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// load reads a repository from a folder.
func load(t *testing.T, name, dir string, modules *rpm.Modules) *rpm.Repository {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, rpm.RepomdName))
	if err != nil {
		t.Fatal(err)
	}
	md, err := rpm.ParseRepomd(data)
	if err != nil {
		t.Fatal(err)
	}
	repo := &rpm.Repository{Name: name}
	if err := rpm.ReadPrimary(open(t, dir, md.Find(rpm.DataPrimary)), func(p *rpm.Package) error {
		repo.Packages = append(repo.Packages, p)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	repo.FindFiles = func(_ context.Context, wanted map[string]bool, found func(id, path string)) error {
		return rpm.ReadFilelists(open(t, dir, md.Find(rpm.DataFilelists)), wanted, found)
	}
	if d := md.Find(rpm.DataModules); d != nil {
		if err := modules.ReadModules(open(t, dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	return repo
}

func universe(t *testing.T, arch string) *rpm.Universe {
	t.Helper()
	d := distribution(t)
	modules := &rpm.Modules{}
	repos := []*rpm.Repository{load(t, "base", d.Repository("base", arch), modules), load(t, "updates", d.Repository("updates", arch), modules)}
	return rpm.NewUniverse(arch, repos, modules)
}

func names(c *rpm.Closure) []string {
	var out []string
	for _, p := range c.Packages {
		out = append(out, p.Repository+" "+p.String())
	}
	return out
}

// TestClosure holds the closure of a package with everything against what a reader
// of its spec file expects.
func TestClosure(t *testing.T) {
	for _, arch := range []string{"x86_64", "aarch64"} {
		c, err := universe(t, arch).Resolve(t.Context(), []string{yum.App})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"base lab-app-2:1.5~rc1-1." + arch,
			"base lab-b-helper-1-1.noarch",
			"base lab-crypto-new-1-1.noarch", // not -old, which provides lab-legacy
			"base lab-data-1-1.noarch",       // a file that only filelists know
			"base lab-db-3-1.noarch",         // neither 1 nor 5
			"base lab-epoch-1:1.0-1.noarch",  // not 7.0
			"base lab-extra-1-1.noarch",      // if lab-desktop, which is not carried
			"base lab-mod-client-2.0-1.noarch",
			"base lab-plain-1-1.noarch", // else
			"base lab-policy-1-1.noarch",
			"base lab-provider-a-1-1.noarch",
			"base lab-provider-b-1-1.noarch",
			"base lab-selinux-1-1.noarch",
			"base lab-tool-1-1." + arch,
			"base lab-wayland-1-1.noarch",
			"base lab-wl-utils-1-1.noarch",
			"base lab-x11-1-1.noarch",
			"updates lab-lib-1.3^git1-1." + arch, // of the updates, not i686
			"updates lab-wayland-ng-2-1.noarch",  // obsoletes lab-wayland
		}
		if diff := cmp.Diff(want, names(c)); diff != "" {
			t.Errorf("%s: %s", arch, diff)
		}
	}
}

// TestUnresolvable asks for what cannot be had.
func TestUnresolvable(t *testing.T) {
	u := universe(t, "x86_64")
	_, err := u.Resolve(t.Context(), []string{yum.App, "lab-needs-broken", "no-such", "lab-lib=9", "lab-data"})
	var unresolved *rpm.UnresolvedError
	if !errors.As(err, &unresolved) {
		t.Fatalf("got %v", err)
	}
	got := map[string]string{}
	for _, p := range unresolved.Problems {
		got[p.Name] = p.Reason
	}
	if len(got) != 3 || !strings.Contains(got["lab-needs-broken"], "lab-nowhere") || got["no-such"] == "" || !strings.Contains(got["lab-lib=9"], "1.3^git1") {
		t.Errorf("problems are %v", got)
	}
	c, err := u.Resolve(t.Context(), []string{"lab-alternative"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"base lab-alternative-1-1.noarch", "base lab-choice-good-1-1.noarch"}, names(c)); diff != "" {
		t.Error(diff)
	}
	if !slices.ContainsFunc(c.Notes, func(s string) bool { return strings.Contains(s, "lab-choice-bad") }) {
		t.Errorf("the notes do not tell what was left out: %q", c.Notes)
	}
	c, err = u.Resolve(t.Context(), []string{"lab-db=1"})
	if err != nil || !slices.Equal(names(c), []string{"base lab-db-1-1.noarch"}) {
		t.Errorf("lab-db=1 gives %v, %v", c, err)
	}
}

func TestModulesNote(t *testing.T) {
	u := universe(t, "x86_64")
	if notes := u.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "lab-mod:2") {
		t.Errorf("notes are %q", notes)
	}
	if _, err := u.Resolve(t.Context(), []string{"lab-mod-client=3.0"}); err == nil {
		t.Error("a package of a stream that is not the default is a candidate")
	}
	if _, err := u.Resolve(t.Context(), []string{"lab-mod-client=1.0"}); err == nil {
		t.Error("a package that the default stream hides is a candidate")
	}
}

// TestVerify verifies what rpmsign and gpg signed, and nothing that was changed.
func TestVerify(t *testing.T) {
	d := distribution(t)
	keys, err := rpm.ReadKeyring(d.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := d.Repository("base", "x86_64")
	repomd, err := os.ReadFile(filepath.Join(dir, rpm.RepomdName))
	if err != nil {
		t.Fatal(err)
	}
	asc, err := os.ReadFile(filepath.Join(dir, rpm.SignatureName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.VerifyDetached("repomd.xml", repomd, asc); err != nil {
		t.Error(err)
	}
	if _, err := keys.VerifyDetached("repomd.xml", append(repomd, ' '), asc); err == nil {
		t.Error("a changed repomd.xml verifies")
	}
	repo := load(t, "base", dir, &rpm.Modules{})
	for _, p := range repo.Packages {
		data, err := os.ReadFile(filepath.Join(dir, p.Location))
		if err != nil {
			t.Fatal(err)
		}
		id, err := keys.VerifyPackage(p.String(), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if !id.Is(p) || id.Signer.Fingerprint != keys.Fingerprints()[0] {
			t.Errorf("%s says it is %s, signed by %v", p, id, id.Signer)
		}
	}
	changed(t, keys, filepath.Join(dir, repo.Packages[0].Location))
}

// changed flips bytes of a package all over: in the header, its signature and the
// payload. What stays believed must be bytes that nothing reads.
func changed(t *testing.T, keys *rpm.Keyring, file string) {
	t.Helper()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	main := bytes.LastIndex(good, []byte{0x8e, 0xad, 0xe8, 0x01})
	for at := main; at < len(good); at += 1 + (len(good)-main)/400 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x40
		if _, err := keys.VerifyPackage(file, bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d of %d changed, and it verifies", at, len(good))
		}
	}
	for _, n := range []int{0, 50, 100, main, main + 100, len(good) - 1} {
		if _, err := keys.VerifyPackage(file, bytes.NewReader(good[:n])); err == nil {
			t.Errorf("cut to %d bytes, and it verifies", n)
		}
	}
	if _, err := keys.VerifyPackage(file, bytes.NewReader(append(bytes.Clone(good), 0))); err == nil {
		t.Error("a byte appended, and it verifies")
	}
}
