package archive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive"
)

// store is a Source in memory.
type store map[digest.Digest][]byte

func (s store) OpenStored(_ context.Context, b archive.Blob) (io.ReadCloser, error) {
	data, ok := s[b.Digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// fixture is a bundle to be packed.
type fixture struct {
	input   archive.Input
	content map[digest.Digest][]byte
	store   store
}

// random is size bytes that do not compress, the same for the same seed.
func random(seed uint64, size int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

// text is size bytes that compress to about a third.
func text(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := []string{"ferry", "landing", "registry", "volume", "digest", "depot", "air", "gap"}
	var buf bytes.Buffer
	for buf.Len() < size {
		fmt.Fprintf(&buf, "%s %d ", words[r.IntN(len(words))], r.IntN(100000))
	}
	return buf.Bytes()[:size]
}

// newFixture makes a bundle of blobs; files come on top of lock and index.
func newFixture(t testing.TB, blobs [][]byte, files []archive.File, signatures []archive.File) *fixture {
	t.Helper()
	f := &fixture{content: map[digest.Digest][]byte{}, store: store{}}
	var plain []archive.Blob
	for _, data := range blobs {
		d := digest.FromBytes(data)
		var stored bytes.Buffer
		res, err := archive.Encode(context.Background(), bytes.NewReader(data), int64(len(data)), &stored, archive.EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := archive.Blob{Digest: d, Size: int64(len(data)), Encoding: res.Encoding}
		f.content[d], f.store[d] = data, data
		if res.Encoding == archive.EncodingZstd {
			f.store[d] = stored.Bytes()
		}
		if got := int64(len(f.store[d])); got != res.EncodedSize {
			t.Fatalf("Encode wrote %d bytes, says %d", got, res.EncodedSize)
		}
		f.input.Blobs = append(f.input.Blobs, archive.PackBlob{Blob: b, EncodedSize: res.EncodedSize})
		plain = append(plain, b)
	}
	f.input.Files = append([]archive.File{
		{Name: archive.LockName, Data: []byte("lock: true\n")},
		{Name: "oci-layout", Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{Name: archive.IndexName, Data: []byte(`{"schemaVersion":2,"manifests":[]}`)},
	}, files...)
	f.input.Signatures = signatures
	f.input.Signature = []byte("signed")
	f.sign(t, archive.NewContents(f.input.Files, plain))
	return f
}

// sign makes the documents that follow from the contents.
func (f *fixture) sign(t testing.TB, c *archive.Contents) {
	t.Helper()
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.input.Contents = data
	b := &manifest.Bundle{
		APIVersion: manifest.APIVersion, Kind: manifest.KindBundle, Release: "test",
		Components: []string{"a"}, Platforms: []string{"linux/amd64"}, Created: "2025-01-01T00:00:00Z",
		Builder: manifest.Builder{Version: "test"}, Contents: digest.FromBytes(data),
		Lock: digest.FromBytes(f.input.Files[0].Data), Index: digest.FromBytes(f.input.Files[2].Data),
		Scan: manifest.Scan{Verdict: manifest.VerdictSkipped},
	}
	if f.input.Bundle, err = b.Encode(); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) plan(t testing.TB, limit int64) *archive.Plan {
	t.Helper()
	p, err := archive.NewPlan(f.input, f.options(limit))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (f *fixture) options(limit int64) archive.PlanOptions {
	return archive.PlanOptions{VolumeSize: limit, Prefix: "test", Frames: func(b archive.Blob) ([]int64, error) {
		return archive.StoredFrames(context.Background(), f.store, b)
	}}
}

// pack writes the bundle into dir and returns the paths of the volumes.
func (f *fixture) pack(t testing.TB, dir string, limit int64) []string {
	t.Helper()
	files, err := f.plan(t, limit).Write(context.Background(), dir, f.store, archive.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	paths := make([]string, len(files))
	for i, v := range files {
		paths[i] = filepath.Join(dir, v.Name)
		data, err := os.ReadFile(paths[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := digest.FromBytes(data); got != v.Digest || int64(len(data)) != v.Size {
			t.Fatalf("volume %s: digest %s, size %d, says %s, %d", v.Name, got, len(data), v.Digest, v.Size)
		}
	}
	return paths
}

// accept is a verifier that wants the fixture's own signature.
func (f *fixture) accept(bundleJSON, signature []byte) error {
	if !bytes.Equal(bundleJSON, f.input.Bundle) || !bytes.Equal(signature, f.input.Signature) {
		return errSignature
	}
	return nil
}

var errSignature = fmt.Errorf("bad signature")

func (f *fixture) open(t testing.TB, paths ...string) *archive.Reader {
	t.Helper()
	r, err := archive.Open(context.Background(), paths, f.accept)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// standard is a bundle with everything in it: empty, small, compressible and large
// blobs, a large metadata file and signatures.
func standard(t testing.TB) *fixture {
	blobs := [][]byte{{}, []byte("x"), random(1, 511), random(2, 512), random(3, 128<<10), random(4, 128<<10+1)}
	blobs = append(blobs, text(5, 100<<10), random(6, 4<<20), text(7, 9<<20), random(8, 9<<20+77), text(9, 5<<20), random(10, 1<<20))
	return newFixture(t, blobs,
		[]archive.File{{Name: "reports/sbom.json", Data: text(11, 200<<10)}, {Name: "release/demo.yaml", Data: []byte("a: b\n")}},
		[]archive.File{{Name: "signatures/index.json", Data: []byte("{}")}, {Name: "signatures/blobs/sha256/aa", Data: random(12, 700)}})
}
