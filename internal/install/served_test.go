package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/pkg/serve"
)

// carry puts a copy of a bundle where a depot keeps it, with its mark.
func carry(t *testing.T, depot, media, name string) string {
	t.Helper()
	dir := filepath.Join(depot, name)
	ok(t, os.CopyFS(dir, os.DirFS(media)))
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{dir}, SkipVerify: true}))(t)
	defer func() { _ = b.Close() }()
	ok(t, os.WriteFile(filepath.Join(dir, completeName), []byte(b.BundleDigest().String()+"\n"), 0o600))
	return dir
}

// overwrite changes the bytes at a place of a file, but not its size.
func overwrite(path string, at int64, n int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	buf := make([]byte, n)
	_, _ = f.ReadAt(buf, at)
	for i := range buf {
		buf[i] ^= 0xff
	}
	_, err = f.WriteAt(buf, at)
	return errors.Join(err, f.Close())
}

// TestDamagedBundleLeavesTheOthersServed: a volume that was removed, cut off or
// overwritten, wherever, took the depot down with all its bundles at its next start:
// damage at the head was noticed in time, damage of content or of the signatures in it
// was not. What is left out is told by the depot itself.
func TestDamagedBundleLeavesTheOthersServed(t *testing.T) {
	signer, key := newSigner(t)
	bad, good := newSignedBundle(t, "a", signer), newSignedBundle(t, "b", signer)
	volume := filepath.Base(must(filepath.Glob(filepath.Join(bad, "*.tar.zst")))(t)[0])
	size := must(os.Stat(filepath.Join(bad, volume)))(t).Size()
	cases := map[string]func(path string) error{
		"removed":      os.Remove,
		"cut off":      func(path string) error { return os.Truncate(path, 1000) },
		"its head":     func(path string) error { return os.WriteFile(path, make([]byte, 5000), 0o600) },
		"not readable": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	}
	for i := range int64(10) {
		cases[fmt.Sprintf("%d tenths in", i)] = func(path string) error { return overwrite(path, size*i/10+200, 3000) }
	}
	for i := range int64(4) { // the signatures come last
		cases[fmt.Sprintf("%d bytes before its end", 4000*(i+1))] = func(path string) error { return overwrite(path, size-4000*(i+1), 2000) }
	}
	unserved := 0
	for name, damage := range cases {
		depot := t.TempDir()
		dirs := []string{carry(t, depot, bad, "a"), carry(t, depot, good, "b")}
		ok(t, damage(filepath.Join(dirs[0], volume)))
		var refused []string
		list, err := openServed(t.Context(), ServeOptions{Intake: intake.Options{Keys: []string{key}}, Carried: dirs, AllowUnscanned: true, RecordDir: t.TempDir(),
			OnRefused: func(dir string, _ error) { refused = append(refused, dir) }, Progress: progress.Nop{}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		server := must(list.server(t.Context()))(t)
		state := bundlesOf(t, server)
		if len(refused) > 0 && !slices.Equal(refused, dirs[:1]) || len(state.Refused) != len(refused) || len(state.Bundles)+len(refused) != 2 {
			t.Errorf("%s: %v refused, told %+v", name, refused, state)
		}
		if len(refused) > 0 {
			unserved++
			if r := state.Refused[0]; r.Bundle == "" || r.Reason == "" || r.Name != "a" {
				t.Errorf("%s: told %+v", name, r)
			}
		}
		list.close()
	}
	if unserved < len(cases)-2 { // a byte that only the packed form has changes nothing
		t.Errorf("%d of %d damaged bundles were refused", unserved, len(cases))
	}
}

// TestUnfitBundleLeavesTheOthersServed: what opens, verifies and cannot be understood as
// a registry's content is found out by the server, which was the end of all.
func TestUnfitBundleLeavesTheOthersServed(t *testing.T) {
	depot := t.TempDir()
	dirs := []string{carry(t, depot, newBundle(t, "a"), "a"), carry(t, depot, newBundle(t, "b"), "b")}
	list := must(openServed(t.Context(), ServeOptions{Intake: intake.Options{SkipVerify: true}, Carried: dirs, AllowUnscanned: true, Progress: progress.Nop{}}))(t)
	defer list.close()
	list.bundles[0].content = unfit{list.bundles[0].content}
	state := bundlesOf(t, must(list.server(t.Context()))(t))
	if len(state.Bundles) != 1 || len(state.Refused) != 1 || state.Refused[0].Name != "a" {
		t.Errorf("serves %+v", state)
	}
	// One that was named is an error, and so is nothing that is left.
	list.bundles[0].content, list.bundles[0].dir = unfit{list.bundles[0].content}, ""
	var bad *serve.ContentError
	if _, err := list.server(t.Context()); !errors.As(err, &bad) {
		t.Errorf("a named one: %v", err)
	}
	list.bundles[0].dir = dirs[1]
	if _, err := list.server(t.Context()); err == nil {
		t.Error("a depot with nothing left serves")
	}
}

// unfit is content with a manifest that the bundle does not hold.
type unfit struct{ serve.Content }

func (u unfit) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	return nil, fmt.Errorf("opening %s: %w", d, os.ErrNotExist)
}

// bundlesOf is what a server tells at /bundles.
func bundlesOf(t *testing.T, h http.Handler) depotState {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/bundles", nil))
	var s depotState
	ok(t, json.Unmarshal(rec.Body.Bytes(), &s))
	return s
}
