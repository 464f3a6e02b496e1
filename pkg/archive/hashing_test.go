package archive_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
)

type verifier interface {
	Verify(ctx context.Context) error
}

// openVerifier opens a blob for Verify, until the test ends.
func openVerifier(t *testing.T, r *archive.Reader, d digest.Digest) verifier {
	t.Helper()
	b, err := r.OpenBlob(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.(verifier)
}

// TestVerifyBlob has many callers wait for one blob, and one of them give up.
func TestVerifyBlob(t *testing.T) {
	f := standard(t)
	r := f.open(t, f.pack(t, t.TempDir(), 7<<20)[0])
	d := f.input.Blobs[9].Digest
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := openVerifier(t, r, d).Verify(gone); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		b := openVerifier(t, r, d)
		wg.Go(func() {
			if err := b.Verify(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !r.Verified(d) {
		t.Error("not verified")
	}
}

// TestVerifyGoesOn shows that nobody needs to wait for a run for it to end.
func TestVerifyGoesOn(t *testing.T) {
	f := standard(t)
	r := f.open(t, f.pack(t, t.TempDir(), 0)[0])
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for _, blob := range f.input.Blobs[1:] {
		if err := openVerifier(t, r, blob.Digest).Verify(gone); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !verifiedAll(r); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the blobs are not verified")
		}
	}
}

func verifiedAll(r *archive.Reader) bool {
	for _, b := range r.Contents().Blobs {
		if b.Size > 0 && !r.Verified(b.Digest) {
			return false
		}
	}
	return true
}

func TestVerifyDamagedBlob(t *testing.T) {
	f := small(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	v := takeApart(t, path)
	d := f.input.Blobs[2].Digest
	v.find("blobs/sha256/" + d.Encoded()).content[600] ^= 1
	v.write(t, path)
	r := f.open(t, path)
	for range 2 {
		if err := openVerifier(t, r, d).Verify(context.Background()); !errors.Is(err, archive.ErrDigest) {
			t.Errorf("%v, want ErrDigest", err)
		}
	}
	if r.Verified(d) {
		t.Error("a damaged blob counts as verified")
	}
}

// TestCloseEndsHashing closes a reader while its blobs are hashed.
func TestCloseEndsHashing(t *testing.T) {
	f := standard(t)
	path := f.pack(t, t.TempDir(), 0)[0]
	for range 5 {
		r, err := archive.Open(context.Background(), []string{path}, f.accept)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, blob := range f.input.Blobs {
			b := openVerifier(t, r, blob.Digest)
			wg.Go(func() {
				if err := b.Verify(context.Background()); err != nil && !errors.Is(err, fs.ErrClosed) && !errors.Is(err, os.ErrClosed) {
					t.Error(err)
				}
			})
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
