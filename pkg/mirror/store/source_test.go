package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/pkg/mirror/store"
)

var errReset = errors.New("connection reset")

// temporaryError says of itself that it may pass.
type temporaryError struct{}

func (temporaryError) Error() string   { return "try again" }
func (temporaryError) Temporary() bool { return true }

// answer is how a source answers one request.
type answer struct {
	content []byte // instead of the source's
	err     error  // instead of a body
	bytes   int    // how many the body has before it ends; 0 means all
	end     error  // what the body ends with; nil means io.EOF
	at      func(offset int64) int64
}

// source is an upstream with a script; beyond that it behaves.
type source struct {
	content []byte
	script  []answer

	mu      sync.Mutex
	offsets []int64 // asked for
}

func (s *source) fetch(_ context.Context, offset int64) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var a answer
	if n := len(s.offsets); n < len(s.script) {
		a = s.script[n]
	}
	s.offsets = append(s.offsets, offset)
	if a.err != nil {
		return nil, 0, a.err
	}
	if a.at != nil {
		offset = a.at(offset)
	}
	content := s.content
	if a.content != nil {
		content = a.content
	}
	rest := content[min(offset, int64(len(content))):]
	if a.bytes > 0 {
		rest = rest[:min(a.bytes, len(rest))]
	}
	var body io.Reader = bytes.NewReader(rest)
	if a.end != nil {
		body = io.MultiReader(body, failing{a.end})
	}
	return io.NopCloser(body), offset, nil
}

func (s *source) expected() store.Expected {
	return store.Expected{Digest: digest.FromBytes(s.content), Size: int64(len(s.content)), Source: "lab"}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// content is n bytes that are the same for the same seed.
func content(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.OpenWith(dir, store.Options{StallWait: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read is what lies in the store under d.
func read(t testing.TB, s *store.Store, d digest.Digest) []byte {
	t.Helper()
	r, err := s.OpenBlob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

// files lists a folder of the store.
func files(t testing.TB, s *store.Store, dir ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(append([]string{s.Dir()}, dir...)...))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func partialPath(s *store.Store, d digest.Digest) string {
	return filepath.Join(s.Dir(), "ingest", "sha256-"+d.Encoded())
}
