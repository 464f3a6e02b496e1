package push

import (
	"net/http"
	"testing"
)

// A registry that is restarting does not answer for the upload it still has.
func TestUploadOutlivesARestart(t *testing.T) {
	l := newLab(t, distribution(t))
	l.fail(1, func(r *http.Request) bool {
		return r.Method == "PATCH" && r.Header.Get("Content-Range") == "200000-299999"
	}, cut(5000))
	l.fail(2, method("GET", "/blobs/uploads/"), answerWith(503, "UNAVAILABLE"))
	push(t, plan(t, l.target(), Options{ChunkSize: 100_000}, one(t, 450_000)))
	if posts := l.count("POST"); posts != 2 {
		t.Errorf("%d uploads were begun, want that of the layer to go on", posts)
	}
}

// A stray 404 without a code of the registry changes no tag.
func TestStrayNotFoundIsAnError(t *testing.T) {
	l := newLab(t, ggcr(t))
	b := newBundle(t)
	gone := b.image("s390x", random(10, 3))
	index := b.list(b.image("amd64", random(1000, 1)), b.image("arm64", random(1000, 2)), gone)
	delete(b.blobs, gone.Digest)
	b.add("quay.io/a/b:1", index, "")
	l.fail(1<<30, method("PUT", "manifests/1"), answerWith(404, ""))
	result, err := plan(t, l.target(), Options{}, b).Execute(t.Context())
	if err == nil || len(result.Mappings) > 0 {
		t.Errorf("error %v, mappings %v", err, result.Mappings)
	}
}

// A registry that answers for another digest than it was asked for holds nothing.
func TestOtherDigestIsNotHeld(t *testing.T) {
	l := newLab(t, ggcr(t))
	b := newBundle(t)
	b.add("quay.io/a/b:1", b.image("amd64", random(10, 1)), "")
	p := plan(t, l.target(), Options{}, b)
	l.fail(1<<30, method("HEAD", "manifests"), answerWith(200, "", "Docker-Content-Digest", string(b.json("x", "other").Digest)))
	held, err := newRun(p).holds(t.Context(), "quay.io/a/b", b.index.Manifests[0].Digest)
	if err != nil || held {
		t.Errorf("held %t, %v", held, err)
	}
}
