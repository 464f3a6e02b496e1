package push

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCutAnywhereThenRerun breaks every connection from a random request on, as a
// kill or a pulled cable would, again and again until a push comes through. No
// blob that the registry had whole may be uploaded again, and no tag may stand on
// something incomplete in between.
func TestCutAnywhereThenRerun(t *testing.T) {
	const cuts = 20
	l := newLab(t, distribution(t))
	backend := l.Config.Handler
	var mu sync.Mutex
	whole := map[string]int{} // uploads that the registry was heard to complete, by digest
	var left atomic.Int64     // requests until the cut
	l.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			panic(http.ErrAbortHandler)
		}
		rec := &statusWriter{ResponseWriter: w}
		backend.ServeHTTP(rec, r)
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/uploads/") && rec.status == http.StatusCreated {
			mu.Lock()
			defer mu.Unlock()
			whole[r.URL.Query().Get("digest")]++
		}
	})
	b := small(t)
	p := plan(t, l.target(), Options{ChunkSize: 40_000, Attempts: 1, Jobs: 4, ImageJobs: 3}, b)
	rng := rand.New(rand.NewPCG(1, 2))
	for range cuts {
		left.Store(1 + rng.Int64N(60))
		_, _ = p.Execute(t.Context()) // fails, or comes through when the cut lay beyond its end
		left.Store(1 << 40)
		for _, a := range p.Artifacts {
			checkTag(t, p, a)
		}
	}
	left.Store(1 << 40)
	push(t, p)
	for d, n := range whole {
		if n != 1 {
			t.Errorf("blob %s was uploaded whole %d times", d, n)
		}
	}
}

// checkTag looks whether an artifact that the registry lists has all its parts.
func checkTag(t *testing.T, p *Plan, a *Artifact) {
	t.Helper()
	r := newRun(p)
	d, err := r.endpoint.headManifest(t.Context(), a.Repository, a.reference())
	if err != nil {
		t.Fatal(err)
	}
	if d == "" {
		return
	}
	for _, m := range a.Manifests {
		if held, err := r.holds(t.Context(), a.Repository, m.Descriptor.Digest); err != nil || !held {
			t.Errorf("%s stands, its manifest %s is missing: %v", a.Ref, m.Descriptor.Digest, err)
		}
		for _, blob := range m.Blobs {
			if held, err := r.endpoint.headBlob(t.Context(), a.Repository, blob.Digest); err != nil || !held {
				t.Errorf("%s stands, its blob %s is missing: %v", a.Ref, blob.Digest, err)
			}
		}
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
