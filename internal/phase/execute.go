package phase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Outcome is how a task ended.
type Outcome string

// Outcomes of a task: it held already, was made to hold, or could not be. Began is that
// of a task under way.
const (
	Began   Outcome = "began"
	Held    Outcome = "held"
	Changed Outcome = "changed"
	Failed  Outcome = "failed"
)

// Event is one task that ended.
type Event struct {
	Phase   string        `json:"phase"`
	Host    string        `json:"host,omitempty"`
	What    string        `json:"what"`
	Outcome Outcome       `json:"outcome"`
	Time    time.Time     `json:"time"`
	Took    time.Duration `json:"tookNanoseconds"`
	Err     string        `json:"error,omitempty"`
	// Quiet is a task that changes nothing.
	Quiet bool `json:"-"`
}

// Observer is told how a run goes, from many goroutines.
type Observer interface {
	// Phase begins a phase; skipped is the reason why it is left out, or "". What it
	// returns is called at the phase's end. Phases may overlap.
	Phase(name, title, skipped string) (ended func())
	// Began is called when a task turns out not to hold and is about to be done.
	Began(phase string, t Task)
	// Ended is called after each task.
	Ended(Event)
}

// Error is a task that failed. All hosts' failures of a phase are reported, joined.
type Error struct {
	Phase, Host, What string
	Err               error
}

func (e *Error) Error() string {
	at := e.Phase
	if e.Host != "" {
		at += " on " + e.Host
	}
	return fmt.Sprintf("%s: %s: %v", at, e.What, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// DeadlineError is a task that took longer than it may.
type DeadlineError struct{ After time.Duration }

func (e *DeadlineError) Error() string {
	return fmt.Sprintf("not done after %s", e.After)
}

// Result counts what a run did.
type Result struct {
	// Tasks that were looked at, and those that changed something.
	Tasks   int `json:"tasks"`
	Changed int `json:"changed"`
	Events  []Event
}

// Options of Execute.
type Options struct {
	Observer Observer
	// Jobs bounds the hosts that a phase works on at a time; 16 if 0. With 1 nothing is
	// done beside anything else: phases follow each other as well.
	Jobs int
	// BeforeWork, if set, is called once for a phase, with the first of its tasks that is
	// about to change something, which an error of it fails. Others wait for it.
	BeforeWork func(context.Context, Event) error
	// AfterPhase is called with what a phase did, also a failed one, for one phase at a
	// time.
	AfterPhase func(ctx context.Context, name string, events []Event) error
}

// Execute does the plan. When ctx ends, tasks under way are finished (but for those
// that may be interrupted) and nothing new is begun; the error is ctx's then. After
// a phase with a failed task no further phase is begun; those under way beside it go
// to their end.
func (p *Plan) Execute(ctx context.Context, o Options) (*Result, error) {
	if o.Jobs <= 0 {
		o.Jobs = 16
	}
	c := newCourse(p, o)
	var group errgroup.Group
	for i := range c.legs {
		group.Go(func() error { c.run(ctx, i); return nil })
	}
	_ = group.Wait()
	total, errs := &Result{}, make([]error, len(c.legs))
	for i, l := range c.legs {
		total.Events = append(total.Events, l.events...)
		for _, e := range l.events {
			total.Tasks++
			if e.Outcome == Changed && !e.Quiet {
				total.Changed++
			}
		}
		errs[i] = l.err
	}
	if err := joinOnce(errs); err != nil {
		return total, err
	}
	return total, ctx.Err()
}

// joinOnce joins errors, and the end of the context only when there is nothing else.
func joinOnce(errs []error) error {
	var real []error
	var ended error
	for _, err := range errs {
		var own *Error
		if errors.Is(err, context.Canceled) && !errors.As(err, &own) {
			ended = err
		} else if err != nil {
			real = append(real, err)
		}
	}
	if len(real) > 0 {
		return errors.Join(real...)
	}
	return ended
}
