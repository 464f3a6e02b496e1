// Package phase runs ordered phases of tasks on hosts. A plan is made once, may be
// printed, and is what is executed: there is no second way through the work.
//
// A task looks at the real world before it does anything, so that a run that was
// cut off, by whatever, is completed by running again. Nothing is undone.
package phase

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Task is one thing that should hold.
type Task struct {
	// Host it is done on; empty for the site as a whole. Tasks of one host are done in
	// order, those of several hosts side by side.
	Host string
	// After are earlier phases that must be through with the task's host before it is
	// begun, where Phase.After lets its phase begin beside them.
	After []string
	// What is done, in the imperative: "install containerd 2.1.5".
	What string
	// Done looks whether it holds already; nil for a task that is always done.
	Done func(context.Context) (bool, error)
	// Do makes it hold.
	Do func(context.Context) error
	// Deadline bounds Do; DefaultDeadline if 0.
	Deadline time.Duration
	// Interruptible tasks end at once when the run is to stop; the others are finished.
	Interruptible bool
	// Quiet marks a task that changes nothing, such as a check: it does not count
	// as a change.
	Quiet bool
}

// DefaultDeadline bounds a task that states none.
const DefaultDeadline = 10 * time.Minute

// Phase is a named step of a run over the state S.
type Phase[S any] struct {
	// Name is stable, in kebab case: flags and journals use it.
	Name  string
	Title string
	// Skip gives a reason why there is nothing to do here, or "".
	Skip func(S) string
	// Tasks lists what should hold. It must not look at the world; tasks do.
	Tasks func(S) []Task
	// Serial does one task after the other, also those of different hosts.
	Serial bool
	// After are the earlier phases that must have come to their end before this one
	// begins; nil for all of them.
	After []string
	// Needed phases run even when flags leave them out: others need what they find.
	Needed bool
}

// Selection are the flags that choose phases.
type Selection struct {
	// From starts at a phase. Only keeps these. Skip leaves these out.
	From string
	Only []string
	Skip []string
}

// Step is a phase of a plan with its tasks, or the reason why it is left out.
type Step struct {
	Name, Title string
	Serial      bool
	// After are the steps that must have come to their end first.
	After []string
	// Skipped is the reason why it is left out, or "".
	Skipped string
	Tasks   []Task
}

// Plan is what a run will do.
type Plan struct{ Steps []Step }

// UnknownError is a phase name that does not exist.
type UnknownError struct {
	Name string
	Have []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("choosing phases: there is no phase %q (there are: %s)", e.Name, strings.Join(e.Have, ", "))
}

// OrderError is a phase that is to begin after one that does not stand before it.
type OrderError struct{ Name, After string }

func (e *OrderError) Error() string {
	return fmt.Sprintf("ordering phases: %q is to begin after %q, which does not stand before it", e.Name, e.After)
}

// NewPlan chooses among the phases and lists the tasks of each. It returns an
// *UnknownError, or an *OrderError.
func NewPlan[S any](phases []Phase[S], s S, sel Selection) (*Plan, error) {
	var names []string
	for _, p := range phases {
		names = append(names, p.Name)
	}
	asked := slices.Concat(sel.Only, sel.Skip)
	if sel.From != "" {
		asked = append(asked, sel.From)
	}
	for _, name := range asked {
		if !slices.Contains(names, name) {
			return nil, &UnknownError{Name: name, Have: names}
		}
	}
	plan := &Plan{}
	begun := sel.From == ""
	for i, p := range phases {
		begun = begun || p.Name == sel.From
		step := Step{Name: p.Name, Title: p.Title, Serial: p.Serial, After: p.After, Skipped: sel.skips(p.Name, begun)}
		if p.After == nil {
			step.After = names[:i]
		}
		if p.Needed {
			step.Skipped = ""
		}
		if step.Skipped == "" && p.Skip != nil {
			step.Skipped = p.Skip(s)
		}
		if step.Skipped == "" {
			step.Tasks = p.Tasks(s)
		}
		if err := step.ordered(names[:i]); err != nil {
			return nil, err
		}
		plan.Steps = append(plan.Steps, step)
	}
	return plan, nil
}

// ordered looks whether the step begins after steps of before alone.
func (s *Step) ordered(before []string) error {
	after := s.After
	for _, t := range s.Tasks {
		after = slices.Concat(after, t.After)
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			return &OrderError{Name: s.Name, After: name}
		}
	}
	return nil
}

// skips is the reason for which the flags leave a phase out, or "".
func (sel Selection) skips(name string, begun bool) string {
	switch {
	case !begun:
		return "before --from " + sel.From
	case len(sel.Only) > 0 && !slices.Contains(sel.Only, name):
		return "not in --only"
	case slices.Contains(sel.Skip, name):
		return "--skip"
	}
	return ""
}
