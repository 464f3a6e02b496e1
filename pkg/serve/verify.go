package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// verifier hashes content that is asked for in parts. Requests for the same
// content share one run, which goes on when they leave: a client that gives up
// before a large layer is hashed finds it done when it comes back.
type verifier struct {
	contents union
	// slots bounds runs under way: each takes a core.
	slots chan struct{}
	// lifetime is that of the runs, which is not that of the requests.
	lifetime context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu   sync.Mutex
	runs map[digest.Digest]*verification
}

// verification is one run; err is set once done is closed.
type verification struct {
	done chan struct{}
	err  error
}

func newVerifier(ctx context.Context, contents union) *verifier {
	v := &verifier{contents: contents, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), runs: map[digest.Digest]*verification{}}
	v.lifetime, v.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return v
}

// verify waits until the content is known to be that of its digest.
func (v *verifier) verify(ctx context.Context, d digest.Digest) error {
	run := v.join(d)
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns the run for d, begun now if there is none.
func (v *verifier) join(d digest.Digest) *verification {
	v.mu.Lock()
	defer v.mu.Unlock()
	run := v.runs[d]
	if run != nil {
		return run
	}
	run = &verification{done: make(chan struct{})}
	if run.err = v.lifetime.Err(); run.err != nil {
		close(run.done)
		return run
	}
	v.runs[d] = run
	v.wg.Go(func() {
		run.err = v.hash(d)
		v.mu.Lock()
		delete(v.runs, d)
		v.mu.Unlock()
		close(run.done)
	})
	return run
}

func (v *verifier) hash(d digest.Digest) (err error) {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-v.lifetime.Done():
		return v.lifetime.Err()
	}
	rc, err := v.contents.open(v.lifetime, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	if own, ok := rc.(interface{ Verify(context.Context) error }); ok {
		err = own.Verify(v.lifetime)
	} else {
		// A read from start to end is verified by contract.
		_, err = io.Copy(io.Discard, struct{ io.Reader }{rc})
	}
	if err != nil {
		return fmt.Errorf("verifying %s: %w", d, err)
	}
	return nil
}

// stop ends all runs and waits for them.
func (v *verifier) stop() {
	v.mu.Lock()
	v.cancel() // whoever would begin a run from here on sees that it is over
	v.mu.Unlock()
	v.wg.Wait()
}

// wantsPart tells whether the request, by its preconditions, is to be answered
// with a part of the content of the given validator.
func wantsPart(r *http.Request, tag string) bool {
	if r.Method != http.MethodGet || r.Header.Get("Range") == "" {
		return false
	}
	if condition := r.Header.Get("If-Range"); condition != "" && condition != tag {
		return false
	}
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == tag || item == "*" {
			return false
		}
	}
	return true
}
