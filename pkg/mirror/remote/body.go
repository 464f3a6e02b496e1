package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// guard watches the bodies of answers: one that stops coming is an error, and
// errors are *BodyError.
type guard struct {
	next      http.RoundTripper
	idle      time.Duration
	userAgent string
}

// RoundTrip implements [http.RoundTripper].
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	if g.userAgent != "" && out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", g.userAgent)
	}
	resp, err := g.next.RoundTrip(out)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Request = req
	if resp.Body == http.NoBody {
		cancel(nil)
		return resp, nil
	}
	timer := time.AfterFunc(g.idle, func() { cancel(ErrStalled) })
	timer.Stop()
	resp.Body = &body{
		rc: resp.Body, cancel: cancel, cause: func() error { return context.Cause(ctx) },
		timer: timer, idle: g.idle, url: redact(req.URL).String(),
	}
	return resp, nil
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] through.
func (g *guard) CloseIdleConnections() { closeIdle(g.next) }

func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// body is the body of an answer.
type body struct {
	rc io.ReadCloser
	// cancel ends the request, cause is why it ended, if it did.
	cancel context.CancelCauseFunc
	cause  func() error
	// timer runs while a read waits.
	timer *time.Timer
	idle  time.Duration
	url   string
	read  int64
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.rc.Read(p)
	b.timer.Stop()
	b.read += int64(n)
	if err == nil {
		return n, nil
	}
	// A server that notices that the request is over may end its answer properly
	// before the connection is closed. That is no proper end: there may be more.
	if cause := b.cause(); cause != nil {
		err = cause
	} else if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, &BodyError{URL: b.url, Read: b.read, Err: err}
}

// Close ends the request, also where not all was read.
func (b *body) Close() error {
	b.timer.Stop()
	err := b.rc.Close()
	b.cancel(nil)
	return err
}
