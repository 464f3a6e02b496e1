package remote

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// firstWait is the wait after the first attempt; it doubles up to maxBackoff.
	firstWait  = 250 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// retrier sends requests again where that may do better.
type retrier struct {
	next     http.RoundTripper
	attempts int
	maxWait  time.Duration
	onRetry  func(Retry)

	mu sync.Mutex
	// until is when hosts want to be asked again that asked for a pause.
	until map[string]time.Time
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] through.
func (r *retrier) CloseIdleConnections() { closeIdle(r.next) }

// RoundTrip implements [http.RoundTripper].
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, out := req.Context(), req
	for attempt := 1; ; attempt++ {
		if err := pause(ctx, r.due(req.URL.Host)); err != nil {
			closeBody(out)
			return nil, err
		}
		resp, err := r.next.RoundTrip(out)
		if ctx.Err() != nil || !retryable(resp, err) || !replayable(req) {
			return resp, err
		}
		if attempt >= r.attempts {
			if err != nil && attempt > 1 {
				err = &RetryError{Attempts: attempt, Err: err}
			}
			return resp, err
		}
		next, bodyErr := rewound(req)
		if bodyErr != nil {
			return resp, err // what could be said of the body is worth less than this
		}
		out = next
		if waitErr := r.wait(ctx, req.URL.Host, attempt, resp, err); waitErr != nil {
			closeBody(out)
			return nil, waitErr
		}
	}
}

// wait closes the answer, tells of it and waits for the next attempt.
func (r *retrier) wait(ctx context.Context, host string, attempt int, resp *http.Response, err error) error {
	wait := min(backoff(attempt), r.maxWait)
	if err == nil {
		status := newStatusError(resp)
		err = status
		if status.RetryAfter > 0 {
			wait = min(status.RetryAfter, r.maxWait)
			r.hold(host, wait)
		}
	}
	r.onRetry(Retry{Host: host, Attempt: attempt, Wait: wait, Err: err})
	return pause(ctx, wait)
}

// hold keeps all requests from a host that asks for a pause.
func (r *retrier) hold(host string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	if until := time.Now().Add(wait); until.After(r.until[host]) {
		r.until[host] = until
	}
}

// due is how long a host still wants to be left alone.
func (r *retrier) due(host string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.until[host]
	wait := time.Until(until)
	if ok && wait <= 0 {
		delete(r.until, host)
	}
	return wait
}

// retryable tells whether another attempt may do better.
func retryable(resp *http.Response, err error) bool {
	if err != nil {
		return transient(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// transient tells errors of connections, which pass, from those of TLS, names and
// addresses, which do not.
func transient(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsTimeout || dns.IsTemporary && !dns.IsNotFound
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if op.Op == "proxyconnect" {
			return op.Err != nil && transient(op.Err)
		}
		// Alerts of TLS come as "remote error" and "local error".
		_, system := errors.AsType[syscall.Errno](op.Err)
		return (op.Op == "dial" || op.Op == "read" || op.Op == "write") && (system || op.Timeout())
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// replayable tells whether a request may be sent twice. Not so parts of an upload:
// a registry may have appended a part before it failed, so the uploader must ask.
func replayable(req *http.Request) bool {
	if req.Method == http.MethodPatch || req.Method == http.MethodPut && req.URL.Query().Has("digest") {
		return false
	}
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// rewound is a request with its body at the start.
func rewound(req *http.Request) (*http.Request, error) {
	out := req.Clone(req.Context())
	if req.Body == nil || req.Body == http.NoBody {
		return out, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	out.Body = body
	return out, nil
}

// closeBody does what a transport owes to a request that it does not send.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing was read of it
	}
}

// backoff doubles, with jitter of half.
func backoff(attempt int) time.Duration {
	d := min(firstWait<<min(attempt-1, 10), maxBackoff)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
