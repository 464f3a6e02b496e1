package archive_test

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
	"naru/pkg/archive/frame"
)

// repeated is a Source of one blob whose frames are all the same.
type repeated struct {
	frame []byte
	count int
}

func (r repeated) OpenStored(context.Context, archive.Blob) (io.ReadCloser, error) {
	readers := make([]io.Reader, r.count)
	for i := range readers {
		readers[i] = bytes.NewReader(r.frame)
	}
	return io.NopCloser(io.MultiReader(readers...)), nil
}

// TestLargeBlob packs a blob of more than 8 GiB, which needs another kind of tar
// header. It is all zero, so that it takes no room.
func TestLargeBlob(t *testing.T) {
	enc, err := frame.NewEncoder(1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = enc.Close() }()
	const count = 2100
	src := repeated{enc.Append(nil, make([]byte, frame.MaxContent)), count}
	f := newFixture(t, nil, nil, nil)
	b := archive.Blob{Digest: digest.FromString("not compared in this test"), Size: count * frame.MaxContent, Encoding: archive.EncodingZstd}
	f.input.Blobs = []archive.PackBlob{{Blob: b, EncodedSize: int64(count*len(src.frame)) + frame.TableSize(count)}}
	f.sign(t, archive.NewContents(f.input.Files, []archive.Blob{b}))
	plan := f.plan(t, 0)
	dir := t.TempDir()
	if _, err := plan.Write(context.Background(), dir, src, archive.WriteOptions{Verified: func(digest.Digest) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	r := f.open(t, dir)
	r.MarkVerifiedUnsafe(b.Digest)
	blob, err := r.OpenBlob(context.Background(), b.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blob.Close() }()
	if _, err := blob.Seek(-5, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(blob); err != nil || !bytes.Equal(got, make([]byte, 5)) {
		t.Errorf("%q %v", got, err)
	}
	// tar complains that the rest is missing.
	out, _ := exec.Command("sh", "-c", `zstd -dcq "$1" 2>/dev/null | head -c 100000 | tar -tv 2>/dev/null`, "sh", r.Volumes()[0].Path).Output()
	if !strings.Contains(string(out), " 8808038400 1970-01-01") {
		t.Errorf("tar lists\n%s", out)
	}
}
