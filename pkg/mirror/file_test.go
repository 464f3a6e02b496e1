package mirror_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror"
)

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	z := must(zstd.NewWriter(nil))(t)
	return z.EncodeAll(data, nil)
}

// bzipped is a tar.bz2 with the members bin/tool ("the tool") and LICENSE ("the
// licence"): Go cannot write bzip2.
func bzipped(t *testing.T) []byte {
	t.Helper()
	return must(base64.StdEncoding.DecodeString(tarBzip2))(t)
}

func zipOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, e := range entries {
		w := must(z.Create(e.Name))(t)
		if _, err := io.WriteString(w, e.Uname); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// tool asks for bin/tool and LICENSE of an archive.
func tool(url string) mirror.File {
	return mirror.File{Component: "c", Name: "tool", Version: "1.0+k1", URL: url, Members: []mirror.Member{
		{Path: "bin/tool", Name: "tool", Mode: 0o755}, {Path: "LICENSE", Name: "LICENSE", Mode: 0o644},
	}}
}

func TestMembersOfEveryArchive(t *testing.T) {
	entries := []tar.Header{entry("./bin/tool", "the tool"), entry("LICENSE", "the licence"), entry("big", strings.Repeat("x", 1<<20))}
	plain := tarOf(t, entries...)
	for name, data := range map[string][]byte{
		"a.tar": plain, "a.tar.gz": gzipped(t, plain), "a.tar.zst": zstandard(t, plain), "a.tar.bz2": bzipped(t),
		"a.zip": zipOf(t, entries...), "named-wrongly.txt": gzipped(t, plain),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			url := w.file(name, data)
			w.open()
			m, st := w.mirror(mirror.Options{})
			f := must(m.FetchFile(t.Context(), tool(url)))(t)
			if f.Digest != digest.FromBytes(data) || f.Size != int64(len(data)) {
				t.Errorf("archive %s of %d bytes, want %s of %d", f.Digest, f.Size, digest.FromBytes(data), len(data))
			}
			for i, text := range []string{"the tool", "the licence"} {
				if got := string(must(st.Read(t.Context(), f.Members[i].Digest, 100))(t)); got != text {
					t.Errorf("member %q is %q, want %q", f.Members[i].Path, got, text)
				}
				if f.Content[i].Annotations[ocispec.AnnotationTitle] != f.Members[i].Name {
					t.Errorf("layer %d is called %v", i, f.Content[i].Annotations)
				}
			}
			if got := f.Content[0].Annotations[mirror.AnnotationMode]; got != "0755" {
				t.Errorf("mode %q, want 0755", got)
			}

			// Pinned, and the archive gone from the cache: nothing is asked for.
			if err := os.Remove(filepath.Join(w.cache, "blobs", "sha256", f.Digest.Encoded())); err != nil {
				t.Fatal(err)
			}
			w.up.ResetRequests()
			again := must(m.FetchFile(t.Context(), f.File))(t)
			if n := len(w.up.Requests()); n != 0 {
				t.Errorf("members that are all there cost %d requests", n)
			}
			if diff := cmp.Diff(f.Content, again.Content); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		})
	}
}

// TestHostileArchives holds that an archive gives out regular files of exactly the
// names asked for and that nothing is written anywhere but into the store.
func TestHostileArchives(t *testing.T) {
	link := func(kind byte, name, to string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: to}
	}
	good := entry("LICENSE", "the licence")
	random := make([]byte, 600_000)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(random)
	long := gzipped(t, tarOf(t, entry("bin/tool", string(random)), good))
	for name, c := range map[string]struct {
		data []byte
		want error // nil for any
	}{
		"symlink":             {tarOf(t, link(tar.TypeSymlink, "bin/tool", "/etc/passwd"), good), mirror.ErrNoMember},
		"hard link":           {tarOf(t, link(tar.TypeLink, "bin/tool", "LICENSE"), good), mirror.ErrNoMember},
		"device":              {tarOf(t, link(tar.TypeChar, "bin/tool", ""), good), mirror.ErrNoMember},
		"folder":              {tarOf(t, link(tar.TypeDir, "bin/tool", ""), good), mirror.ErrNoMember},
		"absent":              {tarOf(t, good), mirror.ErrNoMember},
		"empty tar":           {tarOf(t), mirror.ErrNoMember},
		"cut short":           {long[:len(long)/2], nil},
		"cut tar":             {tarOf(t, entry("bin/tool", string(random)))[:100_000], nil},
		"not an archive":      {bytes.Repeat([]byte("no archive at all "), 100), mirror.ErrUnknownArchive},
		"xz":                  {append([]byte{0xfd, '7', 'z', 'X', 'Z', 0}, random[:100]...), mirror.ErrUnknownArchive},
		"zip cut short":       {zipOf(t, entry("bin/tool", "the tool"), good)[:60], nil},
		"empty file":          {nil, nil},
		"zstd window of 2 GB": {zstandardWindow(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			url := w.file("a", c.data)
			w.open()
			m, _ := w.mirror(mirror.Options{})
			_, err := m.FetchFile(t.Context(), tool(url))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.want != nil && !strings.Contains(err.Error(), url) {
				t.Errorf("%q does not name %s", err, url)
			}
		})
	}
}

// zstandardWindow is the head of a frame that wants a window of 2 GB.
func zstandardWindow() []byte {
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3}, make([]byte, 64)...)
}

func TestTraversalNamesStayNames(t *testing.T) {
	w := newWorld(t)
	url := w.file("a.tar", tarOf(t, entry("../../../../evil", "evil"), entry("/abs", "abs"), entry("bin/../bin/tool", "the tool"), entry("LICENSE", "the licence")))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	must(m.FetchFile(t.Context(), tool(url)))(t)
	err := filepath.WalkDir(filepath.Dir(w.cache), func(path string, d os.DirEntry, err error) error {
		if err == nil && (d.Name() == "evil" || d.Name() == "abs") {
			t.Errorf("extracted to %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBombIsNotUnpacked reads two small members in front of a large one that is
// cut off, and would be an error if it were read.
func TestBombIsNotUnpacked(t *testing.T) {
	var buf bytes.Buffer
	z := must(zstd.NewWriter(&buf))(t)
	tw := tar.NewWriter(z)
	for _, e := range []struct {
		name string
		size int64
	}{{"bin/tool", 8}, {"LICENSE", 8}, {"bomb", 2 << 30}} {
		if err := tw.WriteHeader(&tar.Header{Name: e.name, Mode: 0o644, Size: e.size, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if e.size > 8 {
			break // a promise is enough
		}
		if _, err := io.CopyN(tw, zeros{}, e.size); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	url := w.file("a.tar.zst", buf.Bytes())
	w.open()
	m, _ := w.mirror(mirror.Options{})
	must(m.FetchFile(t.Context(), tool(url)))(t)
	f := tool(url)
	f.Members = append(f.Members, mirror.Member{Path: "bomb", Name: "bomb"})
	if _, err := m.FetchFile(t.Context(), f); err == nil {
		t.Error("a member that ends before its size was taken for whole")
	}
}

func TestMemberTooLarge(t *testing.T) {
	var large bytes.Buffer
	if err := tar.NewWriter(&large).WriteHeader(&tar.Header{Name: "bin/tool", Mode: 0o644, Size: 9 << 30, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	zipped := zipOf(t, entry("bin/tool", "the tool"))
	at := bytes.Index(zipped, []byte("PK\x01\x02")) // the directory, where 64 bits of size go into an extra field
	lying := append([]byte(nil), zipped...)
	for i := range 4 {
		lying[at+24+i] = 0xff // uncompressed size
	}
	lying[at+24] = 0xfe
	for name, data := range map[string][]byte{"tar": large.Bytes(), "zip that lies": lying} {
		w := newWorld(t)
		url := w.file("a", data)
		w.open()
		m, _ := w.mirror(mirror.Options{})
		f := tool(url)
		f.Members = f.Members[:1]
		_, err := m.FetchFile(t.Context(), f)
		if err == nil || name == "tar" && !errors.Is(err, mirror.ErrLargeMember) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLinksAndTraversalInZip(t *testing.T) {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, mode := range map[string]os.FileMode{"bin/tool": 0o777 | os.ModeSymlink, "../../evil": 0o644, "LICENSE": 0o644} {
		h := &zip.FileHeader{Name: name}
		h.SetMode(mode)
		to := must(z.CreateHeader(h))(t)
		if _, err := io.WriteString(to, "/etc/passwd"); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	url := w.file("a.zip", buf.Bytes())
	w.open()
	m, _ := w.mirror(mirror.Options{})
	if _, err := m.FetchFile(t.Context(), tool(url)); !errors.Is(err, mirror.ErrNoMember) {
		t.Errorf("got %v, want ErrNoMember", err)
	}
}

// zeros is a reader without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestDigestOfMemberMustMatch(t *testing.T) {
	w := newWorld(t)
	url := w.file("a.tar", tarOf(t, entry("bin/tool", "the tool"), entry("LICENSE", "the licence")))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	good, pin := digest.FromString("the tool"), digest.FromString("other")
	for name, members := range map[string][]mirror.Member{
		"one":        {{Path: "bin/tool", Name: "tool", Digest: pin}},
		"two of one": {{Path: "bin/tool", Name: "tool", Digest: good}, {Path: "bin/tool", Name: "again", Digest: pin}},
	} {
		f := tool(url)
		f.Members = members
		_, err := m.FetchFile(t.Context(), f)
		var mismatch *mirror.MismatchError
		if !errors.As(err, &mismatch) || mismatch.Want != pin || mismatch.Got != good {
			t.Errorf("%s: got %v, want a *MismatchError of %s and %s", name, err, pin, good)
		}
	}
}

func TestTwoMembersOfOnePath(t *testing.T) {
	w := newWorld(t)
	url := w.file("a.tar", tarOf(t, entry("bin/tool", "first"), entry("bin/tool", "second")))
	w.open()
	m, st := w.mirror(mirror.Options{})
	f := tool(url)
	f.Members = []mirror.Member{{Path: "bin/tool", Name: "a"}, {Path: "bin/tool", Name: "b"}}
	got := must(m.FetchFile(t.Context(), f))(t)
	for _, member := range got.Members {
		if text := string(must(st.Read(t.Context(), member.Digest, 100))(t)); text != "first" {
			t.Errorf("member %q is %q, want the first entry of the name", member.Name, text)
		}
	}
}

func TestChecksumOfFileMustMatch(t *testing.T) {
	w := newWorld(t)
	url := w.file("tool", []byte("what is served"))
	w.open()
	m, _ := w.mirror(mirror.Options{})
	pin := digest.FromString("what was pinned")
	_, err := m.FetchFile(t.Context(), mirror.File{Component: "c", Name: "tool", URL: url, Digest: pin})
	var mismatch *mirror.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Want != pin || mismatch.Got != digest.FromString("what is served") || mismatch.Source != url {
		t.Errorf("got %v, want a *MismatchError with both digests and %s", err, url)
	}
}

func TestTitles(t *testing.T) {
	for url, want := range map[string]string{
		"https://h/x/tool.tgz":      "tool.tgz",
		"https://h/x/tool.tgz?a=/b": "tool.tgz",
		"https://h/x/":              "x",
		"https://h":                 "n",
		"https://h/":                "n",
		"https://h/a/..":            "n",
		"https://h/a/%2e%2e":        "n",
		"https://h/x/..%2f..":       "n",
		"https://h/x/a%5cb":         "n",
	} {
		if got, err := (mirror.File{URL: url, Name: "n"}).Title(); err != nil || got != want {
			t.Errorf("title of %s is %q, %v, want %q", url, got, err, want)
		}
	}
}

func TestFileArtifactDependsOnTheFilesAlone(t *testing.T) {
	w := newWorld(t)
	first, second := w.file("x/amd64", []byte("for amd64")), w.file("x/arm64", []byte("for arm64"))
	w.open()
	pack := func() *mirror.Artifact {
		w.cache = t.TempDir()
		m, st := w.mirror(mirror.Options{})
		var sources []*mirror.StoredFile
		for i, url := range []string{first, second} {
			f := mirror.File{Component: "c", Name: "tool", Version: "1.0+k1", URL: url, Platform: []*ocispec.Platform{&amd64, &arm64}[i], Mode: 0o755}
			sources = append(sources, must(m.FetchFile(t.Context(), f))(t))
		}
		a := must(m.FileArtifact(t.Context(), sources))(t)
		for _, d := range append(a.Manifests, a.Blobs...) {
			if !st.Has(d.Digest, d.Size) {
				t.Errorf("%s %s is not in the store", d.MediaType, d.Digest)
			}
		}
		return a
	}
	a := pack()
	if a.Ref != "naru/files/c/tool:1.0_k1" || a.Descriptor.MediaType != ocispec.MediaTypeImageIndex || len(a.Manifests) != 3 {
		t.Errorf("artifact %s of %d manifests, a %s", a.Ref, len(a.Manifests), a.Descriptor.MediaType)
	}
	if diff := cmp.Diff(a, pack()); diff != "" {
		t.Errorf("the same files made another artifact:\n%s", diff)
	}
}

func TestFileArtifactWithoutSources(t *testing.T) {
	w := newWorld(t)
	w.open()
	m, _ := w.mirror(mirror.Options{})
	if _, err := m.FileArtifact(t.Context(), nil); !errors.Is(err, mirror.ErrNoSource) {
		t.Errorf("got %v, want ErrNoSource", err)
	}
}

// tarBzip2 was made by tar and bzip2 -9.
const tarBzip2 = "QlpoOTFBWSZTWc/LwAsAAJL/hMqACEBAAO8ACiUIYHplngAAAIIIIACUhKTVPCgyGgxigeRpBKSNDQ0NAAAA+7N6mj4sWoANYUERBwMBzJRRAE4oRAeAYilRTeUadniIkpwEG4OFXyqM5mI5rzOcZbZ+oBEl3rSoxx7roRhLcPJgoaF5QsNCxsWb8MEQPxdyRThQkM/LwAs="
