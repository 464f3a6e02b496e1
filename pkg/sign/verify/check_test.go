package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// medium writes n files into a folder and returns what SHA256SUMS says of them.
func medium(t *testing.T, dir string, n int) []Sum {
	t.Helper()
	var sums []Sum
	for i := range n {
		data := bytes.Repeat([]byte{byte(i), 7}, checkBuffer*i/4+i)
		name := fmt.Sprintf("v/demo-%02d.tar.zst", i)
		write(t, filepath.Join(dir, filepath.FromSlash(name)), data)
		sums = append(sums, Sum{Name: name, Digest: digest.FromBytes(data)})
	}
	return sums
}

func TestCheckSums(t *testing.T) {
	dir := t.TempDir()
	sums := medium(t, dir, 6)
	var total int64
	for _, s := range sums {
		info, err := os.Stat(filepath.Join(dir, s.Name))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	for _, jobs := range []int{0, 1, 3} {
		var read atomic.Int64
		err := CheckSums(t.Context(), []string{dir}, sums, CheckOptions{Jobs: jobs, Read: func(n int) { read.Add(int64(n)) }})
		if err != nil {
			t.Errorf("jobs %d: %v", jobs, err)
		}
		if read.Load() != total {
			t.Errorf("jobs %d: told of %d bytes, want %d", jobs, read.Load(), total)
		}
	}
}

func TestCheckSumsNamesEveryFile(t *testing.T) {
	dir := t.TempDir()
	sums := medium(t, dir, 6)
	path := func(i int) string { return filepath.Join(dir, sums[i].Name) }
	if err := os.Remove(path(1)); err != nil {
		t.Fatal(err)
	}
	write(t, path(2), []byte("changed"))
	if err := os.Remove(path(4)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path(4), 0o755); err != nil {
		t.Fatal(err)
	}
	err := CheckSums(t.Context(), []string{dir}, sums, CheckOptions{})
	var got *SumsError
	if !errors.As(err, &got) {
		t.Fatalf("got %v, want a SumsError", err)
	}
	var names []string
	for _, f := range got.Files {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{sums[1].Name, sums[2].Name, sums[4].Name}, names); diff != "" {
		t.Fatal(diff)
	}
	if got.Total != len(sums) {
		t.Errorf("total %d", got.Total)
	}
	missing, changed, folder := got.Files[0], got.Files[1], got.Files[2]
	if !errors.Is(missing, fs.ErrNotExist) || missing.Got != "" || missing.Want != sums[1].Digest {
		t.Errorf("missing: %+v", missing)
	}
	if !errors.Is(changed, ErrMismatch) || changed.Got != digest.FromString("changed") || changed.Want != sums[2].Digest {
		t.Errorf("changed: %+v", changed)
	}
	if errors.Is(folder, fs.ErrNotExist) || errors.Is(folder, ErrMismatch) {
		t.Errorf("folder in place of a file: %+v", folder)
	}
	if !errors.Is(err, ErrMismatch) || !errors.Is(err, fs.ErrNotExist) {
		t.Error("the whole does not say what its parts are")
	}
}

// TestCheckSumsOverSeveralMedia has the volumes on two discs, and one on both.
func TestCheckSumsOverSeveralMedia(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	a, b := []byte("volume 1"), []byte("volume 2")
	sums := []Sum{{Name: "a", Digest: digest.FromBytes(a)}, {Name: "b", Digest: digest.FromBytes(b)}}
	write(t, filepath.Join(one, "a"), a)
	write(t, filepath.Join(two, "b"), b)
	write(t, filepath.Join(two, "a"), a)
	if err := CheckSums(t.Context(), []string{one, two}, sums, CheckOptions{}); err != nil {
		t.Error(err)
	}
	if err := CheckSums(t.Context(), []string{one}, sums, CheckOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one disc: got %v, want fs.ErrNotExist", err)
	}
	if err := CheckSums(t.Context(), nil, sums, CheckOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no disc: got %v, want fs.ErrNotExist", err)
	}
	write(t, filepath.Join(two, "a"), b)
	if err := CheckSums(t.Context(), []string{one, two}, sums, CheckOptions{}); !errors.Is(err, ErrMismatch) {
		t.Errorf("a bad copy on the second disc: got %v, want ErrMismatch", err)
	}
}

func TestCheckSumsRefuses(t *testing.T) {
	dir := t.TempDir()
	outside := []byte("outside")
	write(t, filepath.Join(dir, "outside"), outside)
	write(t, filepath.Join(dir, "in", "x"), nil)
	for name, sums := range map[string][]Sum{
		"nothing":   nil,
		"traversal": {{Name: "../outside", Digest: digest.FromBytes(outside)}},
		"absolute":  {{Name: filepath.ToSlash(filepath.Join(dir, "outside")), Digest: digest.FromBytes(outside)}},
	} {
		var malformed *MalformedError
		if err := CheckSums(t.Context(), []string{filepath.Join(dir, "in")}, sums, CheckOptions{}); !errors.As(err, &malformed) {
			t.Errorf("%s: got %v, want a MalformedError", name, err)
		}
	}
}

func TestCheckSumsStops(t *testing.T) {
	dir := t.TempDir()
	sums := medium(t, dir, 6)
	ctx, cancel := context.WithCancel(t.Context())
	err := CheckSums(ctx, []string{dir}, sums, CheckOptions{Jobs: 1, Read: func(int) { cancel() }})
	var wrong *SumsError
	if !errors.Is(err, context.Canceled) || errors.As(err, &wrong) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
}

func TestOpenSums(t *testing.T) {
	s := newSigner(t, "a")
	ring := NewKeyring(s.key)
	dir := t.TempDir()
	sums := medium(t, dir, 3)
	data, err := EncodeSums(sums)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.OpenSums(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: got %v", err)
	}
	write(t, filepath.Join(dir, SumsName), data)
	if _, _, err := ring.OpenSums(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no signature: got %v", err)
	}
	write(t, filepath.Join(dir, SumsSignatureName), s.detached(t, data))
	got, key, err := ring.OpenSums(dir)
	if err != nil || key.Fingerprint() != s.key.Fingerprint() {
		t.Fatalf("%v, by %q", err, key.Name())
	}
	if diff := cmp.Diff(sums, got); diff != "" {
		t.Error(diff)
	}
	write(t, filepath.Join(dir, SumsName), append(data, data[:67]...))
	var noMatch *NoMatchError
	if got, _, err := ring.OpenSums(dir); !errors.As(err, &noMatch) || got != nil {
		t.Errorf("a line more: got %v, want a NoMatchError", err)
	}
	signedNonsense := []byte("nonsense\n")
	write(t, filepath.Join(dir, SumsName), signedNonsense)
	write(t, filepath.Join(dir, SumsSignatureName), s.detached(t, signedNonsense))
	var malformed *MalformedError
	if _, _, err := ring.OpenSums(dir); !errors.As(err, &malformed) {
		t.Errorf("signed nonsense: got %v, want a MalformedError", err)
	}
	sparse(t, filepath.Join(dir, SumsName), 1<<40)
	if _, _, err := ring.OpenSums(dir); err == nil {
		t.Error("a huge list was read")
	}
}
