package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/test/lab/upstream"
)

func TestFromReleaseToLayout(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	lock := filepath.Join(w.dir, "lock.yaml")
	if o := bundle(t, w.args("lock", w.content, "--out", lock)...); o.code != 0 || o.stdout != "" {
		t.Fatalf("lock: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	plan := result[build.Result](t, bundle(t, w.build("--lock", lock, "--locked", "--dry-run", "--output", "json")...))
	if !plan.DryRun || plan.Fetched == 0 {
		t.Errorf("dry run: %+v", plan)
	}
	if _, err := os.Stat(w.out()); err == nil {
		t.Error("the dry run made the folder")
	}
	first := result[build.Result](t, bundle(t, w.build("--lock", lock, "--locked", "--output", "json")...))
	if first.UpToDate || !first.Signed || first.Images != 1 || first.Files != 1 {
		t.Errorf("build: %+v", first)
	}

	// From here on there is no internet, and no password.
	ok(t, w.up.Close())
	w.up.ResetRequests()
	t.Setenv("COSIGN_PASSWORD", "not needed")
	again := result[build.Result](t, bundle(t, w.build("--lock", lock, "--locked", "--output", "json")...))
	if !again.UpToDate || again.Bundle != first.Bundle || len(w.up.Requests()) != 0 {
		t.Errorf("the second build: %+v, %d requests", again, len(w.up.Requests()))
	}

	trust := []string{"--key", w.key + ".pub", "--output", "json"}
	verified := result[struct {
		Bundle, SignedBy string
		Blobs            int
	}](t, bundle(t, append([]string{"verify", w.out()}, trust...)...))
	if verified.Bundle != first.Bundle || verified.SignedBy != first.Fingerprint || verified.Blobs != first.Blobs {
		t.Errorf("verify: %+v, built %+v", verified, first)
	}
	kinds := map[string]int{}
	for _, a := range result[[]listed](t, bundle(t, append([]string{"list", w.volume()}, trust...)...)) {
		kinds[string(a.Kind)]++
	}
	if diff := cmp.Diff(map[string]int{"image": 1, "referrer": 1, "file": 1}, kinds); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if o := bundle(t, append([]string{"inspect", w.out()}, trust...)...); o.code != 0 || !strings.Contains(o.stdout, first.Bundle) {
		t.Errorf("inspect: %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	d := result[difference](t, bundle(t, append([]string{"diff", w.out(), w.volume()}, trust...)...))
	if len(d.Changes) != 0 || d.NewBlobs != 0 {
		t.Errorf("a bundle differs from itself: %+v", d)
	}
	to := filepath.Join(w.dir, "layout")
	if o := bundle(t, append([]string{"extract", w.out(), "--to", to}, trust...)...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	for _, name := range []string{"index.json", "oci-layout", "lock.yaml", "blobs/sha256/" + w.image.Digest.Encoded()} {
		if _, err := os.Stat(filepath.Join(to, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestDiffOfTwoBundles(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	ok(t, w.up.SetTag(app, "1.0", w.newer.Digest.String()))
	other := filepath.Join(w.dir, "other")
	if o := bundle(t, w.build("--fresh", "--out", other)...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	d := result[difference](t, bundle(t, "diff", w.out(), other, "--key", w.key+".pub", "--output", "json"))
	var changed []string
	for _, c := range d.Changes {
		changed = append(changed, c.Change+" "+c.Kind)
	}
	if diff := cmp.Diff([]string{"changed image", "removed referrer"}, changed); diff != "" || d.NewBlobs == 0 || d.NewBytes < 300_000 {
		t.Errorf("%+v (-want +got):\n%s", d, diff)
	}
}

func TestReplaceAndForeignFiles(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	if o := bundle(t, w.build()...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	note := filepath.Join(w.out(), "approval.txt")
	ok(t, os.WriteFile(note, []byte("approved"), 0o600))
	smaller := w.write("smaller.yaml", contentOf("{ref: '"+app+":newer'}"))
	args := w.args("build", smaller, "--key", w.key+".key", "--no-installer", "--out", w.out())
	expect(t, bundle(t, args...), cli.ExitError, "holds another bundle, sha256:", "hint: ", "--replace")
	if o := bundle(t, "verify", w.out(), "--key", w.key+".pub"); o.code != 0 {
		t.Errorf("a refused build harmed the bundle that was there:\n%s", o.stderr)
	}
	if o := bundle(t, append(args, "--replace")...); o.code != 0 {
		t.Fatal(o.stderr)
	}
	if got := string(must(os.ReadFile(note))(t)); got != "approved" {
		t.Errorf("a foreign file is now %q", got)
	}
	if o := bundle(t, "verify", w.out(), "--key", w.key+".pub"); o.code != 0 {
		t.Error(o.stderr)
	}
}

func TestUnsignedIsSaid(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	o := bundle(t, w.args("build", w.content, "--unsigned", "--no-installer", "--out", w.out())...)
	if o.code != 0 || !strings.Contains(o.stdout, "NO: install refuses this bundle") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	expect(t, bundle(t, "verify", w.out(), "--key", w.key+".pub"), cli.ExitTrust)
	o = bundle(t, "verify", w.out(), "--insecure-skip-verify")
	if o.code != 0 || !strings.Contains(o.stderr, "WARNING") || !strings.Contains(o.stdout, "NOT CHECKED") {
		t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// progressEvents parses standard error of a run with --progress json.
func progressEvents(t *testing.T, stderr string) {
	t.Helper()
	last := map[string]struct{ Done, Total int64 }{}
	closed := false
	for line := range strings.Lines(stderr) {
		var e struct {
			Event, Step string
			Done, Total int64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if closed {
			t.Errorf("an event after the last one: %q", line)
		}
		closed = e.Event == "close"
		if e.Event == "start" {
			delete(last, e.Step)
		}
		if was := last[e.Step]; e.Step != "" && (e.Done < was.Done || e.Total < was.Total) {
			t.Errorf("backwards: %q after %+v", line, was)
		}
		last[e.Step] = struct{ Done, Total int64 }{e.Done, e.Total}
	}
	if !closed {
		t.Error("no close event")
	}
}

func TestProgressIsJSON(t *testing.T) {
	w := newWorld(t, upstream.Options{})
	ok(t, w.up.Inject(upstream.Fault{Kind: upstream.Reset, After: 100_000, Match: upstream.Match{Path: "/blobs/"}, When: upstream.When{Times: 2}}))
	o := bundle(t, w.build("--progress", "json")...)
	if o.code != 0 {
		t.Fatal(o.stderr)
	}
	progressEvents(t, o.stderr)
	o = bundle(t, "verify", w.out(), "--key", w.key+".pub", "--progress", "json")
	if o.code != 0 {
		t.Fatal(o.stderr)
	}
	progressEvents(t, o.stderr)
}

// TestSecretsGoNowhere plants secrets where users keep them, has builds end well
// and badly, and looks for them in everything that was said and written.
func TestSecretsGoNowhere(t *testing.T) {
	const user, secret, mapSecret = "robot", "s3cret-of-the-registry-71c4", "s3cret-in-a-map-88d1"
	for _, scheme := range []upstream.Scheme{upstream.Basic, upstream.Bearer} {
		t.Run(string(scheme), func(t *testing.T) {
			w := newWorld(t, upstream.Options{Credentials: map[string]upstream.Credential{"ghcr.io": {Scheme: scheme, Username: user, Password: secret}}})
			login := func(password string) {
				auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
				data := must(json.Marshal(map[string]any{"auths": map[string]any{w.up.Addr(): map[string]string{"auth": auth}}}))(t)
				ok(t, os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), data, 0o600))
			}
			var said []outcome
			login(secret)
			built := bundle(t, w.build("--progress", "json")...)
			if built.code != 0 {
				t.Fatal(built.stderr)
			}
			said = append(said, built, bundle(t, w.build("--output", "json", "--progress", "plain")...))
			said = append(said, bundle(t, w.args("lock", w.content)...), bundle(t, "inspect", w.out(), "--key", w.key+".pub", "--output", "json"))
			to := filepath.Join(w.dir, "layout")
			said = append(said, bundle(t, "extract", w.out(), "--key", w.key+".pub", "--to", to))

			login("wrong-" + secret)
			ok(t, os.RemoveAll(filepath.Join(w.dir, "cache")))
			refused := bundle(t, w.build("--progress", "json", "--fresh")...)
			expect(t, refused, cli.ExitNetwork)
			login(secret)
			ok(t, w.up.Inject(upstream.Fault{Kind: upstream.Status, Status: 500, Match: upstream.Match{Path: "/blobs/"}, When: upstream.When{Times: 1}}))
			said = append(said, refused, bundle(t, w.build("--progress", "json")...))
			mapped := bundle(t, w.build("--registry-map", "quay.io="+user+":"+mapSecret+"@mirror.site/x")...)
			expect(t, mapped, cli.ExitUsage, "credentials")
			said = append(said, mapped)

			secrets := []string{secret, mapSecret, keyPassword, base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))}
			for i, o := range said {
				for _, s := range secrets {
					if strings.Contains(o.stdout+o.stderr, s) {
						t.Errorf("run %d says %q:\n%s%s", i, s, o.stdout, o.stderr)
					}
				}
			}
			ok(t, filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := os.ReadFile(path)
				for _, s := range secrets {
					if strings.Contains(path, s) || bytes.Contains(data, []byte(s)) {
						t.Errorf("%q is in %s", s, path)
					}
				}
				return err
			}))
		})
	}
}
