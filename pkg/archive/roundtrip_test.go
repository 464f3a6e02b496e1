package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
)

func TestRoundTrip(t *testing.T) {
	f := standard(t)
	for name, limit := range map[string]int64{"one": 0, "several": 7 << 20, "many": 5 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			paths := f.pack(t, dir, limit)
			if limit > 0 && len(paths) < 3 {
				t.Fatalf("%d volumes", len(paths))
			}
			r := f.open(t, dir)
			checkAll(t, f, r)
			var progress int64
			report, err := r.Verify(context.Background(), archive.VerifyOptions{Jobs: 1, Progress: func(n int64) { progress += n }})
			if err != nil {
				t.Fatal(err)
			}
			want := &archive.Report{Volumes: len(paths), Files: len(f.input.Files), Blobs: len(f.input.Blobs), Bytes: progress}
			if diff := cmp.Diff(want, report); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkAll reads everything and compares.
func checkAll(t *testing.T, f *fixture, r *archive.Reader) {
	t.Helper()
	ctx := context.Background()
	for d, want := range f.content {
		b, err := r.OpenBlob(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("blob %s: %d bytes, want %d: %v", d, len(got), len(want), err)
		}
		if len(want) > 0 && !r.Verified(d) {
			t.Errorf("blob %s is not verified after a full read", d)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, file := range f.input.Files {
		got, err := r.ReadFile(ctx, file.Name)
		if err != nil || !bytes.Equal(got, file.Data) {
			t.Errorf("file %s: %v", file.Name, err)
		}
	}
	for _, file := range f.input.Signatures {
		got, err := r.ReadSignatureFile(ctx, file.Name)
		if err != nil || !bytes.Equal(got, file.Data) {
			t.Errorf("file %s: %v", file.Name, err)
		}
	}
	if _, err := r.OpenBlob(ctx, digest.FromString("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown blob: %v", err)
	}
	if _, err := r.ReadFile(ctx, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown file: %v", err)
	}
}
