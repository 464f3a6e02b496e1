package build_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/internal/build"
	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
	"naru/test/lab/yum"
)

// rpmWorld publishes the lab's RPM distribution. The caller may change it first.
func rpmWorld(t *testing.T, d *yum.Distribution, content string) *world {
	t.Helper()
	w := &world{Writer: must(layout.NewWriter(t.TempDir()))(t), t: t}
	ok(t, d.Publish(w.Writer))
	l := must(w.Close())(t)
	w.up = must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir(), Hosts: []string{yum.Host}}))(t)
	t.Cleanup(func() { _ = w.up.Close() })
	ok(t, w.up.Add(t.Context(), l))
	w.content = w.write("content.yaml", content)
	return w
}

// yumLab builds the distribution in a folder of a short name, for gpg's socket.
func yumLab(t *testing.T) *yum.Distribution {
	t.Helper()
	dir := must(os.MkdirTemp("", "yl"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := must(yum.Build(context.Background(), dir))(t)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestRPMPackages carries packages of an RPM distribution with their closure and
// the vendor's metadata, and refuses what the vendor did not sign.
func TestRPMPackages(t *testing.T) {
	d := yumLab(t)
	w := rpmWorld(t, d, yum.Content("rpms", d.PublicKey, yum.App))
	o := w.options()
	w.run(o)
	lockFile := filepath.Join(o.OutDir, "lock.yaml")
	lock := must(manifest.DecodeLock("lock.yaml", must(os.ReadFile(lockFile))(t)))(t)
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		set := lock.PackageSet(yum.ID, platform)
		if set == nil || len(set.Packages) != 19 || len(set.Sources) != 2 {
			t.Fatalf("%s: locked %+v", platform, set)
		}
		base := set.Source("base")
		for _, f := range []string{"repodata/repomd.xml", "repodata/repomd.xml.asc"} {
			if !slices.ContainsFunc(base.Files, func(m manifest.LockedMetadata) bool { return m.Path == f }) {
				t.Errorf("%s: %s is not carried", platform, f)
			}
		}
		if base.Signer == "" || base.Date != "2025-01-01T00:00:00Z" || len(base.Files) < 6 {
			t.Errorf("%s: base is locked as %+v", platform, base)
		}
	}
	again := w.options()
	again.LockFile, again.Locked, again.CacheDir = lockFile, true, o.CacheDir
	w.closed()
	if r := w.run(again); len(w.up.Requests()) != 0 || r.Bundle == "" {
		t.Errorf("a build from lock and cache made %d requests", len(w.up.Requests()))
	}

	// A lock that says that nobody signed the metadata, so that clients would not look,
	// and one that lists a file as metadata which repomd.xml does not name.
	base := lock.PackageSet(yum.ID, "linux/amd64").Source("base")
	signer := base.Signer
	base.Signer = ""
	again.LockFile, again.OutDir = w.write("unsigned.yaml", string(must(lock.Encode())(t))), t.TempDir()
	if _, err := build.Build(t.Context(), again); err == nil || !strings.Contains(err.Error(), signer) {
		t.Errorf("a signer that the lock denies: %v", err)
	}
	base.Signer = signer
	base.Files = append(base.Files, manifest.LockedMetadata{Path: "repodata/other.xml", Digest: base.Digest, Size: base.Size})
	again.LockFile, again.OutDir = w.write("edited.yaml", string(must(lock.Encode())(t))), t.TempDir()
	if _, err := build.Build(t.Context(), again); err == nil || !strings.Contains(err.Error(), "repodata/other.xml") {
		t.Errorf("metadata that nothing vouches for: %v", err)
	}

	t.Run("refusals", func(t *testing.T) { refusals(t, d, lockFile) })
}

// refusals changes the distribution in ways that a build must not believe.
func refusals(t *testing.T, d *yum.Distribution, lockFile string) {
	other := yumKey(t)
	_, err := build.Build(t.Context(), rpmWorld(t, d, yum.Content("rpms", other, yum.App)).options())
	var signature *packages.SignatureError
	if !errors.As(err, &signature) || !strings.HasSuffix(signature.File, "repomd.xml") {
		t.Errorf("metadata of another key: %v", err)
	}
	_, err = build.Build(t.Context(), rpmWorld(t, d, yum.Content("rpms", d.PublicKey, "lab-nothing")).options())
	var unmet *packages.UnmetError
	if !errors.As(err, &unmet) || unmet.List[0].Want != "lab-nothing" {
		t.Errorf("a package that does not exist: %v", err)
	}

	// A vendor that does not sign its metadata: the packages' signatures decide.
	for _, arch := range []string{"x86_64", "aarch64"} {
		for _, repo := range []string{"base", "updates"} {
			ok(t, os.Remove(filepath.Join(d.Repository(repo, arch), "repodata/repomd.xml.asc")))
		}
	}
	// A vendor that does, and a mirror that withholds the signature.
	signed := strings.ReplaceAll(yum.Content("rpms", d.PublicKey, "lab-data"), "keyring: lab-key}", "keyring: lab-key, signed: true}")
	if _, err = build.Build(t.Context(), rpmWorld(t, d, signed).options()); !errors.As(err, &signature) || !strings.HasSuffix(signature.File, "repomd.xml") {
		t.Errorf("a signature that was withheld: %v", err)
	}
	w := rpmWorld(t, d, yum.Content("rpms", other, "lab-data"))
	if _, err = build.Build(t.Context(), w.options()); !errors.As(err, &signature) || !strings.Contains(signature.File, "lab-data") {
		t.Errorf("a package of another key: %v", err)
	}
	w = rpmWorld(t, d, yum.Content("rpms", d.PublicKey, "lab-data"))
	w.run(w.options())

	// A changed package is not what primary.xml lists; a changed repomd.xml not what
	// the lock pins.
	file := filepath.Join(d.Repository("base", "x86_64"), "Packages/lab-data-1-1.noarch.rpm")
	data := must(os.ReadFile(file))(t)
	data[len(data)-1] ^= 1
	ok(t, os.WriteFile(file, data, 0o600))
	var mismatch *mirror.MismatchError
	if _, err = build.Build(t.Context(), rpmWorld(t, d, yum.Content("rpms", d.PublicKey, "lab-data")).options()); !errors.As(err, &mismatch) {
		t.Errorf("a changed package: %v", err)
	}
	repomd := filepath.Join(d.Repository("base", "x86_64"), "repodata/repomd.xml")
	ok(t, os.WriteFile(repomd, append(must(os.ReadFile(repomd))(t), '\n'), 0o600))
	o := rpmWorld(t, d, yum.Content("rpms", d.PublicKey, "lab-app", "lab-data")).options()
	o.LockFile = lockFile
	var moved *packages.MovedSnapshotError
	if _, err = build.Build(t.Context(), o); !errors.As(err, &moved) || moved.Pinned == "" || moved.Now == "" {
		t.Errorf("a moved repomd.xml: %v", err)
	}
}

// yumKey is the public key of somebody else.
func yumKey(t *testing.T) []byte {
	t.Helper()
	dir := must(os.MkdirTemp("", "yk"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := must(yum.NewKey(context.Background(), dir))(t)
	t.Cleanup(func() { _ = d.Close() })
	return d.PublicKey
}
