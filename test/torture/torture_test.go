package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
	"naru/test/lab/upstream"
	"naru/test/lab/workload"
)

// These tests show that the torture notices what it looks for.

func newTally() *tally { return &tally{counts: map[string]int{}} }

func TestMapVolume(t *testing.T) {
	paths, err := filepath.Glob("../../pkg/archive/testdata/good*.zst")
	if err != nil || len(paths) == 0 {
		t.Fatal("no good volumes among the vectors", err)
	}
	for _, path := range paths {
		volume, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		regions, err := mapVolume(volume)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		at := int64(0)
		seen := map[string]bool{}
		for _, r := range regions {
			if r.from != at || r.to <= r.from {
				t.Errorf("%s: region %+v begins elsewhere than at %d", path, r, at)
			}
			at = r.to
			seen[r.part+" "+r.entry] = true
			if got := over(regions, r.from, r.to); len(got) != 1 || got[0] != r {
				t.Errorf("%s: over %+v is %+v", path, r, got)
			}
		}
		for _, want := range []string{"header volume.json", "content volume.json", "content bundle.json", "content toc.json", partEnd + " ", partTable + " "} {
			if !seen[want] {
				t.Errorf("%s: no %s", path, want)
			}
		}
		if at != int64(len(volume)) {
			t.Errorf("%s: regions end at %d of %d", path, at, len(volume))
		}
		if _, err := mapVolume(volume[:len(volume)-1]); err == nil {
			t.Errorf("%s: mapped without its last byte", path)
		}
	}
}

func TestJudge(t *testing.T) {
	const volume, entry = "v.tar.zst", "blobs/sha256/aa"
	raw := make([]byte, 64)
	raw[4] = 0xA0
	packed := make([]byte, 64)
	packed[4], packed[9] = 0xA0, 2<<1
	content := region{from: 0, to: 64, part: partContent, entry: entry}
	damaged := func(volume, entry string) error { return &archive.DamagedError{Volume: "/x/" + volume, Entry: entry} }
	for name, c := range map[string]struct {
		file   []byte
		region region
		wound  wound
		b      believed
		fails  bool
	}{
		"refused, named":           {raw, content, wound{xor: []byte{1}}, believed{err: damaged(volume, entry)}, false},
		"refused, among others":    {raw, content, wound{xor: []byte{1}}, believed{err: errors.Join(damaged("w", "e"), damaged("w, /x/"+volume, entry))}, false},
		"refused, another entry":   {raw, content, wound{xor: []byte{1}}, believed{err: damaged(volume, "blobs/sha256/bb")}, true},
		"refused, another volume":  {raw, content, wound{xor: []byte{1}}, believed{err: damaged("w", entry)}, true},
		"refused without a reason": {raw, content, wound{xor: []byte{1}}, believed{err: io.ErrUnexpectedEOF}, true},
		"accepted":                 {raw, content, wound{xor: []byte{1}}, believed{}, true},
		"accepted, packed":         {packed, content, wound{xor: []byte{1}}, believed{}, false},
		"accepted, cut":            {packed, content, wound{}, believed{}, true},
		"accepted, structure":      {packed, region{to: 64, part: partTable}, wound{xor: []byte{1}}, believed{}, true},
		"wrong content":            {packed, content, wound{xor: []byte{1}}, believed{wrong: []string{"x"}}, true},
		"cut, missing":             {raw, content, wound{}, believed{err: &archive.MissingVolumeError{Missing: []int{1}, Count: 3}}, false},
		"cut, another missing":     {raw, content, wound{}, believed{err: &archive.MissingVolumeError{Missing: []int{2}, Count: 3}}, true},
	} {
		p := &patient{tally: newTally(), medium: &medium{volumes: []string{volume}, files: map[string][]byte{volume: c.file}, regions: map[string][]region{volume: {c.region}}}}
		c.wound.file = volume
		p.judge(c.wound, c.b)
		if fails := p.tally.err() != nil; fails != c.fails {
			t.Errorf("%s: %v", name, p.tally.err())
		}
	}
}

func TestRefetchIsSeen(t *testing.T) {
	ctx := context.Background()
	s := &suite{work: t.TempDir(), seed: 1, out: io.Discard}
	src, err := s.newSource(ctx, 1, workload.Shape{Name: "tiny", Bytes: 1e6, Images: 1, Bases: 1, Layers: 1, RawPercent: 50, Files: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.up.Close() })
	file := src.layout.Catalog.Files[0]
	path := "/files/" + strings.TrimPrefix(file.URL, "https://")
	d := digest.NewDigestFromEncoded(digest.SHA256, file.SHA256)
	b := &builds{suite: s, src: src, tally: newTally(), whole: map[string]bool{}, files: map[string]digest.Digest{path: d}}
	for i, want := range []int{0, 1} {
		resp, err := src.up.Client().Get(src.up.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if err := b.requests(ctx); err != nil {
			t.Fatal(err)
		}
		if got := b.tally.counts["refetched"]; got != want {
			t.Errorf("fetch %d: %d seen, want %d", i, got, want)
		}
		b.whole[d.String()] = true
	}
}

func TestSecondUploadIsSeen(t *testing.T) {
	r := &registry{acked: map[string]bool{}, fresh: map[string]bool{}}
	put := func(status int) {
		u := &url.URL{Path: "/v2/mirror/a/blobs/uploads/1", RawQuery: "digest=" + digest.FromString("x").String()}
		if err := r.note(&http.Response{StatusCode: status, Request: &http.Request{Method: http.MethodPut, URL: u}}); err != nil {
			t.Fatal(err)
		}
	}
	put(http.StatusServiceUnavailable)
	put(http.StatusCreated)
	if again := r.uploadedAgain(); len(again) != 0 {
		t.Errorf("an upload that failed counts: %q", again)
	}
	if n, err := r.settle(context.Background()); n != 1 || err != nil {
		t.Errorf("%d acknowledged, %v", n, err)
	}
	put(http.StatusCreated)
	if again := r.uploadedAgain(); len(again) != 1 {
		t.Errorf("seen: %q", again)
	}
}

func TestReadStore(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "blobs", "sha256")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	good, bad := digest.FromString("good"), digest.FromString("bad")
	for d, text := range map[digest.Digest]string{good: "good", bad: "ba"} {
		if err := os.WriteFile(filepath.Join(dir, d.Encoded()), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := map[string]bool{}
	wrong, err := readStore(cache, whole)
	if err != nil || len(wrong) != 1 || !whole[good.String()] || whole[bad.String()] {
		t.Errorf("wrong %v, whole %v, %v", wrong, whole, err)
	}
}

func TestSeed(t *testing.T) {
	for text, want := range map[string]uint64{"": defaultSeed, "7": 7} {
		if got, err := seedFrom(text); got != want || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	if _, err := seedFrom("seven"); err == nil {
		t.Error("taken for a seed")
	}
	s := &suite{seed: 3}
	if s.random(1).Uint64() != s.random(1).Uint64() || s.random(1).Uint64() == s.random(2).Uint64() {
		t.Error("streams are not what they should be")
	}
}

// TestObject tells a blob that is fetched again from a question about it.
func TestObject(t *testing.T) {
	d := digest.FromString("content")
	b := &builds{files: map[string]digest.Digest{"/files/dl.lab.test/a": d}}
	for path, want := range map[string]string{
		"/v2/ghcr.io/a/b/blobs/" + d.String():     d.String(),
		"/v2/ghcr.io/a/b/manifests/" + d.String(): d.String(),
		"/files/dl.lab.test/a":                    d.String(),
		"/v2/ghcr.io/a/b/referrers/" + d.String(): "/v2/ghcr.io/a/b/referrers/" + d.String(),
	} {
		if got := b.object(upstream.Request{Path: path}); got != want {
			t.Errorf("%q is for %q, want %q", path, got, want)
		}
	}
}
