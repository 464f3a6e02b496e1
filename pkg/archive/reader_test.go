package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive"
)

// TestRanges seeks and reads at random and compares with the content, verified and
// not, cut and whole.
func TestRanges(t *testing.T) {
	f := standard(t)
	for name, limit := range map[string]int64{"one": 0, "several": 7 << 20} {
		t.Run(name, func(t *testing.T) {
			r := f.open(t, f.pack(t, t.TempDir(), limit)[0])
			rnd := rand.New(rand.NewPCG(1, 1))
			for d, want := range f.content {
				b, err := r.OpenBlob(context.Background(), d)
				if err != nil {
					t.Fatal(err)
				}
				for range 40 {
					off := rnd.IntN(len(want) + 2)
					if _, err := b.Seek(int64(off), io.SeekStart); err != nil {
						t.Fatal(err)
					}
					off = min(off, len(want))
					n := rnd.IntN(300 << 10)
					got, err := io.ReadAll(io.LimitReader(b, int64(n)))
					if err != nil || !bytes.Equal(got, want[off:min(off+n, len(want))]) {
						t.Fatalf("blob of %d: %d bytes at %d: got %d, %v", len(want), n, off, len(got), err)
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSeek(t *testing.T) {
	f := small(t)
	r := f.open(t, f.pack(t, t.TempDir(), 0)[0])
	d := f.input.Blobs[2].Digest
	b, err := r.OpenBlob(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	if size := b.(interface{ Size() int64 }).Size(); size != 700 {
		t.Error(size)
	}
	for _, c := range []struct {
		offset int64
		whence int
		want   int64
	}{{0, io.SeekEnd, 700}, {-10, io.SeekCurrent, 690}, {5, io.SeekStart, 5}, {1000, io.SeekStart, 1000}} {
		if got, err := b.Seek(c.offset, c.whence); got != c.want || err != nil {
			t.Errorf("Seek(%d, %d): %d, %v", c.offset, c.whence, got, err)
		}
	}
	if _, err := b.Seek(-1, io.SeekStart); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if _, err := b.Seek(0, 9); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	// As http.ServeContent does: size, a look at the head, all from the start.
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, 512)); err != nil {
		t.Error(err)
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if n, err := b.(io.WriterTo).WriteTo(&all); n != 700 || err != nil || !bytes.Equal(all.Bytes(), f.content[d]) {
		t.Error(n, err)
	}
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

// TestConcurrent reads the same blobs in many ways at a time.
func TestConcurrent(t *testing.T) {
	f := standard(t)
	r := f.open(t, f.pack(t, t.TempDir(), 7<<20)[0])
	var wg sync.WaitGroup
	for i := range 6 {
		for d, want := range f.content {
			wg.Go(func() {
				b, err := r.OpenBlob(context.Background(), d)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = b.Close() }()
				off := len(want) * i / 6
				if _, err := b.Seek(int64(off), io.SeekStart); err != nil {
					t.Error(err)
				}
				got, err := io.ReadAll(b)
				if err != nil || !bytes.Equal(got, want[off:]) {
					t.Errorf("%d bytes from %d: %v", len(got), off, err)
				}
			})
		}
	}
	wg.Go(func() {
		if _, err := r.Verify(context.Background(), archive.VerifyOptions{}); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}

// TestMarkVerified shows that the caller's word is taken, and that Verify does not.
func TestMarkVerified(t *testing.T) {
	f := small(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	r := f.open(t, path)
	d := f.input.Blobs[2].Digest
	if r.Verified(d) || r.Verified(digest.FromString("none")) {
		t.Error("verified before anything was read")
	}
	r.MarkVerifiedUnsafe(d, digest.FromString("none"))
	if !r.Verified(d) || r.Verified(digest.FromString("none")) {
		t.Error("not marked")
	}
	report, err := r.Verify(context.Background(), archive.VerifyOptions{})
	if err != nil || report.Blobs != len(f.input.Blobs) {
		t.Errorf("%+v %v", report, err)
	}
}

// damagedBlob packs a bundle whose blob of 3 MiB is damaged in its last byte.
func damagedBlob(t *testing.T) (r *archive.Reader, d digest.Digest, size int) {
	t.Helper()
	size = 3 << 20
	f := newFixture(t, [][]byte{random(1, size)}, nil, nil)
	path := f.pack(t, t.TempDir(), 0)[0]
	v := takeApart(t, path)
	v.find("blobs/").content[size-1] ^= 1
	v.write(t, path)
	return f.open(t, path), f.input.Blobs[0].Digest, size
}

// TestWordIsNoHash shows that a read from the start is hashed whatever was said of
// the blob, and that a wrong word is not believed again.
func TestWordIsNoHash(t *testing.T) {
	r, d, size := damagedBlob(t)
	r.MarkVerifiedUnsafe(d)
	b, err := r.OpenBlob(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if got, err := io.ReadAll(b); !errors.Is(err, archive.ErrDigest) || len(got) >= size {
		t.Errorf("%d bytes of %d, %v, want ErrDigest", len(got), size, err)
	}
	if r.Verified(d) {
		t.Error("what was seen to be wrong counts as verified")
	}
}

// TestWordHalfway marks a blob verified while it is read from the start.
func TestWordHalfway(t *testing.T) {
	r, d, size := damagedBlob(t)
	b, err := r.OpenBlob(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if _, err := io.CopyN(io.Discard, b, 1<<20); err != nil {
		t.Fatal(err)
	}
	r.MarkVerifiedUnsafe(d)
	if n, err := io.Copy(io.Discard, b); !errors.Is(err, archive.ErrDigest) || n >= int64(size)-1<<20 {
		t.Errorf("%d bytes, %v, want ErrDigest", n, err)
	}
}

// TestSeekDropsUnverified reads a first byte of damaged content, has it repaired and
// verified by others, and seeks within what was read with the first byte.
func TestSeekDropsUnverified(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 3<<20)}, nil, nil)
	path := f.pack(t, t.TempDir(), 0)[0]
	d := f.input.Blobs[0].Digest
	want := f.content[d]
	poke := func(x byte) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[bytes.Index(data, want[:100])+100] = x
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	poke(^want[100])
	r := f.open(t, path)
	b, err := r.OpenBlob(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	got := make([]byte, 1)
	if _, err := b.Read(got); err != nil {
		t.Fatal(err)
	}
	poke(want[100])
	if err := openVerifier(t, r, d).Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seek(100, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(got); err != nil || got[0] != want[100] {
		t.Errorf("%v, %v, want %v", got, err, want[100])
	}
}

func TestBlobContext(t *testing.T) {
	f := standard(t)
	r := f.open(t, f.pack(t, t.TempDir(), 0)[0])
	ctx, cancel := context.WithCancel(context.Background())
	b, err := r.OpenBlob(ctx, f.input.Blobs[9].Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	cancel()
	if _, err := b.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := r.Verify(ctx, archive.VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestSignatureFirst shows that nothing is parsed before the signature is verified.
func TestSignatureFirst(t *testing.T) {
	f := small(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	ctx := context.Background()
	if _, err := archive.Open(ctx, []string{path}, nil); !errors.Is(err, archive.ErrNoVerifier) {
		t.Error(err)
	}
	refuse := func(_, _ []byte) error { return errSignature }
	if _, err := archive.Open(ctx, []string{path}, refuse); !errors.Is(err, errSignature) {
		t.Error(err)
	}
	v := takeApart(t, path)
	v.find("bundle.json").content = []byte("not even JSON")
	v.bundle = digest.FromString("not even JSON")
	v.write(t, path)
	if _, err := archive.Open(ctx, []string{path}, refuse); !errors.Is(err, errSignature) {
		t.Error(err)
	}
	if _, err := archive.OpenUnsafe(ctx, []string{path}); err == nil {
		t.Error("opened")
	}
}

func TestOpenUnsafe(t *testing.T) {
	f := small(t)
	f.input.Signature = nil
	path := f.pack(t, t.TempDir(), 0)[0]
	r, err := archive.OpenUnsafe(context.Background(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	checkAll(t, f, r)
	if got := r.Signature(); len(got) != 0 || !bytes.Equal(r.BundleJSON(), f.input.Bundle) || r.BundleDigest() != digest.FromBytes(f.input.Bundle) {
		t.Errorf("signature %q, bundle %s", got, r.BundleDigest())
	}
	if r.Bundle().Release != "test" || len(r.Contents().Blobs) != len(f.input.Blobs) || r.Index().SchemaVersion != 2 {
		t.Error("wrong documents")
	}
	v := r.Volumes()
	if len(v) != 1 || v[0].Path != path || v[0].Number != 1 || v[0].Size != v[0].Info.Size() {
		t.Errorf("%+v", v)
	}
}

// TestOpenPaths opens the same volumes by different paths.
func TestOpenPaths(t *testing.T) {
	f := standard(t)
	dir := t.TempDir()
	paths := f.pack(t, dir, 9<<20)
	elsewhere := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(paths[1], elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(paths[0], filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.tar.zst"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := archive.Open(context.Background(), []string{paths[0]}, f.accept)
	var missing *archive.MissingVolumeError
	if !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != 2 || missing.Count != len(paths) {
		t.Errorf("%v", err)
	}
	for _, way := range [][]string{{dir, elsewhere}, {elsewhere, dir}, {paths[0], elsewhere}, {paths[0], paths[0], elsewhere, paths[2]}, {dir, dir, elsewhere}} {
		checkAll(t, f, f.open(t, way...))
	}
	for name, way := range map[string][]string{"none": {}, "no file": {filepath.Join(dir, "none")}, "other file": {paths[0], "reader_test.go"}, "empty folder": {filepath.Join(dir, "folder.tar.zst")}} {
		if _, err := archive.Open(context.Background(), way, f.accept); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	other := small(t).pack(t, t.TempDir(), 0)[0]
	if _, err := archive.Open(context.Background(), []string{paths[0], other}, f.accept); !isA[*archive.ForeignVolumeError](err) {
		t.Error(err)
	}
}

// TestLyingTOC shows that a table of contents that lies costs time and nothing else.
func TestLyingTOC(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 700), random(2, 700), random(3, 700)}, nil, nil)
	path := f.pack(t, t.TempDir(), 0)[0]
	for name, lie := range map[string]func([]editedLine) []editedLine{
		"blobs": func(l []editedLine) []editedLine {
			l[8].Name, l[7].Name = l[7].Name, l[8].Name
			return l
		},
		"missing": func(l []editedLine) []editedLine { return append(l[:8], l[9:]...) },
		"empty":   func([]editedLine) []editedLine { return []editedLine{} },
		"more":    func(l []editedLine) []editedLine { return append(l, editedLine{"more", l[len(l)-1].Frame + 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			v := takeApart(t, path)
			v.toc = lie
			bad := filepath.Join(t.TempDir(), "bad.tar.zst")
			v.write(t, bad)
			r := f.open(t, bad)
			checkAll(t, f, r)
			if _, err := r.Verify(context.Background(), archive.VerifyOptions{}); !names(err, archive.TOCName) {
				t.Error(err)
			}
		})
	}
}

// TestLyingTOCInOrder swaps what two volumes of the same shape say of their blobs,
// in an order that only the headers contradict.
func TestLyingTOCInOrder(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 700), random(2, 700), random(3, 700)}, nil, nil)
	path := f.pack(t, t.TempDir(), 0)[0]
	v := takeApart(t, path)
	i := v.index("blobs/")
	v.entries[i], v.entries[i+1] = v.entries[i+1], v.entries[i]
	v.toc = func(l []editedLine) []editedLine {
		l[i].Name, l[i+1].Name = l[i+1].Name, l[i].Name
		return l
	}
	v.write(t, path)
	r := f.open(t, path)
	_, err := r.OpenBlob(context.Background(), f.input.Blobs[0].Digest)
	if !errors.Is(err, archive.ErrOrder) || !isA[*archive.DamagedError](err) {
		t.Error(err)
	}
}

// TestVerifyKeepsLayout shows that what Verify found by the headers is used: the
// headers that a table of contents lies about are read once.
func TestVerifyKeepsLayout(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 700), random(2, 700)}, nil,
		[]archive.File{{Name: "signatures/a", Data: []byte("a")}, {Name: "signatures/b", Data: []byte("b")}})
	path := f.pack(t, t.TempDir(), 0)[0]
	v := takeApart(t, path)
	v.toc = func(l []editedLine) []editedLine {
		l[len(l)-1].Name = "signatures/c"
		return l
	}
	v.write(t, path)
	r := f.open(t, path)
	if got := r.SignatureFiles(); !slices.Equal(got, []string{"signatures/a", "signatures/c"}) {
		t.Fatalf("by the table of contents: %q", got)
	}
	if _, err := r.Verify(context.Background(), archive.VerifyOptions{}); !names(err, archive.TOCName) {
		t.Error(err)
	}
	if got := r.SignatureFiles(); !slices.Equal(got, []string{"signatures/a", "signatures/b"}) {
		t.Errorf("by the headers: %q", got)
	}
}

// TestFailedScanIsKept repairs a volume after a scan of it failed, which only a
// new reader may notice; and a scan that was interrupted has not failed.
func TestFailedScanIsKept(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 700), random(2, 700)}, nil, nil)
	path := f.pack(t, t.TempDir(), 0)[0]
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := takeApart(t, path)
	v.find("blobs/").header = func(h *tar.Header) { h.Mode = 0o4755 }
	v.write(t, path)
	r := f.open(t, path)
	d := f.input.Blobs[0].Digest
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.OpenBlob(gone, d); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if _, err := r.OpenBlob(context.Background(), d); !errors.Is(err, archive.ErrHeader) {
		t.Errorf("%v, want ErrHeader", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(good, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	first, err := r.ReadFile(context.Background(), archive.LockName)
	if err != nil {
		t.Error(string(first), err)
	}
	if err := archive.Scan(context.Background(), r); !errors.Is(err, archive.ErrHeader) {
		t.Errorf("%v, want the error of the scan before", err)
	}
}

// TestVersion names the version of a bundle in a folder.
func TestVersion(t *testing.T) {
	data, err := os.ReadFile("testdata/newer-version.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "v.tar.zst"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = archive.OpenUnsafe(context.Background(), []string{dir})
	var version *manifest.VersionError
	if !errors.As(err, &version) || version.APIVersion != "naru/v2" {
		t.Error(err)
	}
}
