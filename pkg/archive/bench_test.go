package archive_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
)

// folder is a Source of raw blobs in a folder.
type folder string

func (f folder) OpenStored(_ context.Context, b archive.Blob) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(f), b.Digest.Encoded()))
}

// benchFixture is a bundle of NARU_BENCH_MB, by default 128, of content that does
// not compress, most of it in blobs of 16 MiB, in files under dir.
func benchFixture(b *testing.B, dir string) (*fixture, int64) {
	b.Helper()
	size := int64(128)
	if s := os.Getenv("NARU_BENCH_MB"); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	f := newFixture(b, nil, nil, nil)
	var plain []archive.Blob
	for i := range uint64(size/16) + 32 {
		n := 16 << 20
		if i < 32 {
			n = 4 << 10
		}
		data := random(i, n)
		blob := archive.Blob{Digest: digest.FromBytes(data), Size: int64(n), Encoding: archive.EncodingRaw}
		writeSynced(b, filepath.Join(dir, blob.Digest.Encoded()), data)
		plain = append(plain, blob)
		f.input.Blobs = append(f.input.Blobs, archive.PackBlob{Blob: blob})
	}
	f.sign(b, archive.NewContents(f.input.Files, plain))
	return f, size << 20
}

// writeSynced leaves nothing for the disk to do while something else is measured.
func writeSynced(b *testing.B, path string, data []byte) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPack(b *testing.B) {
	blobs, out := b.TempDir(), b.TempDir()
	f, size := benchFixture(b, blobs)
	for name, verified := range map[string]bool{"verified": true, "hashing": false} {
		b.Run(name, func(b *testing.B) {
			plan := f.plan(b, 0)
			b.SetBytes(size)
			for b.Loop() {
				_, err := plan.Write(context.Background(), out, folder(blobs), archive.WriteOptions{
					Verified: func(digest.Digest) bool { return verified },
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	blobs, out := b.TempDir(), b.TempDir()
	f, size := benchFixture(b, blobs)
	if _, err := f.plan(b, 0).Write(context.Background(), out, folder(blobs), archive.WriteOptions{}); err != nil {
		b.Fatal(err)
	}
	r, err := archive.Open(context.Background(), []string{out}, f.accept)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b.SetBytes(size)
	for b.Loop() {
		if _, err := r.Verify(context.Background(), archive.VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
