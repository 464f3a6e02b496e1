package push

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
)

// heard is what the registry said, in this run and by HEAD, that it has. A comparison
// takes these answers as its own, so that nothing is asked for twice. What is sent to
// the registry is forgotten: an answer to that is no answer to the question whether it
// is there. It is safe for concurrent use.
type heard struct {
	mu sync.Mutex
	// manifests are digests by "repository:reference", blobs "repository@digest".
	manifests map[string]digest.Digest
	blobs     map[string]bool
}

func newHeard() *heard {
	return &heard{manifests: map[string]digest.Digest{}, blobs: map[string]bool{}}
}

// manifest is what a tag or digest was heard to stand for, "" for nothing.
func (h *heard) manifest(repository, reference string) digest.Digest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.manifests[repository+":"+reference]
}

func (h *heard) noteManifest(repository, reference string, d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d == "" {
		delete(h.manifests, repository+":"+reference)
		return
	}
	h.manifests[repository+":"+reference] = d
}

func (h *heard) blob(repository string, d digest.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.blobs[repository+"@"+d.String()]
}

func (h *heard) noteBlob(repository string, d digest.Digest, held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !held {
		delete(h.blobs, repository+"@"+d.String())
		return
	}
	h.blobs[repository+"@"+d.String()] = true
}

// headManifest asks what a tag or digest stands for, "" for nothing, and remembers it.
func (r *run) headManifest(ctx context.Context, repository, reference string) (digest.Digest, error) {
	d, err := r.endpoint.headManifest(ctx, repository, reference)
	if err == nil {
		r.heard.noteManifest(repository, reference, d)
	}
	return d, err
}

// reference is headManifest, unless the registry said what it stands for before.
func (r *run) reference(ctx context.Context, repository, reference string) (digest.Digest, error) {
	if d := r.heard.manifest(repository, reference); d != "" {
		return d, nil
	}
	return r.headManifest(ctx, repository, reference)
}
