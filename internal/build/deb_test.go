package build_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"naru/internal/build"
	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
	"naru/pkg/mirror/packages/deb"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// debArchive is a signed archive of two packages, tool and the lib that it needs.
type debArchive struct {
	key     *openpgp.Entity
	version string                       // of tool
	change  map[string][]byte            // files served in the place of others, by path
	made    map[string]map[string][]byte // by version: signatures have a time
}

func newDebArchive(t *testing.T) *debArchive {
	t.Helper()
	return &debArchive{key: must(openpgp.NewEntity("lab", "", "lab@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}))(t), version: "1", change: map[string][]byte{}, made: map[string]map[string][]byte{}}
}

// files are those of the archive by path.
func (a *debArchive) files(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if made := a.made[a.version]; made != nil {
		maps.Copy(out, made)
		maps.Copy(out, a.change)
		return out
	}
	var index strings.Builder
	for _, p := range [][3]string{{"tool", a.version, "Depends: lib (>= 1)"}, {"lib", "1+x~1", "Section: libs"}} {
		path, data := fmt.Sprintf("pool/%s_%s.deb", p[0], p[1]), []byte("!<arch>\ndebian-binary "+p[0]+p[1])
		out[path] = data
		_, _ = fmt.Fprintf(&index, "Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: %s\nSize: %d\nSHA256: %x\n%s\n\n", p[0], p[1], path, len(data), sha256.Sum256(data), p[2])
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	must(io.WriteString(z, index.String()))(t)
	ok(t, z.Close())
	out["dists/s/main/binary-amd64/Packages.gz"] = packed.Bytes()
	var signed bytes.Buffer
	w := must(clearsign.Encode(&signed, a.key.PrivateKey, nil))(t)
	must(fmt.Fprintf(w, "Codename: s\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d main/binary-amd64/Packages.gz\n", sha256.Sum256(packed.Bytes()), packed.Len()))(t)
	ok(t, w.Close())
	out["dists/s/InRelease"] = signed.Bytes()
	a.made[a.version] = out
	return a.files(t)
}

// world publishes the archive and a content file that asks for tool.
func (a *debArchive) world(t *testing.T) *world {
	t.Helper()
	w := &world{Writer: must(layout.NewWriter(t.TempDir()))(t), t: t}
	for path, data := range a.files(t) {
		must(w.File("https://deb.lab.test/d/"+strings.ReplaceAll(strings.ReplaceAll(path, "+", "%2B"), "~", "%7E"), func(to io.Writer) error { _, err := to.Write(data); return err }))(t)
	}
	l := must(w.Close())(t)
	w.up = must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir(), Hosts: []string{"deb.lab.test"}}))(t)
	t.Cleanup(func() { _ = w.up.Close() })
	ok(t, w.up.Add(t.Context(), l))
	var key bytes.Buffer
	armoured := must(armor.Encode(&key, openpgp.PublicKeyType, nil))(t)
	ok(t, errors.Join(a.key.Serialize(armoured), armoured.Close()))
	w.content = w.write("content.yaml", `apiVersion: naru/v1
kind: Content
name: debs
platforms: [linux/amd64]
distributions: [lab]
systems:
  - {id: lab, family: deb, os: lab, versions: ["1"], sources: [{name: main, url: "https://deb.lab.test/d", suite: s, sections: [main], keyring: lab}]}
keyrings:
  lab: |
    `+strings.ReplaceAll(strings.TrimSpace(key.String()), "\n", "\n    ")+`
packages:
  - names: [tool]
`)
	return w
}

// TestDebPackages carries packages of an archive, by the lock without the network.
func TestDebPackages(t *testing.T) {
	a := newDebArchive(t)
	w := a.world(t)
	dry := w.options()
	dry.DryRun = true
	if r := w.run(dry); r.Packages != 2 || r.NeededCache < 50 {
		t.Errorf("the forecast is %+v", r)
	}
	o := w.options()
	o.CacheDir = dry.CacheDir
	if r := w.run(o); r.Packages != 2 {
		t.Errorf("built %+v", r)
	}
	lockFile := filepath.Join(o.OutDir, "lock.yaml")
	lock := must(manifest.DecodeLock("lock.yaml", must(os.ReadFile(lockFile))(t)))(t)
	set := lock.PackageSet("lab", "linux/amd64")
	if set == nil || len(set.Packages) != 2 || set.PinnedBy != manifest.PinnedByBuild || set.Sources[0].Signer == "" || len(set.Sources[0].Files) != 2 {
		t.Fatalf("locked %+v", set)
	}
	again := w.options()
	again.LockFile, again.Locked, again.CacheDir = lockFile, true, o.CacheDir
	w.closed()
	if r := w.run(again); len(w.up.Requests()) != 0 || r.Bundle == "" {
		t.Errorf("a build from lock and cache made %d requests", len(w.up.Requests()))
	}
}

// TestDebRefusals changes archive and lock in ways that a build must not believe.
func TestDebRefusals(t *testing.T) {
	a := newDebArchive(t)
	w := a.world(t)
	o := w.options()
	w.run(o)
	lockFile := filepath.Join(o.OutDir, "lock.yaml")
	locked := func(w *world, lock string) build.Options {
		o := w.options()
		o.LockFile, o.Locked = lock, lock != ""
		return o
	}

	unpinned := w.options()
	unpinned.Locked = true
	var missing *build.UnpinnedError
	if _, err := build.Build(t.Context(), unpinned); !errors.As(err, &missing) || missing.Names[0] != "packages of lab for linux/amd64" {
		t.Errorf("--locked without a lock: %v", err)
	}

	a.version = "2"
	var moved *packages.MovedSnapshotError
	if _, err := build.Build(t.Context(), locked(a.world(t), lockFile)); !errors.As(err, &moved) || moved.Source != "main" || moved.Pinned == moved.Now {
		t.Errorf("a snapshot that moved: %v", err)
	}
	a.version = "1"

	// A lock that pins something the vendor never listed, which the archive serves.
	text := string(must(os.ReadFile(lockFile))(t))
	forged := []byte("!<arch>\ndebian-binary evil1")
	real := a.files(t)["pool/tool_1.deb"]
	bad := w.write("forged.yaml", strings.ReplaceAll(text, fmt.Sprintf("%x", sha256.Sum256(real)), fmt.Sprintf("%x", sha256.Sum256(forged))))
	if len(forged) != len(real) {
		t.Fatal("the forged package is of another size")
	}
	a.change["pool/tool_1.deb"] = forged
	if _, err := build.Build(t.Context(), locked(a.world(t), bad)); !errors.Is(err, deb.ErrNotVouchedFor) {
		t.Errorf("a lock that the signed index does not bear out: %v", err)
	}
	var mismatch *mirror.MismatchError
	if _, err := build.Build(t.Context(), locked(a.world(t), lockFile)); !errors.As(err, &mismatch) {
		t.Errorf("a changed package: %v", err)
	}
}
