package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/archive/frame"
)

var update = flag.Bool("update", false, "write testdata anew")

// small is a bundle whose volumes are small enough to be committed.
func small(t testing.TB) *fixture {
	return newFixture(t, [][]byte{{}, []byte("manifest"), random(1, 700), random(2, 512), bytes.Repeat([]byte("the same words\n"), 2000)[:20<<10]}, nil,
		[]archive.File{{Name: "signatures/index.json", Data: []byte("{}")}})
}

// hostile is a volume that must not pass, or must pass in spite of what it is like.
type hostile struct {
	name string
	edit func(v *edited)
	file func(data []byte) []byte // changes the file as a whole
	// open is the class of the error of Open; empty where only Verify, or with
	// verify empty too nobody, has anything against it.
	open, verify string
	// entry is the entry that the error must name, with its prefix.
	entry string
}

// classes of errors, as vectors.json has them.
var classes = map[string]func(error) bool{
	"ok":           func(err error) bool { return err == nil },
	"not-a-bundle": isA[*archive.NotABundleError],
	"damaged":      isA[*archive.DamagedError],
	"version":      isA[*manifest.VersionError],
	"missing":      isA[*archive.MissingVolumeError],
}

func isA[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

// hostiles are edits of the one volume of small.
func hostiles() []hostile {
	blob := "blobs/sha256/"
	insert := func(at string, e editedEntry) func(*edited) {
		return func(v *edited) { v.entries = slices.Insert(v.entries, v.index(at), e) }
	}
	header := func(change func(*tar.Header)) func(*edited) {
		return func(v *edited) { v.find(blob).header = change }
	}
	evil := func(name string, change func(*tar.Header)) func(*edited) {
		return insert("signatures/", editedEntry{name: name, header: change})
	}
	list := []hostile{
		{name: "good"},
		{name: "traversal", edit: evil("../etc/passwd", nil), open: "damaged"},
		{name: "traversal-in-the-middle", edit: evil("signatures/../../x", nil), open: "damaged"},
		{name: "absolute", edit: evil("/etc/passwd", nil), open: "damaged"},
		{name: "backslash", edit: evil("signatures\\..\\x", nil), open: "damaged"},
		{name: "control", edit: evil("signatures/\x1b[2J", nil), open: "damaged"},
		{name: "symlink", edit: evil("signatures/a", func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc" }), verify: "damaged"},
		{name: "hardlink", edit: evil("signatures/a", func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeLink, "/etc/passwd" }), verify: "damaged"},
		{name: "folder", edit: evil("signatures/a/", func(h *tar.Header) { h.Typeflag = tar.TypeDir }), open: "damaged"},
		{name: "device", edit: evil("signatures/a", func(h *tar.Header) { h.Typeflag = tar.TypeChar }), verify: "damaged"},
		{name: "setuid", edit: header(func(h *tar.Header) { h.Mode = 0o4755 }), verify: "damaged"},
		{name: "owner", edit: header(func(h *tar.Header) { h.Uid, h.Uname = 1000, "x" }), verify: "damaged"},
		{name: "file-and-folder-in-signatures", edit: func(v *edited) {
			v.entries = append(v.entries, editedEntry{name: "signatures/index.json/a"})
		}, open: "damaged", entry: "signatures/"},
		{name: "unknown-entry", edit: evil("more.txt", nil), open: "damaged", entry: "more.txt"},
		{name: "unknown-blob", edit: insert("signatures/", editedEntry{name: blob + string(bytes.Repeat([]byte("ab"), 32))}), open: "damaged", entry: blob + "ab"},
		{name: "blob-name", edit: insert("signatures/", editedEntry{name: blob + "AB"}), open: "damaged", entry: blob},
		{name: "duplicate-blob", edit: func(v *edited) { v.entries = slices.Insert(v.entries, v.index(blob), *v.find(blob)) }, open: "damaged", entry: blob},
		{name: "duplicate-head", edit: func(v *edited) { v.entries = slices.Insert(v.entries, 3, v.entries[1]) }, open: "damaged"},
		{name: "duplicate-signature", edit: func(v *edited) { v.entries = append(v.entries, *v.find("signatures/")) }, open: "damaged", entry: "signatures/"},
		{name: "missing-blob", edit: func(v *edited) { v.entries = slices.Delete(v.entries, v.index(blob), v.index(blob)+1) }, open: "damaged", entry: blob},
		{name: "missing-file", edit: func(v *edited) { v.entries = slices.Delete(v.entries, v.index("oci-layout"), v.index("oci-layout")+1) }, open: "damaged", entry: "oci-layout"},
		{name: "order-of-blobs", edit: func(v *edited) {
			i := v.index(blob)
			v.entries[i], v.entries[i+1] = v.entries[i+1], v.entries[i]
		}, open: "damaged", entry: blob},
		{name: "order-of-files", edit: func(v *edited) {
			i := v.index("oci-layout")
			v.entries[i], v.entries[i+1] = v.entries[i+1], v.entries[i]
		}, open: "damaged", entry: "oci-layout"},
		{name: "content-of-file", edit: func(v *edited) { v.find("lock.yaml").content[0] ^= 1 }, verify: "damaged", entry: "lock.yaml"},
		{name: "content-of-index", edit: func(v *edited) { v.find("index.json").content[20] ^= 1 }, open: "damaged", entry: "index.json"},
		{name: "content-of-blob", edit: func(v *edited) { v.entries[v.index(blob)+1].content[0] ^= 1 }, verify: "damaged", entry: blob},
		{name: "contents", edit: func(v *edited) { v.find("contents.json").content[40] ^= 1 }, open: "damaged", entry: "contents.json"},
		{name: "other-bundle-json", edit: func(v *edited) { v.find("bundle.json").content[40] ^= 1 }, open: "damaged", entry: "bundle.json"},
		{name: "size-of-blob", edit: func(v *edited) {
			e := &v.entries[v.index(blob)+2]
			e.content = append(e.content, 0)
		}, open: "damaged", entry: blob},
		{name: "head-compressed", edit: func(v *edited) { v.find("bundle.json").zstd = true }, open: "damaged", entry: "bundle.json"},
		{name: "size-overflows", edit: evil("signatures/a", func(h *tar.Header) { h.Size = math.MaxInt64 }), open: "damaged"},
		{name: "size-overflows-in-the-head", edit: func(v *edited) { v.find("bundle.json").header = func(h *tar.Header) { h.Size = math.MaxInt64 - 1 } }, open: "damaged", entry: "bundle.json"},
		{name: "padding", edit: func(v *edited) { v.pad = 1 }, open: "damaged"},
		{name: "end-missing", edit: func(v *edited) { v.end = make([]byte, 512) }, verify: "damaged"},
		{name: "end-not-zero", edit: func(v *edited) { v.end = append(make([]byte, 1023), 1) }, verify: "damaged"},
		{name: "entries-behind-the-end", edit: func(v *edited) { v.end = make([]byte, 2048) }, verify: "damaged"},
		{name: "toc-missing", edit: func(v *edited) { v.noTOC = true }, open: "damaged", entry: "toc.json"},
		{name: "toc-empty", edit: func(v *edited) { v.toc = func([]editedLine) []editedLine { return []editedLine{} } }, verify: "damaged", entry: "toc.json"},
		{name: "toc-swaps-names", edit: func(v *edited) {
			v.toc = func(l []editedLine) []editedLine {
				l[3].Name, l[4].Name = l[4].Name, l[3].Name
				return l
			}
		}, verify: "damaged", entry: "toc.json"},
		{name: "toc-shifts-frames", edit: func(v *edited) {
			v.toc = func(l []editedLine) []editedLine {
				for i := 5; i < len(l); i++ {
					l[i].Frame++
				}
				return l
			}
		}, verify: "damaged", entry: "toc.json"},
		{name: "toc-beyond-the-file", edit: func(v *edited) {
			v.toc = func(l []editedLine) []editedLine {
				l[len(l)-1].Frame = 1 << 19
				return l
			}
		}, verify: "damaged", entry: "toc.json"},
		{name: "other-volume-of-two", edit: func(v *edited) { v.number, v.count = 2, 2 }, open: "missing"},
		{name: "more-volumes", edit: func(v *edited) { v.count = 3 }, open: "missing"},
		{name: "no-such-number", edit: func(v *edited) { v.number = 2 }, open: "damaged", entry: "volume.json"},
		{name: "first-entry", edit: func(v *edited) { v.entries = v.entries[1:] }, open: "not-a-bundle"},
		{name: "newer-version", edit: func(v *edited) {
			v.entries[0].name = "volume.json "
			v.entries[0].content = []byte(`{"apiVersion":"naru/v2","kind":"Volume","shape":"other"}` + "\n")
			v.entries[0].header = func(h *tar.Header) { h.Name = "volume.json" }
		}, open: "version"},
		{name: "volume-json-in-other-words", edit: func(v *edited) {
			v.entries[0].name = "volume.json "
			v.entries[0].content = []byte(`{"kind":"Volume","apiVersion":"naru/v1","bundle":"` + string(v.bundle) + `","number":1,"count":1,"toc":1}`)
			v.entries[0].header = func(h *tar.Header) { h.Name = "volume.json" }
		}, open: "damaged", entry: "volume.json"},
	}
	return append(list, hostileFrames()...)
}

// hostileFrames are edits below the tar.
func hostileFrames() []hostile {
	last := func(infos []frame.Info, with func(*frame.Info)) []frame.Info {
		with(&infos[len(infos)-3])
		return infos
	}
	reencode := func(opts ...zstd.EOption) func(*edited) {
		return func(v *edited) {
			v.frames = func(frames [][]byte, infos []frame.Info) [][]byte {
				enc, _ := zstd.NewWriter(nil, opts...)
				content := v.entries[len(v.entries)-2].content
				i := slices.IndexFunc(infos, func(f frame.Info) bool { return int(f.Content) == len(content) })
				frames[i] = enc.EncodeAll(content, nil)
				infos[i].Size = uint32(len(frames[i]))
				return frames
			}
		}
	}
	return []hostile{
		{name: "frame-with-checksum", edit: reencode(zstd.WithEncoderCRC(true), zstd.WithSingleSegment(true)), verify: "damaged"},
		{name: "frame-with-window", edit: reencode(zstd.WithEncoderCRC(false), zstd.WithSingleSegment(false), zstd.WithWindowSize(8<<20)), verify: "damaged"},
		{name: "two-frames-in-one-slice", edit: func(v *edited) {
			v.frames = func(frames [][]byte, infos []frame.Info) [][]byte {
				i := slices.IndexFunc(infos, func(f frame.Info) bool { return f.Content == 20<<10 })
				frames[i] = frame.AppendRaw(frames[i], []byte("more"))
				infos[i].Size = uint32(len(frames[i]))
				return frames
			}
		}, verify: "damaged", entry: "blobs/"},
		{name: "frame-longer-than-raw", edit: func(v *edited) {
			v.frames = func(frames [][]byte, infos []frame.Info) [][]byte {
				i := len(frames) - 5 // of the signature
				frames[i] = []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 2, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, '{', '}'}
				infos[i].Size = uint32(len(frames[i]))
				return frames
			}
		}, open: "damaged"},
		{name: "bomb", edit: func(v *edited) {
			v.frames = func(frames [][]byte, infos []frame.Info) [][]byte {
				// A blob's frame that is a run of 4 GiB less a byte.
				i := slices.IndexFunc(infos, func(f frame.Info) bool { return f.Content == 700 })
				bomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff}
				for len(bomb) < 700 {
					bomb = append(bomb, 0x02, 0, 0x10, 0)
				}
				frames[i], infos[i].Size = bomb, uint32(len(bomb))
				return frames
			}
		}, verify: "damaged"},
		{name: "bomb-in-the-head", edit: func(v *edited) {
			v.frames = func(frames [][]byte, infos []frame.Info) [][]byte {
				frames[1] = []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0, 0x03, 0, 0x10, 0}
				return frames
			}
		}, open: "not-a-bundle"},
		{name: "table-shifts-a-frame", edit: func(v *edited) {
			v.table = func(i []frame.Info) []frame.Info {
				i[len(i)-4].Size--
				i[len(i)-3].Size++
				return i
			}
		}, open: "damaged"},
		{name: "table-overlaps", edit: func(v *edited) {
			v.table = func(i []frame.Info) []frame.Info { return last(i, func(f *frame.Info) { f.Size++ }) }
		}, open: "damaged"},
		{name: "table-with-a-gap", edit: func(v *edited) {
			v.table = func(i []frame.Info) []frame.Info { return last(i, func(f *frame.Info) { f.Size-- }) }
		}, open: "damaged"},
		{name: "table-lies-about-content", edit: func(v *edited) {
			v.table = func(i []frame.Info) []frame.Info { return last(i, func(f *frame.Info) { f.Content++ }) }
		}, open: "damaged"},
		{name: "table-with-large-content", edit: func(v *edited) {
			v.table = func(i []frame.Info) []frame.Info {
				return last(i, func(f *frame.Info) { f.Content = frame.MaxContent + 1 })
			}
		}, open: "damaged"},
		{name: "table-too-short", edit: func(v *edited) { v.table = func(i []frame.Info) []frame.Info { return i[:len(i)-1] } }, open: "damaged"},
		{name: "table-empty", edit: func(v *edited) { v.table = func([]frame.Info) []frame.Info { return nil } }, open: "damaged"},
		{name: "truncated", file: func(d []byte) []byte { return d[:len(d)-100] }, open: "damaged"},
		{name: "truncated-in-the-head", file: func(d []byte) []byte { return d[:1500] }, open: "damaged"},
		{name: "truncated-at-the-start", file: func(d []byte) []byte { return d[:300] }, open: "not-a-bundle"},
		{name: "empty", file: func([]byte) []byte { return nil }, open: "not-a-bundle"},
		{name: "garbage-behind", file: func(d []byte) []byte { return append(d, "garbage"...) }, open: "damaged"},
		{name: "garbage-before", file: func(d []byte) []byte { return append([]byte("garbage"), d...) }, open: "not-a-bundle"},
		{name: "tar-in-one-frame", file: func([]byte) []byte {
			enc, _ := zstd.NewWriter(nil)
			return enc.EncodeAll(make([]byte, 10240), nil)
		}, open: "not-a-bundle"},
	}
}

// build makes the volume of h.
func (h hostile) build(t testing.TB, good string) []byte {
	t.Helper()
	v := takeApart(t, good)
	if h.edit != nil {
		h.edit(v)
	}
	data := v.bytes(t)
	if h.file != nil {
		data = h.file(data)
	}
	return data
}

// check opens and verifies the volume at path and compares with what h says; and
// whatever happened, every byte that is handed out is what was signed.
func (h hostile) check(t *testing.T, f *fixture, path string) {
	t.Helper()
	ctx := context.Background()
	r, err := archive.Open(ctx, []string{path}, f.accept)
	stage, want := "Open", or(h.open, "ok")
	if err == nil {
		defer func() { _ = r.Close() }()
		readSigned(t, f, r)
		_, err = r.Verify(ctx, archive.VerifyOptions{})
		stage, want = "Verify", or(h.verify, "ok")
		if h.open != "" {
			stage, want = "Open", h.open
		}
	}
	if !classes[want](err) {
		t.Errorf("%s: %v, want %s", stage, err, want)
	}
	if h.entry != "" && !names(err, h.entry) {
		t.Errorf("%s: %v, want it to name %q", stage, err, h.entry)
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// names reports whether a *DamagedError in err names an entry.
func names(err error, entry string) bool {
	var damaged *archive.DamagedError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return names(err, entry) })
	}
	if !errors.As(err, &damaged) {
		return false
	}
	if error(damaged) == err { //nolint:errorlint // is this very error the damaged one?
		return len(damaged.Entry) >= len(entry) && damaged.Entry[:len(entry)] == entry
	}
	return names(errors.Unwrap(err), entry)
}

// readSigned reads all that can be read; nothing may differ from what was signed.
func readSigned(t *testing.T, f *fixture, r *archive.Reader) {
	t.Helper()
	ctx := context.Background()
	for d, want := range f.content {
		b, err := r.OpenBlob(ctx, d)
		if err != nil {
			continue
		}
		got, err := io.ReadAll(b)
		if err == nil && !bytes.Equal(got, want) || err != nil && len(got) >= len(want) && len(want) > 0 {
			t.Errorf("blob %s: read %d bytes, error %v", d, len(got), err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if len(want) == 0 {
			continue
		}
		if b, err = r.OpenBlob(ctx, d); err != nil {
			continue
		}
		tail := make([]byte, 1)
		if _, err := b.Seek(-1, io.SeekEnd); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(b, tail); err == nil && tail[0] != want[len(want)-1] {
			t.Errorf("blob %s: a range yields what was not signed", d)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, file := range f.input.Files {
		if got, err := r.ReadFile(ctx, file.Name); err == nil && !bytes.Equal(got, file.Data) {
			t.Errorf("file %q differs", file.Name)
		}
	}
}

func TestHostile(t *testing.T) {
	f := small(t)
	good := f.pack(t, t.TempDir(), 0)[0]
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "v.tar.zst")
			if err := os.WriteFile(path, h.build(t, good), 0o600); err != nil {
				t.Fatal(err)
			}
			h.check(t, f, path)
		})
	}
}

// vector is a line of testdata/vectors.json, for other implementations.
type vector struct {
	File   string `json:"file"`
	Open   string `json:"open"`             // class of the error of opening
	Verify string `json:"verify,omitempty"` // of verifying, where opening succeeds
	Entry  string `json:"entry,omitempty"`  // start of the name of the entry to blame
}

// TestVectors checks the committed volumes, which other implementations may use;
// -update makes them anew.
func TestVectors(t *testing.T) {
	f := small(t)
	good := f.pack(t, t.TempDir(), 0)[0]
	var vectors []vector
	for _, h := range hostiles() {
		v := vector{File: h.name + ".tar.zst", Open: or(h.open, "ok"), Entry: h.entry}
		if h.open == "" {
			v.Verify = or(h.verify, "ok")
		}
		vectors = append(vectors, v)
		path := filepath.Join("testdata", v.File)
		if *update {
			if err := os.WriteFile(path, h.build(t, good), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(h.name, func(t *testing.T) {
			// Alone in a folder, as there must be no siblings.
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 20<<10 {
				t.Errorf("%d bytes", len(data))
			}
			alone := filepath.Join(t.TempDir(), "v.tar.zst")
			if err := os.WriteFile(alone, data, 0o600); err != nil {
				t.Fatal(err)
			}
			h.check(t, f, alone)
		})
	}
	list, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, '\n')
	path := filepath.Join("testdata", "vectors.json")
	if *update {
		if err := os.WriteFile(path, list, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(list), string(got)); diff != "" {
		t.Error(diff)
	}
}
