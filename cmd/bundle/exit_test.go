package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/cli"
	"naru/test/lab/upstream"
)

// expect checks exit code and standard error of a run that fails: one clear error
// with a hint where the code has one, nothing on standard output.
func expect(t *testing.T, o outcome, code int, says ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s", o.code, code, o.stderr)
	}
	if !strings.Contains(o.stderr, "error: ") {
		t.Errorf("no error on standard error:\n%s", o.stderr)
	}
	if strings.Contains(o.stderr, "goroutine ") {
		t.Errorf("a stack:\n%s", o.stderr)
	}
	if o.stdout != "" {
		t.Errorf("a run that failed wrote a result: %s", o.stdout)
	}
	for _, s := range says {
		if !strings.Contains(o.stderr, s) {
			t.Errorf("%q is not said:\n%s", s, o.stderr)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	for name, args := range map[string][]string{
		"unknown command":       {"bake"},
		"unknown subcommand":    {"releases", "bake"},
		"unknown flag":          {"build", "--bake"},
		"unknown profile":       w.args("build", w.content, "--unsigned", "--no-installer", "--profile", "none"),
		"unknown release":       {"build", "--release", "none", "--unsigned", "--no-installer"},
		"nothing to build":      {"build", "--unsigned"},
		"neither key nor not":   w.args("build", w.content, "--no-installer"),
		"key and not":           w.build("--unsigned"),
		"no jobs":               w.build("-j", "0"),
		"bad size":              w.build("--volume-size", "big"),
		"tiny volumes":          w.build("--volume-size", "1000"),
		"bad map":               w.build("--registry-map", "nonsense"),
		"bad progress":          w.build("--progress", "loud"),
		"bad output":            w.build("--output", "xml"),
		"verify nothing":        {"verify"},
		"diff of one":           {"diff", w.dir},
		"extract to nowhere":    {"extract", w.dir},
		"too many for releases": {"releases", "list", "x"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, bundle(t, args...), cli.ExitUsage, "hint: ") })
	}
	expect(t, bundle(t, "build", "--release", "none", "--unsigned", "--no-installer"), cli.ExitUsage, "bundle releases list")
}

func TestDocumentErrorsNameFileAndLine(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	bad := w.write("bad.yaml", "apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\nimagez: []\nimages: [{ref: nginx}]\n")
	expect(t, bundle(t, w.args("build", bad, "--unsigned", "--no-installer")...), cli.ExitDocument, "bad.yaml:5", "imagez")
	lock := w.write("lock.yaml", "apiVersion: naru/v1\nkind: Lock\nrelease: small\nimages:\n  - ref: "+appRef+"\n    digest: sha256:abc\n")
	expect(t, bundle(t, w.build("--lock", lock)...), cli.ExitDocument, "lock.yaml:6")
	newer := w.write("newer.yaml", strings.Replace(contentOf(""), "naru/v1", "naru/v2", 1))
	expect(t, bundle(t, w.args("build", newer, "--unsigned", "--no-installer")...), cli.ExitVersion, "hint: ", "naru/v2")
}

func TestPinErrors(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	expect(t, bundle(t, w.build("--locked")...), cli.ExitPin, appRef, "site/tool", "hint: ")
	expect(t, bundle(t, w.build("--platform", "linux/arm64")...), cli.ExitPin, "linux/arm64", "linux/amd64", "hint: ")

	lock := filepath.Join(w.dir, "lock.yaml")
	if o := bundle(t, w.args("lock", w.content, "--out", lock)...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	text := string(must(os.ReadFile(lock))(t))
	ok(t, w.up.SetTag(app, "1.0", w.newer.Digest.String()))
	ok(t, os.RemoveAll(filepath.Join(w.dir, "cache")))
	o := bundle(t, w.build("--lock", lock)...)
	expect(t, o, cli.ExitPin, w.newer.Digest.String(), "the tag moved", "hint: ")
	_, pinned, _ := strings.Cut(text, "digest: ")
	pinned, _, _ = strings.Cut(pinned, "\n")
	if !strings.Contains(o.stderr, pinned) {
		t.Errorf("the pinned digest %s is not named:\n%s", pinned, o.stderr)
	}
	// And the way out that the hint shows.
	if o := bundle(t, w.args("lock", w.content, "--lock", lock, "--update", appRef, "--out", lock)...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if o := bundle(t, w.build("--lock", lock, "--locked")...); o.code != 0 {
		t.Fatal(o.stderr)
	}
}

func TestChecksumMismatch(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	const zero = "0000000000000000000000000000000000000000000000000000000000000000"
	pinned := w.write("content.yaml", "apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\n"+
		"files: [{name: tool, version: '1', sources: [{url: 'https://dl.lab.test/tool.tgz', sha256: '"+zero+"'}]}]\n")
	expect(t, bundle(t, w.args("build", pinned, "--unsigned", "--no-installer", "--out", w.out())...),
		cli.ExitIntegrity, "expected sha256:"+zero, "got sha256:", "https://dl.lab.test/tool.tgz", "hint: ")
}

func TestNetworkErrors(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	for name, status := range map[string]int{"forbidden": 403, "unauthorized": 401, "no such image": 404} {
		t.Run(name, func(t *testing.T) {
			ok(t, w.up.Inject(upstream.Fault{Kind: upstream.Status, Status: status, Match: upstream.Match{Path: "/manifests/"}}))
			defer w.up.ClearFaults()
			expect(t, bundle(t, w.build()...), cli.ExitNetwork, appRef, "hint: ")
		})
	}
}

func TestNoSpace(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	huge := w.write("huge.yaml", contentOf("{ref: 'ghcr.io/naru/huge:1'}"))
	expect(t, bundle(t, w.args("build", huge, "--unsigned", "--no-installer", "--out", w.out())...), cli.ExitSpace, "needed", "free", "hint: ")
}

func TestKeyErrors(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	t.Setenv("COSIGN_PASSWORD", "wrong")
	expect(t, bundle(t, w.build()...), cli.ExitTrust, "password", "hint: ")
	t.Setenv("COSIGN_PASSWORD", keyPassword)
	expect(t, bundle(t, w.build("--key", w.content)...), cli.ExitTrust, "hint: ")
	expect(t, bundle(t, "keygen", "--out-prefix", w.key), cli.ExitError, w.key+".key")
}

func TestInterrupted(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := bundleIn(ctx, w.build()...)
	if o.code != cli.ExitInterrupted || !strings.Contains(o.stderr, "run the same command again") {
		t.Errorf("exit code %d\n%s", o.code, o.stderr)
	}
}

func TestVerifyRefusals(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	pub := w.key + ".pub"
	if o := bundle(t, "verify", w.out(), "--key", pub); o.code != 0 || !strings.Contains(o.stdout, "every byte is what was signed") {
		t.Fatalf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	expect(t, bundle(t, "verify", w.out()), cli.ExitTrust, "hint: ")
	expect(t, bundle(t, "verify", w.out(), "--key", w.newKey("other")+".pub"), cli.ExitTrust, "hint: ")
	expect(t, bundle(t, "verify", t.TempDir(), "--key", pub), cli.ExitIntegrity, "hint: ")

	volume := w.volume()
	good := must(os.ReadFile(volume))(t)
	bad := append([]byte(nil), good...)
	bad[len(bad)/2] ^= 4
	ok(t, os.WriteFile(volume, bad, 0o600))
	expect(t, bundle(t, "verify", w.out(), "--key", pub), cli.ExitIntegrity, filepath.Base(volume), "blobs/sha256/", "hint: ")
	ok(t, os.WriteFile(volume, good[:len(good)/2], 0o600))
	expect(t, bundle(t, "verify", w.out(), "--key", pub), cli.ExitIntegrity, filepath.Base(volume))
	ok(t, os.WriteFile(volume, good, 0o600))

	two := w.write("two.yaml", contentOf("{ref: '"+appRef+"'}, {ref: '"+app+":newer'}"))
	out := filepath.Join(w.dir, "two")
	if o := bundle(t, w.args("build", two, "--key", w.key+".key", "--no-installer", "--out", out, "--volume-size", "400KB")...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	list := must(filepath.Glob(filepath.Join(out, "*.tar.zst")))(t)
	if len(list) < 2 {
		t.Fatalf("volumes: %v, want two at least", list)
	}
	ok(t, os.Remove(list[len(list)-1]))
	expect(t, bundle(t, "verify", out, "--key", pub), cli.ExitIntegrity, fmt.Sprintf("missing volume %d of %d", len(list), len(list)), "hint: ")
}
