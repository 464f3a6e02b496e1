package stack

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestRequestsEndWithTheStep: Helm's storage asks without a context, and waited for an API
// server that does not answer for ever.
func TestRequestsEndWithTheStep(t *testing.T) {
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	defer server.Close()
	defer close(silent)
	cause := errors.New("the step ended")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	client := &http.Client{Transport: endsWith{ctx, http.DefaultTransport}, Timeout: 20 * time.Second}
	begin := time.Now()
	resp, err := client.Get(server.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(begin), err)
	}
}
