package push

import (
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
)

// A rerun brings what a registry lost below tags that it has, and sets no tag for it.
func TestRerunBringsWhatGotLost(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	layer, shared := random(1000, 1), random(300_000, 2)
	arm := b.image("arm64", random(1000, 3), shared)
	b.add("quay.io/a/b:1", b.list(b.image("amd64", layer, shared), arm), "")
	b.add("quay.io/a/b:2", b.image("amd64", shared), "")
	push(t, plan(t, l.target(), Options{}, b))

	for _, path := range []string{
		"blobs/" + digest.FromBytes(layer).String(), "blobs/" + digest.FromBytes(shared).String(), "manifests/" + arm.Digest.String(),
	} {
		l.remove("/v2/" + plan(t, l.target(), Options{}, b).Artifacts[0].Repository + "/" + path)
	}
	var again []digest.Digest
	p := plan(t, l.target(), Options{Jobs: 1, OnRetry: func(e RetryEvent) { again = append(again, e.Digest) }}, b)
	if r, err := p.Check(t.Context()); err != nil || len(r.Findings) < 3 {
		t.Fatalf("nothing is lost, so nothing is shown: %+v, %v", r, err)
	}
	l.heal()
	result := push(t, p)
	if len(result.Skipped) != 2 || result.Blobs.Uploaded != 2 {
		t.Errorf("%d artifacts were there and %d blobs uploaded, want 2 and 2", len(result.Skipped), result.Blobs.Uploaded)
	}
	for _, d := range []digest.Digest{digest.FromBytes(layer), digest.FromBytes(shared), arm.Digest} {
		if !slices.Contains(again, d) {
			t.Errorf("nothing was said of %s", d)
		}
	}
	if n := l.count("PUT /v2/" + p.Artifacts[0].Repository + "/manifests/"); n != 1 {
		t.Errorf("%d manifests were sent, want the lost one", n)
	}
}

// remove deletes something from the registry.
func (l *lab) remove(path string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodDelete, l.URL+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	resp, err := l.Client().Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusAccepted {
		l.t.Fatalf("DELETE %s: %s, %v", path, resp.Status, err)
	}
}
