package phase

import (
	"context"
	"errors"
	"sync"
	"time"
)

// recorder runs tasks and keeps what came of them.
type recorder struct {
	observer Observer
	phase    string
	before   func(context.Context, Event) error // as Options.BeforeWork
	begin    sync.Once
	begun    error // what it returned

	mu     sync.Mutex
	events []Event
}

// run looks at a task and does it when it does not hold.
func (r *recorder) run(ctx context.Context, t Task) error {
	start := time.Now()
	deadline := t.Deadline
	if deadline == 0 {
		deadline = DefaultDeadline
	}
	base := ctx
	if !t.Interruptible {
		base = context.WithoutCancel(ctx)
	}
	tctx, cancel := context.WithTimeoutCause(base, deadline, &DeadlineError{After: deadline})
	defer cancel()
	outcome, err := r.attempt(tctx, t)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return ctx.Err() // interrupted, not failed
	}
	e := Event{Phase: r.phase, Host: t.Host, What: t.What, Outcome: outcome, Time: start, Took: time.Since(start), Quiet: t.Quiet}
	if err != nil {
		e.Err = err.Error()
	}
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	r.observer.Ended(e)
	if err != nil {
		return &Error{Phase: r.phase, Host: t.Host, What: t.What, Err: err}
	}
	return nil
}

func (r *recorder) attempt(ctx context.Context, t Task) (Outcome, error) {
	if t.Done != nil {
		done, err := t.Done(ctx)
		if err != nil {
			return Failed, err
		}
		if done {
			return Held, nil
		}
	}
	r.observer.Began(r.phase, t)
	if err := r.beforeWork(ctx, t); err != nil {
		return Failed, err
	}
	if err := t.Do(ctx); err != nil {
		return Failed, err
	}
	return Changed, nil
}

// beforeWork tells once that the phase is about to change something.
func (r *recorder) beforeWork(ctx context.Context, t Task) error {
	if r.before == nil || t.Quiet {
		return nil
	}
	r.begin.Do(func() {
		r.begun = r.before(ctx, Event{Phase: r.phase, Host: t.Host, What: t.What, Outcome: Began, Time: time.Now()})
	})
	return r.begun
}

// Probed is a task with what a look at the world says of it.
type Probed struct {
	Phase, Host, What string
	// Holds is true when there is nothing to do.
	Holds bool
	// Unknown says why it cannot be told yet, such as a service that an earlier phase
	// installs.
	Unknown string
}

// Probe looks at every task without doing any. Tasks without a look are listed as
// to be done, quiet ones not at all.
func (p *Plan) Probe(ctx context.Context) ([]Probed, error) {
	var out []Probed
	for _, step := range p.Steps {
		for _, t := range step.Tasks {
			if t.Quiet {
				continue
			}
			pr := Probed{Phase: step.Name, Host: t.Host, What: t.What}
			if t.Done != nil {
				holds, err := t.Done(ctx)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if pr.Holds = holds; err != nil {
					pr.Unknown = err.Error()
				}
			}
			out = append(out, pr)
		}
	}
	return out, nil
}
