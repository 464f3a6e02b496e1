package cache_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/cache"
	"naru/manifest"
	"naru/pkg/mirror/store"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
	ok(t, os.WriteFile(path, []byte(text), 0o600))
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// database puts a database into a cache as a build does: its manifest and layer in the
// store, unpacked beside it, with a result.
func database(t *testing.T, dir, text string) digest.Digest {
	t.Helper()
	st, err := store.Open(dir)
	ok(t, err)
	defer func() { ok(t, st.Close()) }()
	layer, err := st.PutBytes(t.Context(), []byte("layer of "+text))
	ok(t, err)
	data, err := json.Marshal(ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON,
		Layers: []ocispec.Descriptor{{MediaType: "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", Digest: layer, Size: int64(len(text) + 9)}}})
	ok(t, err)
	d, err := st.PutBytes(t.Context(), data)
	ok(t, err)
	scan := cache.ScanDir(dir)
	write(t, filepath.Join(scan, "db", d.Encoded(), "trivy.db"), text)
	write(t, filepath.Join(scan, "results", d.Encoded(), "aa.json"), "{}")
	return d
}

// TestPruneDatabases holds that the database a reference named last stays with its
// results, that older ones go, and that what killed scans left goes.
func TestPruneDatabases(t *testing.T) {
	dir := t.TempDir()
	old, now := database(t, dir, "yesterday's"), database(t, dir, "today's")
	scan := cache.ScanDir(dir)
	write(t, filepath.Join(scan, "refs", "1.json"), `{"digest":"`+now.String()+`","nextUpdate":"2030-01-01T00:00:00Z"}`)
	write(t, filepath.Join(scan, "layers", "1.json"), "{}")
	write(t, filepath.Join(scan, "db", "tmp-1", "trivy.db"), "half")
	ok(t, os.MkdirAll(filepath.Join(scan, "java-1"), 0o700))
	ok(t, os.Symlink(filepath.Join(scan, "db", now.Encoded()), filepath.Join(scan, "java-1", "java-db")))
	opts := cache.PruneOptions{Dir: dir, Locks: []*manifest.Lock{manifest.NewLock("none")}, Now: time.Now()}
	did, err := cache.Prune(t.Context(), opts, false)
	ok(t, err)
	if did.Removed.Blobs.Files != 2 || did.Kept.Blobs.Files != 2 {
		t.Errorf("%+v", did)
	}
	for path, want := range map[string]bool{
		"db/" + now.Encoded() + "/trivy.db": true, "results/" + now.Encoded() + "/aa.json": true, "layers/1.json": true, "refs/1.json": true,
		"db/" + old.Encoded(): false, "results/" + old.Encoded(): false, "db/tmp-1": false, "java-1": false,
	} {
		if got := there(filepath.Join(scan, path)); got != want {
			t.Errorf("%s is there: %v", path, got)
		}
	}
	// A reference that nobody asked for in that time keeps nothing either.
	then := time.Now().Add(-48 * time.Hour)
	for _, path := range []string{"refs/1.json", "db/" + now.Encoded()} {
		ok(t, os.Chtimes(filepath.Join(scan, path), then, then))
	}
	did, err = cache.Prune(t.Context(), cache.PruneOptions{Dir: dir, OlderThan: 24 * time.Hour, Now: time.Now()}, false)
	ok(t, err)
	if there(filepath.Join(scan, "db", now.Encoded())) || !there(filepath.Join(scan, "layers", "1.json")) {
		t.Errorf("by age: %+v", did)
	}
}

// TestPruneArchives holds that the archive of a file goes once its members are there, and
// stays while one is missing.
func TestPruneArchives(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir)
	ok(t, err)
	archive, err := st.PutBytes(t.Context(), []byte("archive"))
	ok(t, err)
	member, err := st.PutBytes(t.Context(), []byte("member"))
	ok(t, err)
	ok(t, st.Close())
	lock := manifest.NewLock("lab")
	lock.Files = []manifest.LockedFile{{Digest: archive, Members: []manifest.LockedMember{{Digest: member}, {Digest: digest.FromString("missing")}}}}
	opts := cache.PruneOptions{Dir: dir, Locks: []*manifest.Lock{lock}, Now: time.Now()}
	did, err := cache.Prune(t.Context(), opts, false)
	ok(t, err)
	if did.Kept.Blobs.Files != 2 {
		t.Errorf("with a member missing: %+v", did)
	}
	lock.Files[0].Members = lock.Files[0].Members[:1]
	did, err = cache.Prune(t.Context(), opts, false)
	ok(t, err)
	if did.Kept.Blobs.Files != 1 || did.Removed.Blobs.Files != 1 {
		t.Errorf("with all members: %+v", did)
	}
}

// TestPruneStopsAtDamage holds that a damaged manifest of a lock that is to stay does not
// cost what it consists of.
func TestPruneStopsAtDamage(t *testing.T) {
	dir := t.TempDir()
	d := database(t, dir, "an image's")
	path := filepath.Join(dir, "blobs", "sha256", d.Encoded())
	data, err := os.ReadFile(path)
	ok(t, err)
	data[len(data)/2] ^= 1
	ok(t, os.WriteFile(path, data, 0o600))
	lock := manifest.NewLock("lab")
	lock.Images = []manifest.LockedImage{{Digest: d}}
	_, err = cache.Prune(t.Context(), cache.PruneOptions{Dir: dir, Locks: []*manifest.Lock{lock}, Now: time.Now()}, false)
	var damaged *cache.DamagedError
	if !errors.As(err, &damaged) || damaged.Damaged[0] != d {
		t.Errorf("got %v", err)
	}
	if layer := digest.FromString("layer of an image's"); !there(filepath.Join(dir, "blobs", "sha256", layer.Encoded())) {
		t.Error("the layer is gone")
	}
}
