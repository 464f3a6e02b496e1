package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
)

// blobStore holds blobs by digest in folders <root>/<algorithm>/<hex>: those of
// the layouts that were added, and its own for what is pushed. Every repository
// sees every blob.
type blobStore struct {
	pushed string

	mu    sync.RWMutex
	roots []string
}

func (s *blobStore) addRoot(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roots = append(s.roots, dir)
}

// open opens a blob, or returns fs.ErrNotExist or errBadDigest.
func (s *blobStore) open(dig string) (*os.File, error) {
	d, err := digest.Parse(dig)
	if err != nil {
		return nil, fmt.Errorf("%w %q", errBadDigest, dig)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, root := range append([]string{s.pushed}, s.roots...) {
		f, err := os.Open(filepath.Join(root, d.Algorithm().String(), d.Encoded()))
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("blob %s: %w", dig, fs.ErrNotExist)
}

func (s *blobStore) holds(dig string) bool {
	f, err := s.open(dig)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// serve answers GET and HEAD with ranges in all their forms.
func (s *blobStore) serve(w http.ResponseWriter, r *http.Request, dig string) {
	f, err := s.open(dig)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		registryError(w, http.StatusNotFound, "BLOB_UNKNOWN", err)
		return
	case errors.Is(err, errBadDigest):
		registryError(w, http.StatusBadRequest, "DIGEST_INVALID", err)
		return
	case err != nil:
		registryError(w, http.StatusInternalServerError, "UNKNOWN", err)
		return
	}
	defer func() { _ = f.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", dig)
	w.Header().Set("ETag", `"`+dig+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

// serveCDN serves a redirected blob; the prefix is stripped.
func (s *blobStore) serveCDN(w http.ResponseWriter, r *http.Request) { s.serve(w, r, r.URL.Path) }

func registryError(w http.ResponseWriter, status int, code string, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "{\"errors\":[{\"code\":%q,\"message\":%q}]}\n", code, err.Error())
}

// Get implements ggcr.BlobHandler.
func (s *blobStore) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := s.open(h.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ggcr.ErrNotFound
	}
	return f, err
}

// Stat implements ggcr.BlobStatHandler.
func (s *blobStore) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	f, err := s.open(h.String())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ggcr.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Put implements ggcr.BlobPutHandler; rc fails when the content is not h.
func (s *blobStore) Put(_ context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	defer func() { _ = rc.Close() }()
	tmp, err := os.CreateTemp(filepath.Join(s.pushed, "sha256"), ".upload-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = io.Copy(tmp, rc)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(s.pushed, h.Algorithm, h.Hex))
}
