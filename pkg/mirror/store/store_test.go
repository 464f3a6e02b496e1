package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/pkg/mirror/store"
)

func blobPath(s *store.Store, d digest.Digest) string {
	return filepath.Join(s.Dir(), "blobs", "sha256", d.Encoded())
}

func keyedPath(s *store.Store, key string) string {
	return filepath.Join(s.Dir(), "ingest", fmt.Sprintf("key-%x", sha256.Sum256([]byte(key))))
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t testing.TB, path, data string) {
	t.Helper()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, append(old, data...))
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesAnImageLayout(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "deep", "cache"))
	if diff := cmp.Diff([]string{"blobs", "encoded", "index.json", "ingest", "lock", "oci-layout"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	layout, err := os.ReadFile(filepath.Join(s.Dir(), "oci-layout"))
	if err != nil || string(layout) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout: %s, %v", layout, err)
	}
	if free, err := s.FreeSpace(); err != nil || free <= 0 {
		t.Errorf("free space: %d, %v", free, err)
	}
}

func TestOpenSweepsOnlyWhenAlone(t *testing.T) {
	dir := t.TempDir()
	first, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tmp-1", "sha256-x.lock", "sha256-x"} {
		write(t, filepath.Join(dir, "ingest", name), nil)
	}
	second := open(t, dir)
	if diff := cmp.Diff([]string{"sha256-x", "sha256-x.lock", "tmp-1"}, files(t, second, "ingest")); diff != "" {
		t.Errorf("swept under the first: %s", diff)
	}
	if err := errors.Join(first.Close(), first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	third := open(t, dir)
	if diff := cmp.Diff([]string{"sha256-x"}, files(t, third, "ingest")); diff != "" {
		t.Error(diff)
	}
}

func TestPutBytes(t *testing.T) {
	s := open(t, t.TempDir())
	d, err := s.PutBytes(t.Context(), []byte("data"))
	if err != nil || d != digest.FromString("data") {
		t.Fatalf("got %s, %v", d, err)
	}
	if !s.Has(d, 4) || !s.Has(d, -1) || s.Has(d, 5) || !s.Fresh(d) {
		t.Error("not there as it should be")
	}
	write(t, blobPath(s, d), []byte("dato"))
	if _, err := s.PutBytes(t.Context(), []byte("data")); err != nil || string(read(t, s, d)) != "data" {
		t.Errorf("a damaged blob was not replaced: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutBytes(t.Context(), []byte("more")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	d, err := first.PutBytes(t.Context(), []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if s.Fresh(d) {
		t.Error("fresh before this process hashed it")
	}
	if _, err := s.Read(t.Context(), d, 3); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if data, err := s.Read(t.Context(), d, 4); err != nil || string(data) != "data" || !s.Fresh(d) {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := s.Read(t.Context(), digest.FromString("none"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestDamageIsDropped(t *testing.T) {
	for name, look := range map[string]func(*store.Store, digest.Digest) error{
		"read":   func(s *store.Store, d digest.Digest) error { _, err := s.Read(t.Context(), d, 100); return err },
		"verify": func(s *store.Store, d digest.Digest) error { return s.Verify(t.Context(), d) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			d, err := s.PutBytes(t.Context(), []byte("data"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.PutEncoded(t.Context(), d, func(w io.Writer) (bool, error) { _, err := io.WriteString(w, "z"); return true, err }); err != nil {
				t.Fatal(err)
			}
			write(t, blobPath(s, d), []byte("dato"))
			var got *store.MismatchError
			if err := look(s, d); !errors.As(err, &got) || got.Want != d || got.Got != digest.FromString("dato") {
				t.Fatalf("got %v", err)
			}
			if _, known := s.Encoded(d); known || s.Has(d, -1) || s.Fresh(d) {
				t.Error("still there")
			}
		})
	}
}

// replacing is a context whose first look at it does something.
type replacing struct {
	context.Context
	once sync.Once
	do   func()
}

func (r *replacing) Err() error {
	r.once.Do(r.do)
	return r.Context.Err()
}

// TestDamageThatWasMended holds that who reads a damaged blob does not drop what another
// process, which found the same, has fetched in its place meanwhile.
func TestDamageThatWasMended(t *testing.T) {
	for name, look := range map[string]func(context.Context, *store.Store, digest.Digest) error{
		"read": func(ctx context.Context, s *store.Store, d digest.Digest) error {
			_, err := s.Read(ctx, d, 100)
			return err
		},
		"verify": func(ctx context.Context, s *store.Store, d digest.Digest) error { return s.Verify(ctx, d) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, build := open(t, dir), open(t, dir)
			d := digest.FromString("data")
			write(t, blobPath(s, d), []byte("dato"))
			ctx := &replacing{Context: t.Context(), do: func() {
				if _, err := build.PutBytes(t.Context(), []byte("data")); err != nil {
					t.Error(err)
				}
			}}
			var got *store.MismatchError
			if err := look(ctx, s, d); !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if data, err := build.Read(t.Context(), d, 100); err != nil || string(data) != "data" {
				t.Errorf("what the build fetched: %q, %v", data, err)
			}
		})
	}
}

func TestEncoded(t *testing.T) {
	s := open(t, t.TempDir())
	d := digest.FromString("blob")
	put := func(data string, keep bool, err error) error {
		return s.PutEncoded(t.Context(), d, func(w io.Writer) (bool, error) {
			_, writeErr := io.WriteString(w, data)
			return keep, errors.Join(err, writeErr)
		})
	}
	check := func(wantSize int64, wantKnown bool) {
		t.Helper()
		if size, known := s.Encoded(d); size != wantSize || known != wantKnown {
			t.Errorf("got %d, %v", size, known)
		}
	}
	check(0, false)
	if err := put("half", true, errReset); !errors.Is(err, errReset) {
		t.Errorf("got %v", err)
	}
	if err := put("", true, nil); !errors.Is(err, store.ErrEmptyEncoding) {
		t.Errorf("got %v", err)
	}
	check(0, false)
	if _, err := s.OpenEncoded(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := put("not worth it", false, nil); err != nil {
		t.Fatal(err)
	}
	check(0, true)
	if err := put("packed", true, nil); err != nil {
		t.Fatal(err)
	}
	check(6, true)
	r, err := s.OpenEncoded(d)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(data) != "packed" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := put("", false, nil); err != nil {
		t.Fatal(err)
	}
	check(0, true)
	if left := files(t, s, "ingest"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestOnlySHA256(t *testing.T) {
	s := open(t, t.TempDir())
	for _, d := range []digest.Digest{"", "x", "sha256:../../../lock", "sha256:abc", digest.SHA512.FromString("x")} {
		if _, known := s.Encoded(d); known || s.Has(d, -1) {
			t.Errorf("has %q", d)
		}
		_, openErr := s.OpenBlob(t.Context(), d)
		_, packedErr := s.OpenEncoded(d)
		putErr := s.PutEncoded(t.Context(), d, func(io.Writer) (bool, error) { return false, nil })
		for _, err := range []error{openErr, packedErr, putErr} {
			if !errors.Is(err, store.ErrUnsupportedDigest) {
				t.Errorf("%q: %v", d, err)
			}
		}
		if d == "" {
			continue
		}
		if _, _, err := s.Ingest(t.Context(), store.Expected{Digest: d}, nil, nil); !errors.Is(err, store.ErrUnsupportedDigest) {
			t.Errorf("%q: %v", d, err)
		}
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	old := time.Now().Add(-48 * time.Hour)
	var digests []digest.Digest
	for i, data := range []string{"keep", "drop", "used"} {
		d, err := s.PutBytes(t.Context(), []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.PutEncoded(t.Context(), d, func(w io.Writer) (bool, error) { _, err := io.WriteString(w, data); return i > 0, err }); err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
		write(t, filepath.Join(dir, "encoded", d.Encoded()+".zstd-7.zst"), []byte("another encoder's"))
		age(t, blobPath(s, d), old)
	}
	if err := s.Touch(append(digests[2:], digest.FromString("never"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"partial", "going on"} {
		write(t, partialPath(s, digest.FromString(name)), []byte("part"))
	}
	age(t, partialPath(s, digest.FromString("partial")), old)
	opts := store.PruneOptions{Keep: func(d digest.Digest) bool { return d == digests[0] }, Since: time.Now().Add(-time.Hour)}
	shared, err := s.PlanPrune(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.Execute(t.Context()); !errors.Is(err, store.ErrShared) {
		t.Errorf("pruning a store that others may have open: %v", err)
	}
	if _, err := store.OpenWith(dir, store.Options{Alone: true}); !errors.Is(err, store.ErrBusy) {
		t.Fatalf("opened alone while it is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = alone(t, dir)
	if _, err := store.Open(dir); !errors.Is(err, store.ErrBusy) {
		t.Errorf("opened while somebody has it alone: %v", err)
	}
	plan, err := s.PlanPrune(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Stock{Blobs: store.Tally{Files: 1, Bytes: 4}, Packed: store.Tally{Files: 4, Bytes: 4 + 3*17}, Partial: store.Tally{Files: 1, Bytes: 4}}
	if diff := cmp.Diff(want, plan.Remove); diff != "" {
		t.Error(diff)
	}
	if err := plan.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	want = store.Stock{Blobs: store.Tally{Files: 2, Bytes: 8}, Packed: store.Tally{Files: 2, Bytes: 4}, Partial: store.Tally{Files: 1, Bytes: 4}}
	again, err := s.PlanPrune(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.Keep); diff != "" || again.Remove.Bytes() != 0 {
		t.Errorf("a second prune finds %+v (-want +got):\n%s", again.Remove, diff)
	}
	_, knownKept := s.Encoded(digests[0])
	_, knownDropped := s.Encoded(digests[1])
	if !s.Has(digests[0], 4) || s.Has(digests[1], -1) || !s.Has(digests[2], 4) || !knownKept || knownDropped {
		t.Error("pruned the wrong things")
	}
	if list, err := s.Blobs(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("blobs %v, %v", list, err)
	}
}

// age makes the file at path look last changed at then.
func age(t *testing.T, path string, then time.Time) {
	t.Helper()
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func alone(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.OpenWith(dir, store.Options{Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestHold holds that who shares a folder keeps out who wants it alone, and the other
// way about.
func TestHold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scan")
	one, err := store.Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.HoldAlone(dir); !errors.Is(err, store.ErrBusy) {
		t.Errorf("alone beside another: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := store.HoldAlone(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.HoldAlone(dir); !errors.Is(err, store.ErrBusy) {
		t.Errorf("alone twice: %v", err)
	}
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
}
