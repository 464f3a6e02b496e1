package install

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// How long what goes between the installer and Harbor may stand still, and how long an
// answer may not begin.
const (
	harborIdle   = time.Minute
	harborAnswer = 5 * time.Minute
)

// errHarborStalled says that Harbor took or gave nothing for too long.
var errHarborStalled = errors.New("nothing moved for too long")

// moving ends requests that stand still: no timeout of http.Transport sees a server that
// stops taking what is sent to it, or that stops in the middle of its answer, and
// connections that another one carries know no deadlines.
type moving struct {
	next http.RoundTripper
	// idle is how long a body may not move, either way; answer how long it may take
	// from the end of what is sent to the beginning of the answer.
	idle, answer time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (m *moving) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := &watch{timer: time.AfterFunc(m.answer, func() { cancel(errHarborStalled) }), idle: m.idle}
	out := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		watched := func(b io.ReadCloser) io.ReadCloser { return &movingBody{ReadCloser: b, watch: watch, then: m.answer} }
		out.Body = watched(req.Body)
		if req.GetBody != nil { // sent again over another connection
			out.GetBody = func() (io.ReadCloser, error) {
				b, err := req.GetBody()
				if err != nil {
					return nil, err
				}
				return watched(b), nil
			}
		}
		watch.set(m.idle)
	}
	resp, err := m.next.RoundTrip(out)
	if err != nil {
		watch.stop()
		if errors.Is(context.Cause(ctx), errHarborStalled) {
			err = errHarborStalled
		}
		cancel(nil)
		return nil, err
	}
	watch.set(m.idle)
	resp.Request = req
	resp.Body = &answerBody{movingBody: movingBody{ReadCloser: resp.Body, watch: watch}, ctx: ctx, cancel: cancel}
	return resp, nil
}

// watch is the time that is left to a request.
type watch struct {
	idle time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// set gives it d from now on; after stop it does nothing.
func (w *watch) set(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.timer.Reset(d)
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}

// movingBody tells its watch whenever it is read from: what is sent is read as the other
// side takes it.
type movingBody struct {
	io.ReadCloser
	watch *watch
	// then is what is left after the end of what is sent.
	then time.Duration
}

// Read implements [io.Reader].
func (b *movingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.watch.set(b.watch.idle)
	return n, err
}

// Close implements [io.Closer].
func (b *movingBody) Close() error {
	b.watch.set(b.then)
	return b.ReadCloser.Close()
}

// answerBody ends the request when it is closed.
type answerBody struct {
	movingBody
	ctx    context.Context //nolint:containedctx // that of the request whose answer this is
	cancel context.CancelCauseFunc
}

// Read implements [io.Reader].
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.movingBody.Read(p)
	if err != nil && errors.Is(context.Cause(b.ctx), errHarborStalled) {
		err = errHarborStalled
	}
	return n, err
}

// Close implements [io.Closer].
func (b *answerBody) Close() error {
	b.watch.stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
