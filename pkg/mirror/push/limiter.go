package push

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote"
)

const (
	// growAfter is how many answers in a row, without a complaint, add one to
	// the limit again.
	growAfter = 32
	// shrinkEvery is how often the limit falls at most: requests that were under
	// way together complain together.
	shrinkEvery = 500 * time.Millisecond
	// maxPause bounds what Retry-After can ask for.
	maxPause = 2 * time.Minute
)

// limiter bounds concurrent requests to one registry. The bound halves when the
// registry complains and grows back slowly.
type limiter struct {
	max int

	mu      sync.Mutex
	limit   int
	running int
	calm    int       // answers since the last change
	shrunk  time.Time // when the limit last fell
	until   time.Time // nothing starts before
	waiting []chan struct{}
}

func newLimiter(n int) *limiter { return &limiter{max: n, limit: n} }

// acquire waits for its turn. After a nil error, release is due.
func (l *limiter) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	for l.running >= l.limit {
		turn := make(chan struct{})
		l.waiting = append(l.waiting, turn)
		l.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			l.leave(turn)
			return ctx.Err()
		}
		l.mu.Lock()
	}
	l.running++
	wait := time.Until(l.until)
	l.mu.Unlock()
	if err := pause(ctx, wait); err != nil {
		l.release()
		return err
	}
	return nil
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.wake()
}

// leave takes back a wait; a turn that was given already goes to the next.
func (l *limiter) leave(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
		return
	}
	l.wake()
}

// wake lets the next ones look again; l.mu is held.
func (l *limiter) wake() {
	for n := l.limit - l.running; n > 0 && len(l.waiting) > 0; n-- {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
	}
}

// slower halves the limit and holds everything back for the given time.
func (l *limiter) slower(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.calm = 0
	if until := now.Add(min(wait, maxPause)); until.After(l.until) {
		l.until = until
	}
	if now.Sub(l.shrunk) >= shrinkEvery {
		l.shrunk = now
		l.limit = max(1, l.limit/2)
	}
}

// calmer counts an answer without a complaint.
func (l *limiter) calmer() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit == l.max {
		return
	}
	if l.calm++; l.calm >= growAfter {
		l.calm = 0
		l.limit++
		l.wake()
	}
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

// gate is a client that sends what the limiter lets through.
type gate struct {
	inner   remote.Client
	limiter *limiter
}

// Do implements [remote.Client].
func (g *gate) Do(req *http.Request) (*http.Response, error) {
	if err := g.limiter.acquire(req.Context()); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as a transport would; nothing was read
		}
		return nil, err
	}
	defer g.limiter.release()
	resp, err := g.inner.Do(req)
	switch {
	case err != nil:
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		g.limiter.slower(retryAfter(resp.Header.Get("Retry-After")))
	case resp.StatusCode < 500:
		g.limiter.calmer()
	}
	return resp, err
}

// retryAfter reads both forms of the header; 0 when there is none.
func retryAfter(value string) time.Duration {
	if n, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
