package install

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"naru/pkg/harbor"
	"naru/pkg/mirror/push"
)

// stall answers as a server that hangs: it takes nothing of what is sent, or stops in the
// middle of its answer; where it is well it reads all, slowly.
func stall(t *testing.T) *httptest.Server {
	t.Helper()
	over := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/takes-nothing":
			<-over
		case "/stops":
			_, _ = io.WriteString(w, "begin")
			w.(http.Flusher).Flush()
			<-over
		case "/silent":
			_, _ = io.Copy(io.Discard, r.Body)
			<-over
		case "/slow":
			for {
				time.Sleep(150 * time.Millisecond)
				if _, err := io.CopyN(io.Discard, r.Body, 4<<20); err != nil {
					return
				}
			}
		case "/elsewhere":
			http.Redirect(w, r, "/slow", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(func() { close(over); s.CloseClientConnections(); s.Close() })
	return s
}

// TestMovingEndsWhatStandsStill: an upload that nobody takes, an answer that does not
// begin and one that does not end; what moves slowly goes on.
func TestMovingEndsWhatStandsStill(t *testing.T) {
	s := stall(t)
	const idle = 2 * time.Second // less than /slow takes in all, more than a busy machine pauses
	client := &http.Client{Transport: &moving{next: s.Client().Transport, idle: idle, answer: idle}}
	for path, stands := range map[string]bool{"/takes-nothing": true, "/silent": true, "/stops": true, "/slow": false} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			body := bytes.NewReader(make([]byte, 64<<20))
			if path == "/silent" {
				body = bytes.NewReader([]byte("x"))
			}
			req := must(http.NewRequestWithContext(ctx, http.MethodPut, s.URL+path, body))(t)
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				err = errors.Join(err, resp.Body.Close())
			}
			if errors.Is(err, errHarborStalled) != stands || !stands && err != nil || ctx.Err() != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestRegistryStays: a push is not sent on to where an answer points.
func TestRegistryStays(t *testing.T) {
	s := stall(t)
	l := HarborLogin{URL: s.URL, User: "a", Password: "b", Transport: s.Client().Transport}
	c := must(harbor.New(harbor.Options{URL: s.URL, User: "a", Password: "b", Transport: l.Transport}))(t)
	registry := must(l.registry(c, push.DefaultJobs))(t)
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/elsewhere", bytes.NewReader([]byte("x"))))(t)
	resp := must(registry.Do(req))(t)
	ok(t, resp.Body.Close())
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("%s: it was followed", resp.Status)
	}
}
