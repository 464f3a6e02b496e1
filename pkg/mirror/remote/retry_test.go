package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// retries collects what OnRetry is told.
type retries struct {
	mu   sync.Mutex
	list []Retry
}

func (r *retries) add(e Retry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

func TestFaultsThatPass(t *testing.T) {
	tests := []struct {
		name string
		n    int
		h    http.HandlerFunc
	}{
		{"408", 1, say(408, "")}, {"425", 1, say(425, "")}, {"429", 3, say(429, "")}, {"500", 2, say(500, "")},
		{"502", 2, say(502, "<html>")}, {"503", 5, say(503, "", "Retry-After", "60")}, {"504", 1, say(504, "")},
		{"connection ends", 3, broken(t, "")}, {"connection reset", 2, reset(t, "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var told retries
			s := newServer(t, first(tt.n, tt.h, text("abc")))
			got, _, _, err := read(t, newClient(t, Options{OnRetry: told.add}), s.URL+"/f", 0)
			if err != nil || got != "abc" {
				t.Fatalf("got %q, error %v", got, err)
			}
			if len(told.list) != tt.n {
				t.Fatalf("told of %d retries, want %d", len(told.list), tt.n)
			}
			for i, r := range told.list {
				if r.Attempt != i+1 || r.Host != s.host() || r.Err == nil || r.Wait > time.Millisecond {
					t.Errorf("told of %+v", r)
				}
			}
		})
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 410, 416, 451, 501, 505} {
		s := newServer(t, say(status, ""))
		_, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f", 0)
		if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != status || len(s.requests()) != 1 {
			t.Errorf("status %d: %d requests, error %v", status, len(s.requests()), err)
		}
	}
}

func TestEnoughIsEnough(t *testing.T) {
	s := newServer(t, say(503, ""))
	_, _, _, err := read(t, newClient(t, Options{MaxAttempts: 3}), s.URL+"/f", 0)
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 503 || len(s.requests()) != 3 {
		t.Errorf("%d requests, error %v", len(s.requests()), err)
	}
	s = newServer(t, broken(t, ""))
	_, _, _, err = read(t, newClient(t, Options{MaxAttempts: 4}), s.URL+"/f?q=secret", 0)
	if e, ok := errors.AsType[*RetryError](err); !ok || e.Attempts != 4 || len(s.requests()) != 4 {
		t.Errorf("%d requests, error %v", len(s.requests()), err)
	}
	if e, ok := errors.AsType[*url.Error](err); !ok || e.URL != s.URL+"/f" || e.Timeout() || e.Temporary() || !IsNetwork(err) || IsTemporary(err) {
		t.Errorf("error %v", err)
	}
}

func TestTransient(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	lookup := func(e net.DNSError) error { return &net.OpError{Op: "dial", Err: &e} }
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"refused":              {dial, true},
		"refused by the proxy": {&net.OpError{Op: "proxyconnect", Err: dial}, true},
		"proxy's answer":       {&net.OpError{Op: "proxyconnect", Err: errors.New("Forbidden")}, false},
		"write timeout":        {&net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}, true},
		"no such host":         {lookup(net.DNSError{IsNotFound: true, IsTemporary: true}), false},
		"resolver is busy":     {lookup(net.DNSError{IsTemporary: true}), true},
		"TLS alert":            {&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, false},
		"bad address":          {&net.OpError{Op: "dial", Err: &net.AddrError{Err: "no port"}}, false},
		"certificate":          {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		"disk":                 {&os.PathError{Op: "read", Path: "x", Err: syscall.EIO}, false},
	} {
		if got := transient(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var told retries
	_, _, _, err = read(t, newClient(t, Options{OnRetry: told.add, MaxAttempts: 3}), "https://"+address+"/f", 0)
	if err == nil || len(told.list) != 2 || !IsNetwork(err) {
		t.Errorf("%d retries, error %v", len(told.list), err)
	}
}

func TestWrongCertificateIsNotRepeated(t *testing.T) {
	var told retries
	s := newServer(t, text("abc"))
	c := newClient(t, Options{OnRetry: told.add})
	_, port, _ := net.SplitHostPort(s.host())
	_, _, _, err := read(t, c, "https://localhost:"+port+"/f", 0)
	if err == nil || len(told.list) != 0 || !IsNetwork(err) || len(s.requests()) != 0 {
		t.Errorf("%d retries, error %v", len(told.list), err)
	}
}

func TestTLSIsNotDoneWithout(t *testing.T) {
	var told retries
	plain := httpServer(t, text("abc"))
	c := newClient(t, Options{OnRetry: told.add})
	_, _, _, err := read(t, c, "https://"+plain+"/f", 0)
	if !errors.Is(err, http.ErrSchemeMismatch) || len(told.list) != 0 {
		t.Errorf("%d retries, error %v", len(told.list), err)
	}
	if _, _, _, err := read(t, c, "http://"+plain+"/f", 0); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("error %v", err)
	}
	c = newClient(t, Options{PlainHTTP: []string{strings.ToUpper(plain)}})
	if got, _, _, err := read(t, c, "http://"+plain+"/f", 0); err != nil || got != "abc" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestRetryAfterHoldsTheHost(t *testing.T) {
	s := newServer(t, first(1, say(429, "", "Retry-After", "1"), text("abc")))
	retried := make(chan struct{})
	c := newClient(t, Options{MaxWait: 10 * time.Second, OnRetry: func(Retry) { close(retried) }})
	begin := time.Now()
	done := make(chan error, 1)
	go func() {
		_, _, _, err := c.Get(t.Context(), s.URL+"/one", 0)
		done <- err
	}()
	<-retried
	if _, _, _, err := read(t, c, s.URL+"/two", 0); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 900*time.Millisecond || d > 5*time.Second {
		t.Errorf("took %s, want a second: all requests wait", d)
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "soon": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0, "99999999999999999999": 0,
	} {
		if got := retryAfter(value); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	in := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := retryAfter(in); got < 50*time.Second || got > time.Minute {
		t.Errorf("%q: %s", in, got)
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	s := newServer(t, say(503, "", "Retry-After", "60"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, _, _, err := newClient(t, Options{MaxWait: time.Minute}).Get(ctx, s.URL, 0)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 5*time.Second {
		t.Errorf("error %v after %s", err, time.Since(begin))
	}
}

func TestWhatIsSentTwice(t *testing.T) {
	tests := []struct {
		name, method, query string
		replay              bool
		want                int
	}{
		{"manifest", "PUT", "", true, 3},
		{"begin of an upload", "POST", "", true, 3},
		{"body that is gone", "PUT", "", false, 1},
		{"part of an upload", "PATCH", "", true, 1},
		{"end of an upload", "PUT", "?digest=sha256:0", true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				buf := make([]byte, 10)
				if n, _ := r.Body.Read(buf); string(buf[:n]) != "content" {
					t.Errorf("body %q", buf[:n])
				}
				w.WriteHeader(503)
			})
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.URL+"/"+tt.query, strings.NewReader("content"))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.replay {
				req.GetBody = nil
			}
			resp, err := newClient(t, Options{MaxAttempts: 3}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 503 || len(s.requests()) != tt.want {
				t.Errorf("status %d after %d requests, want %d", resp.StatusCode, len(s.requests()), tt.want)
			}
		})
	}
}

func TestPerHost(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	s := newServer(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		<-time.After(10 * time.Millisecond)
		mu.Lock()
		running--
		mu.Unlock()
	})
	c := newClient(t, Options{PerHost: 3})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, _, err := read(t, c, s.URL, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most > 3 || most < 2 {
		t.Errorf("%d requests at a time, want 3", most)
	}
}
