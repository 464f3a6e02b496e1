package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"naru/pkg/archive"
)

// tortureCount is NARU_TORTURE_N, or the number of faults that CI tries.
func tortureCount(t *testing.T) int {
	s := os.Getenv("NARU_TORTURE_N")
	if s == "" {
		return 200
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// torture is a bundle of several volumes to be damaged.
func torture(t *testing.T) (f *fixture, names []string, volumes [][]byte) {
	f = newFixture(t, [][]byte{{}, []byte("manifest"), random(1, 700), text(2, 80<<10), random(3, 300<<10), random(4, 9<<20+9), text(5, 5<<20)},
		[]archive.File{{Name: "sbom.json", Data: text(6, 40<<10)}}, []archive.File{{Name: "signatures/index.json", Data: []byte("{}")}})
	for _, path := range f.pack(t, t.TempDir(), 4600<<10) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names, volumes = append(names, filepath.Base(path)), append(volumes, data)
	}
	if len(volumes) != 3 {
		t.Fatalf("%d volumes", len(volumes))
	}
	return f, names, volumes
}

// TestTorture damages volumes at random. Whatever the damage, either something
// fails and names what, or all that is read is what was signed.
func TestTorture(t *testing.T) {
	f, names, volumes := torture(t)
	const seed = 20250101
	r := rand.New(rand.NewPCG(seed, seed))
	dir := t.TempDir()
	n := tortureCount(t)
	for i := range n + n/5 {
		v := r.IntN(len(volumes))
		data := bytes.Clone(volumes[v])
		var what string
		if i < n {
			at, with := r.IntN(len(data)), byte(1+r.IntN(255))
			if i%4 == 0 { // where structure is dense
				at = pick(r, len(data), 8<<10)
			}
			data[at] ^= with
			what = fmt.Sprintf("volume %d byte %d xor %#x", v+1, at, with)
		} else {
			at := r.IntN(len(data))
			data = data[:at]
			what = fmt.Sprintf("volume %d cut at %d", v+1, at)
		}
		files := map[string][]byte{}
		for j, name := range names {
			files[name] = volumes[j]
		}
		files[names[v]] = data
		_ = tortureOnce(t, f, dir, what, files, i >= n)
	}
}

// pick is an offset in the first or last bytes of size.
func pick(r *rand.Rand, size, near int) int {
	at := r.IntN(min(size, near))
	if r.IntN(2) == 0 {
		return size - 1 - at
	}
	return at
}

// TestTortureSets mixes whole volumes up.
func TestTortureSets(t *testing.T) {
	f, names, volumes := torture(t)
	other := newFixture(t, [][]byte{random(9, 9<<20)}, nil, nil)
	var foreign [][]byte
	for _, path := range other.pack(t, t.TempDir(), 4600<<10) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, data)
	}
	dir := t.TempDir()
	for what, set := range map[string]struct {
		files map[string][]byte
		want  func(error) bool
	}{
		"renamed":             {map[string][]byte{"x": volumes[2], "y.iso": volumes[0], "z": volumes[1], "README": []byte("hello")}, classes["ok"]},
		"swapped":             {map[string][]byte{names[0]: volumes[1], names[1]: volumes[2], names[2]: volumes[0]}, classes["ok"]},
		"partial":             {map[string][]byte{names[0]: volumes[0], names[1]: volumes[1], names[2]: volumes[2], names[2] + ".partial": volumes[2][:5000]}, classes["ok"]},
		"doubled":             {map[string][]byte{names[0]: volumes[0], names[1]: volumes[1], names[2]: volumes[2], "copy": volumes[1]}, isA[*archive.DuplicateVolumeError]},
		"in place of another": {map[string][]byte{names[0]: volumes[0], names[1]: volumes[1], names[2]: volumes[1]}, isA[*archive.DuplicateVolumeError]},
		"missing":             {map[string][]byte{names[0]: volumes[0], names[2]: volumes[2]}, isA[*archive.MissingVolumeError]},
		"foreign":             {map[string][]byte{names[0]: volumes[0], names[1]: volumes[1], names[2]: foreign[len(foreign)-1]}, foreignNamesBoth},
		"two bundles":         {map[string][]byte{"a": volumes[0], "b": volumes[1], "c": volumes[2], "d": foreign[0], "e": foreign[1], "f": foreign[2]}, isA[*archive.ForeignVolumeError]},
		"nothing":             {map[string][]byte{"README": []byte("hello")}, isA[*archive.NotABundleError]},
	} {
		t.Run(what, func(t *testing.T) {
			if err := tortureOnce(t, f, dir, what, set.files, false); !set.want(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

// foreignNamesBoth reports whether err names the volumes of both bundles.
func foreignNamesBoth(err error) bool {
	var e *archive.ForeignVolumeError
	return errors.As(err, &e) && e.Path != "" && e.Other != "" && e.Path != e.Other && e.Want != e.Got
}

// tortureOnce puts files into dir, reads all it can and reports what went wrong.
func tortureOnce(t *testing.T, f *fixture, dir, what string, files map[string][]byte, mustFail bool) error {
	t.Helper()
	old, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if _, ok := files[file.Name()]; !ok {
			if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := archive.Open(context.Background(), []string{dir}, f.accept)
	if err == nil {
		readSigned(t, f, r)
		_, err = r.Verify(context.Background(), archive.VerifyOptions{})
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if mustFail && err == nil {
		t.Errorf("%s: nothing fails", what)
	}
	if err != nil && !named(err) {
		t.Errorf("%s: %v names neither volume nor entry", what, err)
	}
	return err
}

// named reports whether an error says which volume or entry is to blame.
func named(err error) bool {
	var damaged *archive.DamagedError
	if errors.As(err, &damaged) {
		return damaged.Volume != "" || damaged.Entry != ""
	}
	for _, class := range []func(error) bool{isA[*archive.NotABundleError], isA[*archive.MissingVolumeError],
		isA[*archive.DuplicateVolumeError], isA[*archive.ForeignVolumeError], classes["version"]} {
		if class(err) {
			return true
		}
	}
	return false
}

// TestDamagedContent damages every blob in turn and demands that each way to read it
// fails and blames its entry.
func TestDamagedContent(t *testing.T) {
	f := standard(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for d, content := range f.content {
		at := bytes.Index(good, f.store[d][:min(len(f.store[d]), 64)])
		if len(content) < 100 || at < 0 {
			continue
		}
		bad := bytes.Clone(good)
		bad[at+min(len(f.store[d])/2, 60)] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r := f.open(t, path)
		for way, read := range map[string]func(io.ReadSeeker) (int64, error){
			"read":    func(b io.ReadSeeker) (int64, error) { return io.Copy(io.Discard, onlyReader{b}) },
			"writeto": func(b io.ReadSeeker) (int64, error) { return io.Copy(io.Discard, b) },
			"range": func(b io.ReadSeeker) (int64, error) {
				if _, err := b.Seek(-1, io.SeekEnd); err != nil {
					t.Error(err)
				}
				return io.Copy(io.Discard, b)
			},
		} {
			b, err := r.OpenBlob(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			n, err := read(b)
			var damaged *archive.DamagedError
			if !errors.As(err, &damaged) || damaged.Entry != "blobs/sha256/"+d.Encoded() || damaged.Volume != path {
				t.Errorf("%s: %v", way, err)
			}
			if n >= int64(len(content)) || way == "range" && n > 0 || r.Verified(d) {
				t.Errorf("%s: %d bytes of %d handed out", way, n, len(content))
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := r.Verify(ctx, archive.VerifyOptions{}); !names(err, "blobs/sha256/"+d.Encoded()) {
			t.Errorf("Verify: %v", err)
		}
	}
}

// TestDamagedRanges reads a damaged blob from every kind of offset: none of it is
// handed out, however near to the start or to what was read before.
func TestDamagedRanges(t *testing.T) {
	f := standard(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d, content := range f.content {
		at := bytes.Index(good, f.store[d][:min(len(f.store[d]), 64)])
		if len(content) < 100 || at < 0 {
			continue
		}
		bad := bytes.Clone(good)
		bad[at+min(len(f.store[d])/2, 60)] ^= 0x40
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, offset := range []int{1, 40, len(content) / 2, len(content) - 1} {
			for _, before := range []int{0, 1, 3} {
				r := f.open(t, path)
				b, err := r.OpenBlob(context.Background(), d)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadFull(b, make([]byte, before)) // fails where the damage is seen at once
				if _, err := b.Seek(int64(offset), io.SeekStart); err != nil {
					t.Fatal(err)
				}
				if n, err := b.Read(make([]byte, 10)); n > 0 && offset != before {
					t.Errorf("blob of %d: %d bytes from %d on after reading %d: %v", len(content), n, offset, before, err)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

type onlyReader struct{ io.Reader }
