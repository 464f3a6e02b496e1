package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/cli"
	"naru/pkg/sign"
	"naru/pkg/sign/attest"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// signUpstream signs the index of appRef with a key pair of upstream's and returns its
// public half.
func (w *world) signUpstream(t *testing.T, index ocispec.Descriptor) string {
	t.Helper()
	password := func(context.Context, bool) ([]byte, error) { return []byte("upstream"), nil }
	pair := must(sign.GenerateKeyPair(t.Context(), w.dir+"/upstream", password))(t)
	signer := must(sign.LoadSigner(t.Context(), pair.PrivatePath, password))(t)
	payload := must(attest.Payload(app, index.Digest))(t)
	a := must(attest.Signature(payload, must(signer.SignDetached(t.Context(), payload))(t), index.Digest, nil))(t)
	for _, b := range append(a.Blobs, a.Manifest) {
		must(w.Bytes(b.MediaType, b.Data))(t)
	}
	w.Name(layout.Image{Ref: app + ":" + a.Tag, Subject: index.Digest}, a.Manifest.Descriptor)
	return string(must(os.ReadFile(pair.PublicPath))(t))
}

// contentSignedBy is a content file with an image whose signer is stated.
func contentSignedBy(signer string) string {
	return "apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\nimages:\n  - ref: " + appRef + "\n    signedBy:\n" + signer
}

func keyOf(pem string) string {
	return "      key: |\n        " + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n        ") + "\n"
}

func TestUpstreamSignerIsChecked(t *testing.T) {
	var upstreamKey string
	w := newWorldWith(t, upstream.Options{}, func(w *world) {
		index := must(w.Multi("", []ocispec.Descriptor{w.image}))(t)
		upstreamKey = w.signUpstream(t, index)
	})
	stranger := string(must(os.ReadFile(w.newKey("stranger") + ".pub"))(t))

	w.content = w.write("stranger.yaml", contentSignedBy(keyOf(stranger)))
	expect(t, bundle(t, w.build()...), cli.ExitTrust, appRef, "none of the trusted keys", "hint: ")
	w.content = w.write("keyless.yaml", contentSignedBy("      issuer: https://issuer.test\n      identity: https://id.test\n"))
	expect(t, bundle(t, w.build()...), cli.ExitTrust, "no trusted root", "--trusted-root")
	w.content = w.write("unsigned.yaml", strings.Replace(contentSignedBy(keyOf(upstreamKey)), appRef, app+":newer", 1))
	expect(t, bundle(t, w.build()...), cli.ExitTrust, "no signature came along")

	w.content = w.write("signed.yaml", contentSignedBy(keyOf(upstreamKey)))
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatalf("signed as stated: exit code %d\n%s", o.code, o.stderr)
	}
	// Ours stands beside theirs under the one tag; the bundle verifies with both in it.
	verified := result[struct{ Signatures int }](t, bundle(t, "verify", w.out(), "--key", w.key+".pub", "--output", "json"))
	if verified.Signatures != 2 {
		t.Errorf("%d signatures, want those of index and image", verified.Signatures)
	}
}

// Planted secrets appear in nothing that a build prints or writes.
func TestSecretsAreNowhere(t *testing.T) {
	const registrySecret = "registry-token-5d41402abc4b2a76"
	w := newWorldWith(t, upstream.Options{}, func(w *world) { w.addDebian(t) })
	w.scans = true
	w.content = w.write("debian.yaml", contentOf("{ref: '"+debianRef+"'}"))
	ok(t, os.WriteFile(os.Getenv("DOCKER_CONFIG")+"/config.json", []byte(`{"auths":{"registry.other.test":{"username":"robot","password":"`+registrySecret+`"}}}`), 0o600))
	built := bundle(t, w.build("--output", "json", "--progress", "json")...)
	if built.code != 0 {
		t.Fatal(built.stderr)
	}
	scanned := bundle(t, "scan", w.out(), "--key", w.key+".pub", "--db", w.databaseLayout(t), "--cache", w.dir+"/rescan", "--output", "json")
	layoutDir := w.dir + "/layout"
	extracted := bundle(t, "extract", w.out(), "--to", layoutDir, "--key", w.key+".pub")
	for _, secret := range []string{keyPassword, registrySecret} {
		for name, o := range map[string]outcome{"build": built, "scan": scanned, "extract": extracted} {
			if o.code != 0 || strings.Contains(o.stdout+o.stderr, secret) {
				t.Errorf("%s: exit code %d, or it printed a secret\n%s", name, o.code, o.stderr)
			}
		}
		for _, dir := range []string{w.out(), layoutDir} {
			w.nowhere(t, dir, secret)
		}
	}
}

// nowhere fails for every file below dir that holds text.
func (w *world) nowhere(t *testing.T, dir, text string) {
	t.Helper()
	files := 0
	ok(t, walkFiles(dir, func(path string, data []byte) {
		files++
		if strings.Contains(string(data), text) {
			t.Errorf("%s holds a secret", path)
		}
	}))
	if files == 0 {
		t.Errorf("there is nothing in %s", dir)
	}
}

func walkFiles(dir string, f func(path string, data []byte)) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			f(path, data)
		}
		return err
	})
}
