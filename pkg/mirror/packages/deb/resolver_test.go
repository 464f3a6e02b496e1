package deb_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/opencontainers/go-digest"
	"github.com/ulikunitz/xz"
	"oras.land/oras-go/v2/errdef"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/packages"
	"naru/pkg/mirror/packages/deb"
)

// archive is a signed archive in memory; it is the packages.Files of a test.
type archive struct {
	t       *testing.T
	key     *openpgp.Entity
	files   map[string][]byte // by path
	fetched []string
}

const root = "https://deb.lab.test/debian"

func newArchive(t *testing.T) *archive {
	t.Helper()
	return &archive{t: t, key: newKey(t), files: map[string][]byte{}}
}

func newKey(t *testing.T) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("lab", "", "lab@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func armoured(t *testing.T, key *openpgp.Entity) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := armor.Encode(&buf, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(key.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func (a *archive) sign(text string, hash crypto.Hash) []byte {
	a.t.Helper()
	var buf bytes.Buffer
	w, err := clearsign.Encode(&buf, a.key.PrivateKey, &packet.Config{DefaultHash: hash})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		a.t.Fatal(err)
	}
	return buf.Bytes()
}

// publish puts a suite with one index on the archive; ext is its compression.
func (a *archive) publish(suite, index, ext string) {
	a.t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	switch ext {
	case ".xz":
		x, err := xz.NewWriter(&buf)
		if err != nil {
			a.t.Fatal(err)
		}
		w = x
	case ".gz":
		w = gzip.NewWriter(&buf)
	}
	if _, err := io.WriteString(w, index); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		a.t.Fatal(err)
	}
	path := "main/binary-amd64/Packages" + ext
	sum := digest.FromBytes(buf.Bytes())
	a.files["dists/"+suite+"/"+deb.ByHash(path, sum.Encoded())] = buf.Bytes()
	a.files["dists/"+suite+"/InRelease"] = a.sign(release(suite, sum.Encoded(), buf.Len(), path), crypto.SHA256)
}

func release(suite, sum string, size int, path string) string {
	return fmt.Sprintf("Origin: Lab\nSuite: oldstable\nCodename: %s\nDate: Sat, 11 Jul 2026 10:16:37 UTC\nAcquire-By-Hash: yes\nNo-Support-for-Architecture-all: Packages\nArchitectures: all amd64\nComponents: main\nSHA256:\n %s %d %s\n", suite, sum, size, path)
}

func (a *archive) Fetch(_ context.Context, url string, want digest.Digest) (digest.Digest, int64, error) {
	data, ok := a.files[strings.TrimPrefix(url, root+"/")]
	a.fetched = append(a.fetched, url)
	if !ok {
		return "", 0, fmt.Errorf("getting %q: %w", url, errdef.ErrNotFound)
	}
	got := digest.FromBytes(data)
	if want != "" && want != got {
		return "", 0, &mirror.MismatchError{Source: url, Want: want, Got: got}
	}
	return got, int64(len(data)), nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func (a *archive) Open(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	for _, data := range a.files {
		if digest.FromBytes(data) == d {
			return reader{bytes.NewReader(data)}, nil
		}
	}
	return nil, errdef.ErrNotFound
}

func (a *archive) request(suites ...string) packages.Request {
	spec := manifest.DistributionSpec{ID: "lab", Family: manifest.FamilyDeb, OS: "lab", Versions: []string{"1"}}
	for _, s := range suites {
		spec.Sources = append(spec.Sources, manifest.PackageSource{Name: s, URL: root, Suite: s, Sections: []string{"main"}, Keyring: "lab"})
	}
	keyring := armoured(a.t, a.key)
	return packages.Request{
		Distribution: &manifest.Distribution{DistributionSpec: spec}, Platform: "linux/amd64", Arch: "amd64",
		Keyring: func(string) ([]byte, error) { return keyring, nil },
		Roots:   []manifest.LockedRoots{{Component: "c", Names: []string{"a"}}},
	}
}

func entry(name, version string, more ...string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: pool/%s_%s.deb\nSize: 10\nSHA256: %064x\n%s\n\n",
		name, version, name, version, len(name)*1000+len(version), strings.Join(append(more, "Section: misc"), "\n"))
}

func TestResolve(t *testing.T) {
	for _, ext := range []string{".xz", ".gz"} {
		a := newArchive(t)
		a.publish("suite", entry("a", "1", "Depends: b")+entry("b", "1"), ext)
		a.publish("suite-security", entry("b", "1+s"), ext)
		req := a.request("suite", "suite-security")
		got, err := deb.Resolver{}.Resolve(t.Context(), a, req)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Packages) != 2 || len(got.Sources) != 2 || len(got.Sources[0].Files) != 2 || got.Sources[0].Date != "2026-07-11T10:16:37Z" {
			t.Errorf("%s: resolved %+v", ext, got)
		}
		for _, p := range got.Packages {
			if want := map[string]string{"a": "suite", "b": "suite-security"}[p.Name]; p.Source != want {
				t.Errorf("%s: %s comes from %q, want %q", ext, p.Name, p.Source, want)
			}
		}
		if !strings.Contains(a.fetched[1], "/by-hash/SHA256/") {
			t.Errorf("%s: the index was fetched as %s", ext, a.fetched[1])
		}
		if err := (deb.Resolver{}).Verify(t.Context(), a, req, got); err != nil {
			t.Errorf("%s: verifying: %v", ext, err)
		}
		for i, change := range []func(*manifest.LockedPackage){
			func(p *manifest.LockedPackage) { p.Digest = digest.FromString("other") },
			func(p *manifest.LockedPackage) { p.Path = "pool/other.deb" },
			func(p *manifest.LockedPackage) { p.Size++ },
			func(p *manifest.LockedPackage) {
				p.Source = "suite" + map[string]string{"suite": "-security"}[p.Source]
			},
		} {
			other := *got
			other.Packages = append([]manifest.LockedPackage(nil), got.Packages...)
			change(&other.Packages[0])
			if err := (deb.Resolver{}).Verify(t.Context(), a, req, &other); !errors.Is(err, deb.ErrNotVouchedFor) {
				t.Errorf("%s: change %d: got %v, want ErrNotVouchedFor", ext, i, err)
			}
		}
	}
}

// TestVerifyMetadata holds that a lock carries no metadata file that the vendor did not
// sign for, and all that apt asks for.
func TestVerifyMetadata(t *testing.T) {
	a := newArchive(t)
	a.publish("suite", entry("a", "1"), ".gz")
	req := a.request("suite")
	got, err := deb.Resolver{}.Resolve(t.Context(), a, req)
	if err != nil {
		t.Fatal(err)
	}
	files := got.Sources[0].Files
	forged := digest.FromString("forged")
	for name, list := range map[string][]manifest.LockedMetadata{
		"other InRelease":  {{Path: files[0].Path, Digest: forged, Size: 6}, files[1]},
		"second InRelease": {files[0], files[1], {Path: files[0].Path, Digest: forged, Size: 6}},
		"other index":      {files[0], {Path: files[1].Path, Digest: forged, Size: 6}},
		"other size":       {files[0], {Path: files[1].Path, Digest: files[1].Digest, Size: 6}},
		"not named":        {files[0], files[1], {Path: "dists/suite/main/binary-amd64/Release", Digest: forged, Size: 6}},
		"elsewhere":        {files[0], files[1], {Path: "dists/other/InRelease", Digest: files[0].Digest, Size: files[0].Size}},
		"no index":         {files[0]},
	} {
		other := *got
		other.Sources = slices.Clone(got.Sources)
		other.Sources[0].Files = list
		if err := (deb.Resolver{}).Verify(t.Context(), a, req, &other); err == nil || name != "no index" && !errors.Is(err, deb.ErrNotVouchedFor) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMovedSnapshot(t *testing.T) {
	a := newArchive(t)
	a.publish("suite", entry("a", "1"), ".gz")
	req := a.request("suite")
	first, err := deb.Resolver{}.Resolve(t.Context(), a, req)
	if err != nil {
		t.Fatal(err)
	}
	req.Pinned = first
	a.publish("suite", entry("a", "2"), ".gz")
	_, err = deb.Resolver{}.Resolve(t.Context(), a, req)
	var moved *packages.MovedSnapshotError
	if !errors.As(err, &moved) || moved.Pinned != first.Sources[0].Digest || moved.Now != digest.FromBytes(a.files["dists/suite/InRelease"]) {
		t.Errorf("got %v, want a *MovedSnapshotError with both digests", err)
	}
}

func TestUnmetNamesPlatform(t *testing.T) {
	a := newArchive(t)
	a.publish("suite", entry("b", "1"), ".gz")
	_, err := deb.Resolver{}.Resolve(t.Context(), a, a.request("suite"))
	var unmet *packages.UnmetError
	if !errors.As(err, &unmet) || len(unmet.List) != 1 || unmet.Platform != "linux/amd64" {
		t.Errorf("got %v, want an *UnmetError", err)
	}
}

// TestSignatures holds that nothing counts but one whole text, signed by the keyring's
// key with a strong hash, of the suite that was asked for.
func TestSignatures(t *testing.T) {
	a := newArchive(t)
	a.publish("suite", entry("a", "1"), ".gz")
	good := a.files["dists/suite/InRelease"]
	text := string(good)
	other := newArchive(t)
	sum := digest.FromString("x").Encoded()
	signatureAt := strings.Index(text, "-----BEGIN PGP SIGNATURE")
	for name, data := range map[string][]byte{
		"changed text":     []byte(strings.Replace(text, "Origin: Lab", "Origin: Lub", 1)),
		"changed checksum": []byte(strings.Replace(text, "\n ", "\n 0", 1)),
		"text in front":    []byte("Origin: Lab\n" + text),
		"text behind":      []byte(text + "\nOrigin: Lab\n"),
		"two texts":        append(bytes.Clone(good), good...),
		"no signature":     []byte(text[:signatureAt]),
		"not signed":       []byte(release("suite", sum, 1, "main/binary-amd64/Packages.gz")),
		"empty":            nil,
		"by another key":   other.sign(release("suite", sum, 1, "main/binary-amd64/Packages.gz"), crypto.SHA256),
	} {
		a.files["dists/suite/InRelease"] = data
		_, err := deb.Resolver{}.Resolve(t.Context(), a, a.request("suite"))
		var signature *packages.SignatureError
		if !errors.As(err, &signature) || signature.Keyring != "lab" {
			t.Errorf("%s: got %v, want a *SignatureError", name, err)
		}
	}
	// Another suite of the same vendor, signed as it should be.
	a.files["dists/suite/InRelease"] = a.sign(release("other", sum, 1, "main/binary-amd64/Packages.gz"), crypto.SHA256)
	if _, err := (deb.Resolver{}).Resolve(t.Context(), a, a.request("suite")); err == nil || !strings.Contains(err.Error(), `codename "other"`) {
		t.Errorf("another suite: got %v", err)
	}
}

// TestWeakHash signs with SHA-1, as gpg still does when told to.
func TestWeakHash(t *testing.T) {
	home, err := os.MkdirTemp("", "gh") // short, for gpg's socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	gpg := func(stdin string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--no-tty", "--quiet", "--passphrase", ""}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v: %s", args, err, stderr.String())
		}
		return out
	}
	t.Cleanup(func() { _ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	gpg("", "--quick-generate-key", "lab", "rsa2048", "sign", "never")
	keyring := gpg("", "--armor", "--export", "lab")
	text := release("suite", digest.FromString("x").Encoded(), 1, "main/binary-amd64/Packages.gz")
	for hash, want := range map[string]error{"SHA256": nil, "SHA512": nil, "SHA1": deb.ErrWeakHash} {
		signed := gpg(text, "--digest-algo", hash, "--clearsign")
		if _, err := deb.ReadRelease(signed, keyring); !errors.Is(err, want) {
			t.Errorf("a signature over %s: got %v, want %v", hash, err, want)
		}
	}
}

// TestExpiredKey holds that a key must be valid when naru looks, as apt holds it.
func TestExpiredKey(t *testing.T) {
	a := newArchive(t)
	past := func() time.Time { return time.Now().Add(-48 * time.Hour) }
	key, err := openpgp.NewEntity("lab", "", "lab@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: past, KeyLifetimeSecs: 3600})
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	if _, err := deb.ReadRelease(a.sign(release("suite", digest.FromString("x").Encoded(), 1, "p"), crypto.SHA256), armoured(t, key)); err == nil {
		t.Error("a signature of an expired key was taken")
	}
}

func TestMalformedRelease(t *testing.T) {
	a := newArchive(t)
	sum := digest.FromString("x").Encoded()
	good := release("suite", sum, 1, "main/binary-amd64/Packages.gz")
	for name, text := range map[string]string{
		"no checksums":       good[:strings.Index(good, "SHA256")],
		"MD5 alone":          strings.Replace(good, "SHA256:", "MD5Sum:", 1),
		"traversal":          strings.Replace(good, "main/binary", "../main/binary", 1),
		"short checksum":     strings.Replace(good, "\n "+sum, "\n "+sum[:60], 1),
		"size":               strings.Replace(good, " 1 main", " -1 main", 1),
		"two for one":        good + " " + digest.FromString("y").Encoded() + " 1 main/binary-amd64/Packages.gz\n",
		"two paragraphs":     good + "\nA: b\n",
		"no date":            strings.Replace(good, "Date:", "Datum:", 1),
		"checksum and extra": good + " " + sum + " 1 a b\n",
	} {
		if _, err := deb.ReadRelease(a.sign(text, crypto.SHA256), armoured(t, a.key)); !errors.Is(err, deb.ErrRelease) {
			t.Errorf("%s: got %v, want ErrRelease", name, err)
		}
	}
}
