package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
)

// TestWriteRefuses packs from a store that is not what it says. Nothing may be left.
func TestWriteRefuses(t *testing.T) {
	f := standard(t)
	wrong := func(i int, change func([]byte) []byte) func(store) {
		return func(s store) {
			d := f.input.Blobs[i].Digest
			s[d] = change(bytes.Clone(s[d]))
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	damaged := isA[*archive.DamagedError]
	for name, c := range map[string]struct {
		change func(store)
		want   func(error) bool
	}{
		"raw flipped":        {wrong(5, flip), damaged},
		"large raw flipped":  {wrong(9, flip), damaged},
		"zstd flipped":       {wrong(6, flip), func(err error) bool { return err != nil }},
		"large zstd flipped": {wrong(8, flip), func(err error) bool { return err != nil }},
		"raw cut":            {wrong(9, func(b []byte) []byte { return b[:len(b)-1] }), is(io.ErrUnexpectedEOF)},
		"zstd cut":           {wrong(8, func(b []byte) []byte { return b[:len(b)/2] }), is(io.ErrUnexpectedEOF)},
		"zstd of another":    {func(s store) { s[f.input.Blobs[8].Digest] = s[f.input.Blobs[10].Digest] }, func(err error) bool { return err != nil }},
		"missing":            {func(s store) { delete(s, f.input.Blobs[3].Digest) }, is(fs.ErrNotExist)},
	} {
		for size, limit := range map[string]int64{"one": 0, "several": 7 << 20} {
			t.Run(name+"/"+size, func(t *testing.T) {
				bad := store{}
				for d, b := range f.store {
					bad[d] = b
				}
				c.change(bad)
				dir := t.TempDir()
				_, err := f.plan(t, limit).Write(context.Background(), dir, bad, archive.WriteOptions{Jobs: 1})
				if !c.want(err) {
					t.Errorf("%v", err)
				}
				if partial, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(partial) > 0 {
					t.Errorf("left behind: %q", partial)
				}
			})
		}
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// TestWriteDamagedNames shows both digests of a blob that is not what it says.
func TestWriteDamagedNames(t *testing.T) {
	f := small(t)
	d := f.input.Blobs[2].Digest
	f.store[d] = random(99, 700)
	_, err := f.plan(t, 0).Write(context.Background(), t.TempDir(), f.store, archive.WriteOptions{})
	var damaged *archive.DamagedError
	if !errors.As(err, &damaged) || damaged.Want != d || damaged.Got != digest.FromBytes(f.store[d]) {
		t.Error(err)
	}
}

// changing is a store whose blob is another one when it is opened again.
type changing struct {
	store
	digest digest.Digest
	opened atomic.Int32
}

func (c *changing) OpenStored(ctx context.Context, b archive.Blob) (io.ReadCloser, error) {
	if b.Digest == c.digest && c.opened.Add(1) > 1 {
		data := bytes.Clone(c.store[b.Digest])
		data[0] ^= 1
		data[len(data)-1] ^= 1
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	return c.store.OpenStored(ctx, b)
}

// TestWriteChanging packs a blob that is cut, and that is right only when it is read
// for the first time.
func TestWriteChanging(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 15<<20)}, nil, nil)
	dir := t.TempDir()
	plan := f.plan(t, 9<<20)
	if len(plan.Volumes) < 2 {
		t.Fatal("the blob is not cut")
	}
	_, err := plan.Write(context.Background(), dir, &changing{store: f.store, digest: f.input.Blobs[0].Digest}, archive.WriteOptions{Jobs: 1})
	if !errors.Is(err, archive.ErrDigest) || !isA[*archive.DamagedError](err) {
		t.Errorf("%v, want ErrDigest", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, left behind: %v", err, left)
	}
}

// TestWriteKeepsWhatWasThere fails late: no volume may have taken its name by then.
func TestWriteKeepsWhatWasThere(t *testing.T) {
	f := standard(t)
	dir := t.TempDir()
	delete(f.store, f.input.Blobs[len(f.input.Blobs)-1].Digest)
	_, err := f.plan(t, 7<<20).Write(context.Background(), dir, f.store, archive.WriteOptions{Jobs: 1})
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrClosed) {
		t.Errorf("%v, want ErrNotExist only", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, left behind: %v", err, left)
	}
}

// TestWriteInterrupted cancels at every step of progress.
func TestWriteInterrupted(t *testing.T) {
	f := standard(t)
	plan := f.plan(t, 0)
	for stop := int64(1); stop < plan.TotalSize(); stop += 5 << 20 {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		var written int64
		_, err := plan.Write(ctx, dir, f.store, archive.WriteOptions{Progress: func(n int64) {
			if written += n; written >= stop {
				cancel()
			}
		}})
		left, readErr := os.ReadDir(dir)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if !errors.Is(err, context.Canceled) || len(left) > 0 {
			t.Errorf("stopped after %d bytes: %v, %d files left", stop, err, len(left))
		}
		cancel()
	}
}

// TestWriteReplaces shows that a torn volume of an earlier run is no obstacle.
func TestWriteReplaces(t *testing.T) {
	f := small(t)
	dir := t.TempDir()
	for _, name := range []string{"test.tar.zst", "test.tar.zst.partial"} {
		if err := os.WriteFile(filepath.Join(dir, name), random(1, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := f.open(t, f.pack(t, dir, 0)...)
	checkAll(t, f, r)
	if _, err := os.Stat(filepath.Join(dir, "test.tar.zst.partial")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestWriteNoFolder(t *testing.T) {
	f := small(t)
	_, err := f.plan(t, 0).Write(context.Background(), filepath.Join(t.TempDir(), "none"), f.store, archive.WriteOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
