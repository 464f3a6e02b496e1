package archive_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive"
)

func TestContents(t *testing.T) {
	want := archive.NewContents([]archive.File{{Name: "a/b.yaml", Data: []byte("x")}, {Name: "한국어.txt", Data: nil}},
		[]archive.Blob{{Digest: digest.FromString("x"), Size: 1, Encoding: archive.EncodingRaw}, {Digest: digest.FromString("y"), Size: 1 << 40, Encoding: archive.EncodingZstd}})
	data, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := archive.DecodeContents(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestContentsRefuses(t *testing.T) {
	d := digest.FromString("x")
	entry := func(name string) archive.Contents {
		return archive.Contents{Entries: []archive.Entry{{Name: name, Digest: d, Size: 1}}}
	}
	blobs := func(b ...archive.Blob) archive.Contents { return archive.Contents{Blobs: b} }
	blob := archive.Blob{Digest: d, Size: 1, Encoding: archive.EncodingRaw}
	for name, c := range map[string]archive.Contents{
		"no name":             entry(""),
		"absolute":            entry("/x"),
		"parent":              entry("../x"),
		"parent within":       entry("a/../x"),
		"only parent":         entry(".."),
		"dot":                 entry("."),
		"dot within":          entry("a/./b"),
		"slash at the end":    entry("a/"),
		"two slashes":         entry("a//b"),
		"backslash":           entry(`a\b`),
		"newline":             entry("a\nb"),
		"escape":              entry("a\x1b[2Jb"),
		"direction override":  entry("a\u202eb"),
		"not UTF-8":           entry("a\xffb"),
		"replacement":         entry("a\ufffdb"),
		"long":                entry(strings.Repeat("x", 256)),
		"reserved volume":     entry("volume.json"),
		"reserved bundle":     entry("bundle.json"),
		"reserved signature":  entry("bundle.json.sigstore.json"),
		"reserved contents":   entry("contents.json"),
		"reserved toc":        entry("toc.json"),
		"reserved blobs":      entry("blobs/sha256/x"),
		"reserved folder":     entry("signatures"),
		"reserved signatures": entry("signatures/x"),
		"twice":               {Entries: []archive.Entry{{Name: "a", Digest: d}, {Name: "a", Digest: d}}},
		"file and folder":     {Entries: []archive.Entry{{Name: "a/b", Digest: d}, {Name: "a", Digest: d}}},
		"negative file":       {Entries: []archive.Entry{{Name: "a", Digest: d, Size: -1}}},
		"large file":          {Entries: []archive.Entry{{Name: "a", Digest: d, Size: 1 << 40}}},
		"file without digest": {Entries: []archive.Entry{{Name: "a"}}},
		"blob twice":          blobs(blob, blob),
		"sha512":              blobs(archive.Blob{Digest: digest.Digest("sha512:" + strings.Repeat("ab", 64)), Size: 1, Encoding: archive.EncodingRaw}),
		"upper case":          blobs(archive.Blob{Digest: digest.Digest("sha256:" + strings.Repeat("AB", 32)), Encoding: archive.EncodingRaw}),
		"encoding":            blobs(archive.Blob{Digest: d, Size: 1, Encoding: "gzip"}),
		"no encoding":         blobs(archive.Blob{Digest: d, Size: 1}),
		"negative blob":       blobs(archive.Blob{Digest: d, Size: -1, Encoding: archive.EncodingRaw}),
		"huge blob":           blobs(archive.Blob{Digest: d, Size: 1 << 60, Encoding: archive.EncodingRaw}),
		"empty blob":          blobs(archive.Blob{Digest: d, Encoding: archive.EncodingRaw}),
		"empty zstd blob":     blobs(archive.Blob{Digest: digest.FromString(""), Encoding: archive.EncodingZstd}),
	} {
		c.APIVersion, c.Kind = manifest.APIVersion, manifest.KindContents
		if _, err := c.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		data, err := manifest.EncodeJSON(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := archive.DecodeContents(data); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	good, err := archive.NewContents(nil, []archive.Blob{blob}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"space":          bytes.Replace(good, []byte(":"), []byte(": "), 1),
		"no newline":     bytes.TrimSpace(good),
		"other case":     bytes.Replace(good, []byte(`"size"`), []byte(`"Size"`), 1),
		"field twice":    bytes.Replace(good, []byte(`"size":1`), []byte(`"size":2,"size":1`), 1),
		"unknown field":  bytes.Replace(good, []byte(`"size":1`), []byte(`"size":1,"x":1`), 1),
		"two documents":  append(bytes.Clone(good), good...),
		"other kind":     bytes.Replace(good, []byte("Contents"), []byte("Bundle"), 1),
		"not JSON":       []byte("contents"),
		"number as text": bytes.Replace(good, []byte(`:1,`), []byte(`:"1",`), 1),
	} {
		if _, err := archive.DecodeContents(data); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	var version *manifest.VersionError
	if _, err := archive.DecodeContents(bytes.Replace(good, []byte("naru/v1"), []byte("naru/v2"), 1)); !errors.As(err, &version) {
		t.Error(err)
	}
}

func FuzzContents(f *testing.F) {
	good, err := archive.NewContents([]archive.File{{Name: "a"}}, []archive.Blob{{Digest: digest.FromString("x"), Size: 1, Encoding: archive.EncodingRaw}}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := archive.DecodeContents(data)
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("decodes, but does not encode to the same: %v", err)
		}
		for _, e := range c.Entries {
			if !filepath.IsLocal(e.Name) {
				t.Errorf("name %q", e.Name)
			}
		}
	})
}

// FuzzVolume opens arbitrary bytes as a volume, without a signature in the way, and
// reads all there is.
func FuzzVolume(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.tar.zst")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range seeds {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	path := filepath.Join(f.TempDir(), "v.tar.zst")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := archive.OpenUnsafe(context.Background(), []string{path})
		if err != nil {
			if !named(err) {
				t.Errorf("%v names nothing", err)
			}
			return
		}
		defer func() { _ = r.Close() }()
		_, err = r.Verify(context.Background(), archive.VerifyOptions{Jobs: 1})
		if err == nil {
			for _, b := range r.Contents().Blobs {
				readBlob(t, r, b)
			}
		}
	})
}

// readBlob reads a blob that was verified and compares its digest once more.
func readBlob(t *testing.T, r *archive.Reader, b archive.Blob) {
	t.Helper()
	blob, err := r.OpenBlob(context.Background(), b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := digest.FromReader(blob); err != nil || got != b.Digest {
		t.Errorf("%s, want %s: %v", got, b.Digest, err)
	}
	if err := blob.Close(); err != nil {
		t.Error(err)
	}
}
