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

// Outcomes of a task: it held already, was made to hold, or could not be.
const (
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
	// Phase begins a phase; skipped is the reason why it is left out, or "".
	Phase(name, title, skipped string)
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
	// Jobs bounds the hosts worked on at a time; 16 if 0.
	Jobs int
	// AfterPhase is called with what a phase did, also a failed one.
	AfterPhase func(ctx context.Context, name string, events []Event) error
}

// Execute does the plan. When ctx ends, tasks under way are finished (but for those
// that may be interrupted) and nothing new is begun; the error is ctx's then. After
// a phase with a failed task no further phase is begun.
func (p *Plan) Execute(ctx context.Context, o Options) (*Result, error) {
	if o.Jobs <= 0 {
		o.Jobs = 16
	}
	total := &Result{}
	for _, step := range p.Steps {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		o.Observer.Phase(step.Name, step.Title, step.Skipped)
		if step.Skipped != "" {
			continue
		}
		r := &recorder{observer: o.Observer, phase: step.Name}
		err := step.execute(ctx, r, o.Jobs)
		total.Events = append(total.Events, r.events...)
		for _, e := range r.events {
			total.Tasks++
			if e.Outcome == Changed && !e.Quiet {
				total.Changed++
			}
		}
		if o.AfterPhase != nil {
			err = errors.Join(err, o.AfterPhase(context.WithoutCancel(ctx), step.Name, r.events))
		}
		if err != nil {
			return total, err
		}
	}
	return total, ctx.Err()
}

// lanes are the tasks by host, in the order in which hosts first come.
func (s *Step) lanes() [][]Task {
	if s.Serial {
		return [][]Task{s.Tasks}
	}
	at := map[string]int{}
	var lanes [][]Task
	for _, t := range s.Tasks {
		i, ok := at[t.Host]
		if !ok {
			i = len(lanes)
			at[t.Host] = i
			lanes = append(lanes, nil)
		}
		lanes[i] = append(lanes[i], t)
	}
	return lanes
}

func (s *Step) execute(ctx context.Context, r *recorder, jobs int) error {
	lanes := s.lanes()
	errs := make([]error, len(lanes))
	var group errgroup.Group // each lane goes to its end: a person fixes all hosts at once
	group.SetLimit(jobs)
	for i, lane := range lanes {
		group.Go(func() error {
			for _, t := range lane {
				if err := ctx.Err(); err != nil {
					errs[i] = err
					return nil
				}
				if err := r.run(ctx, t); err != nil {
					errs[i] = err
					return nil
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	return joinOnce(errs)
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
