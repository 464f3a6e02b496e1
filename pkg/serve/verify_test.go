package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// slowVerify is content whose hashing waits to be let go.
type slowVerify struct {
	*bundle
	runs             atomic.Int64
	started, release chan struct{}
}

type slowBlob struct {
	io.ReadSeekCloser
	content *slowVerify
}

func (s *slowVerify) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	rc, err := s.bundle.OpenBlob(ctx, d)
	return &slowBlob{ReadSeekCloser: rc, content: s}, err
}

func (b *slowBlob) Verify(ctx context.Context) error {
	if b.content.runs.Add(1) > 1 {
		return nil // verified by then
	}
	close(b.content.started)
	select {
	case <-b.content.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A client that leaves does not end the hashing, and the next one finds it done.
func TestVerificationOutlivesItsRequest(t *testing.T) {
	d := newDepot(t)
	slow := &slowVerify{bundle: d.bundle, started: make(chan struct{}), release: make(chan struct{})}
	s, err := New(t.Context(), Options{Contents: []Content{slow}})
	if err != nil {
		t.Fatal(err)
	}
	srv := newH2Server(t, s)
	data, _ := layerBytes(t, 300_000, 1)
	ask := func(ctx context.Context) (int, error) {
		req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/v2/registry.k8s.io/pause/blobs/"+digest.FromBytes(data).String(), nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Range", "bytes=0-9")
		resp, err := srv.Client().Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := ask(ctx)
		left <- err
	}()
	<-slow.started
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that left got %v", err)
	}
	second := make(chan int, 1)
	go func() {
		status, _ := ask(t.Context())
		second <- status
	}()
	close(slow.release)
	if status := <-second; status != http.StatusPartialContent {
		t.Errorf("status %d, want %d", status, http.StatusPartialContent)
	}
	s.verifier.stop()
	if err := s.verifier.verify(t.Context(), digest.FromBytes(data)); !errors.Is(err, context.Canceled) {
		t.Errorf("verifying after the end: %v", err)
	}
}
