package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/internal/build"
	"naru/internal/cache"
	"naru/internal/cli"
	"naru/pkg/mirror/store"
	"naru/test/lab/upstream"
)

// cacheWorld is a world with two bundles built out of one cache: the world's own, and
// one of a newer image.
type cacheWorld struct {
	*world
	newerContent, other string
}

func newCacheWorld(t *testing.T) *cacheWorld {
	t.Helper()
	w := &cacheWorld{world: newWorld(t, upstream.Options{})}
	w.other = filepath.Join(w.dir, "other")
	w.newerContent = w.write("newer.yaml", contentOf("{ref: '"+app+":newer'}"))
	for _, args := range [][]string{w.build(), w.buildNewer(w.other)} {
		if o := bundle(t, args...); o.code != 0 {
			t.Fatal(o.stderr)
		}
	}
	return w
}

func (w *cacheWorld) cache() string { return filepath.Join(w.dir, "cache") }

func (w *cacheWorld) buildNewer(out string, more ...string) []string {
	return w.args("build", w.newerContent, append([]string{"--key", w.key + ".key", "--no-installer", "--out", out}, more...)...)
}

func (w *cacheWorld) holds(d digest.Digest) bool {
	_, err := os.Stat(filepath.Join(w.cache(), "blobs", "sha256", d.Encoded()))
	return err == nil
}

// prune runs bundle cache prune and returns what it says.
func (w *cacheWorld) prune(args ...string) cache.PruneResult {
	w.t.Helper()
	return result[cache.PruneResult](w.t, bundle(w.t, append([]string{"cache", "prune", "--cache", w.cache(), "--output", "json"}, args...)...))
}

// onlyNewer holds that the cache has what the newer bundle is built of and nothing of
// the older: without the network the one builds again and the other does not.
func (w *cacheWorld) onlyNewer() {
	w.t.Helper()
	if w.holds(w.image.Digest) || !w.holds(w.newer.Digest) {
		w.t.Errorf("the older image is there: %v, the newer one: %v", w.holds(w.image.Digest), w.holds(w.newer.Digest))
	}
	ok(w.t, w.up.Close())
	w.up.ResetRequests()
	again := result[build.Result](w.t, bundle(w.t, w.buildNewer(filepath.Join(w.dir, "again"), "--lock", filepath.Join(w.other, "lock.yaml"), "--locked", "--output", "json")...))
	if again.Fetched != 0 || len(w.up.Requests()) != 0 {
		w.t.Errorf("the kept bundle: %d bytes fetched, %d requests", again.Fetched, len(w.up.Requests()))
	}
	expect(w.t, bundle(w.t, w.build("--out", filepath.Join(w.dir, "gone"))...), cli.ExitNetwork)
}

func TestCachePruneKeepsWhatALockNames(t *testing.T) {
	w := newCacheWorld(t)
	info := result[cache.Info](t, bundle(t, "cache", "info", "--cache", w.cache(), "--output", "json"))
	if info.Blobs.Files < 8 || info.Blobs.Bytes < 600_000 || info.Total < info.Blobs.Bytes || info.Pins.Files != 2 || info.Signatures.Files == 0 {
		t.Errorf("info: %+v", info)
	}
	would := w.prune("--keep-lock", w.other, "--dry-run")
	if !would.DryRun || !w.holds(w.image.Digest) {
		t.Errorf("a dry run removed something: %+v", would)
	}
	did := w.prune("--keep-lock", filepath.Join(w.other, "lock.yaml"))
	if did.Removed != would.Removed || did.Kept != would.Kept || did.Freed < 300_000 || did.Kept.Blobs.Files < 3 || did.Removed.Pins.Files != 0 {
		t.Errorf("prune: %+v, the dry run said %+v", did, would)
	}
	if more := w.prune("--keep-lock", w.other); more.Freed != 0 {
		t.Errorf("a second prune frees %d bytes", more.Freed)
	}
	w.onlyNewer()
}

func TestCachePruneByAge(t *testing.T) {
	w := newCacheWorld(t)
	then := time.Now().Add(-60 * 24 * time.Hour)
	ok(t, filepath.WalkDir(w.cache(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	}))
	if o := bundle(t, w.buildNewer(w.other)...); o.code != 0 { // up to date, and a use
		t.Fatal(o.stderr)
	}
	did := w.prune("--older-than", "30d")
	if did.Removed.Pins.Files != 1 || did.Kept.Pins.Files != 1 || did.Removed.Signatures.Files == 0 || did.Kept.Signatures.Files == 0 {
		t.Errorf("beside the store: removed %+v, kept %+v", did.Removed, did.Kept)
	}
	w.onlyNewer()
}

func TestCachePruneAll(t *testing.T) {
	w := newCacheWorld(t)
	expect(t, bundle(t, "cache", "prune", "--cache", w.cache(), "--all=false"), cli.ExitUsage, "nothing says what stays")
	if did := w.prune("--all"); did.Kept.Bytes() != 0 || did.Freed == 0 {
		t.Errorf("prune --all: %+v", did)
	}
	if o := bundle(t, w.build("--out", filepath.Join(w.dir, "anew"))...); o.code != 0 {
		t.Errorf("a build out of the empty cache: %s", o.stderr)
	}
}

// TestCacheInUse holds that a cache is not pruned under a build, nor built from while it
// is pruned.
func TestCacheInUse(t *testing.T) {
	w := newCacheWorld(t)
	used := must(store.Open(w.cache()))(t)
	expect(t, bundle(t, "cache", "prune", "--cache", w.cache(), "--all"), cli.ExitLocked, "in use", "hint: ")
	if !w.holds(w.image.Digest) {
		t.Error("blobs were removed under a build")
	}
	if would := w.prune("--all", "--dry-run"); would.Freed == 0 {
		t.Error("a dry run beside a build found nothing")
	}
	ok(t, used.Close())
	scanning := must(store.Hold(cache.ScanDir(w.cache())))(t)
	expect(t, bundle(t, "cache", "prune", "--cache", w.cache(), "--all"), cli.ExitLocked, "in use")
	ok(t, scanning.Close())
	pruning := must(store.OpenWith(w.cache(), store.Options{Alone: true}))(t)
	expect(t, bundle(t, w.build()...), cli.ExitLocked, "in use", "hint: ")
	ok(t, pruning.Close())
}

func TestCacheVerify(t *testing.T) {
	w := newCacheWorld(t)
	args := []string{"cache", "verify", "--cache", w.cache(), "--output", "json"}
	v := result[cache.Verified](t, bundle(t, args...))
	if v.Blobs < 8 || v.Bytes < 600_000 || len(v.Damaged) != 0 {
		t.Errorf("verify: %+v", v)
	}
	path := filepath.Join(w.cache(), "blobs", "sha256", w.image.Digest.Encoded())
	data := must(os.ReadFile(path))(t)
	data[len(data)/2] ^= 1
	ok(t, os.WriteFile(path, data, 0o600))
	found := bundle(t, args...)
	if found.code != cli.ExitIntegrity || !strings.Contains(found.stderr, "hint: ") || !strings.Contains(found.stdout, w.image.Digest.String()) {
		t.Errorf("verify of a damaged cache: %+v", found)
	}
	if w.holds(w.image.Digest) {
		t.Error("the damaged blob is still there")
	}
	if v := result[cache.Verified](t, bundle(t, args...)); len(v.Damaged) != 0 {
		t.Errorf("verified again: %+v", v)
	}
}

// TestCacheOfSomethingElse holds that a folder is left alone that no build made.
func TestCacheOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "pins", "mine")
	ok(t, os.MkdirAll(filepath.Dir(mine), 0o700))
	ok(t, os.WriteFile(mine, []byte("mine"), 0o600))
	for _, args := range [][]string{{"info"}, {"verify"}, {"prune", "--all"}} {
		expect(t, bundle(t, append([]string{"cache", "--cache", dir}, args...)...), cli.ExitUsage)
		expect(t, bundle(t, append(append([]string{"cache"}, args...), "--cache", dir)...), cli.ExitUsage, "no build has made it")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
	for _, args := range [][]string{{}, {"--all", "--older-than", "30d"}, {"--older-than", "soon"}, {"--older-than", "-1d"}} {
		expect(t, bundle(t, append([]string{"cache", "prune", "--cache", dir}, args...)...), cli.ExitUsage)
	}
}
