package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"naru/manifest"
)

// Result is what Execute did.
type Result struct {
	Steps []StepResult `json:"steps"`
	// Changed counts the steps that changed something.
	Changed int `json:"changed"`
}

// StepResult is what became of one step.
type StepResult struct {
	Component string        `json:"component"`
	Step      string        `json:"step"`
	Action    Action        `json:"action"`
	Why       string        `json:"why,omitempty"`
	Took      time.Duration `json:"tookNanoseconds"`
}

// Execute deploys the steps of p in order and stops at the first that fails. It may be
// run again at any time. Errors are *StepError, around *NotReadyError where something
// does not become ready.
func (s *Stack) Execute(ctx context.Context, p *Plan) (*Result, error) {
	out := &Result{}
	for _, planned := range p.Steps {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		start := time.Now()
		action, why, err := s.executeStep(ctx, planned.spec, planned.step)
		if err != nil {
			return out, &StepError{Component: planned.Component, Step: planned.Step, Err: err}
		}
		if action != ActionUnchanged && action != ActionLeftOut {
			out.Changed++
		}
		out.Steps = append(out.Steps, StepResult{Component: planned.Component, Step: planned.Step, Action: action, Why: why, Took: time.Since(start)})
	}
	return out, nil
}

// Ready looks once at what the steps of p wait for, those that apply to the site. It is
// false with the state of the first thing that is not ready.
func (s *Stack) Ready(ctx context.Context, p *Plan) (bool, string, error) {
	for _, planned := range p.Steps {
		if planned.Action == ActionLeftOut {
			continue
		}
		secrets, complete, err := s.readSecrets(ctx, planned.spec)
		if err != nil {
			return false, "", err
		}
		if !complete {
			return false, "its secrets are to be made", nil
		}
		w, err := s.render(ctx, planned.spec, planned.step, s.opts.Facts(planned.spec, secrets))
		if err != nil {
			return false, "", &StepError{Component: planned.Component, Step: planned.Step, Err: err}
		}
		for _, t := range w.targets() {
			ok, state, err := s.look(ctx, t)
			if err != nil && !comes(err) && !errors.Is(err, errFailed) {
				return false, "", &StepError{Component: planned.Component, Step: planned.Step, Err: err}
			}
			if !ok {
				return false, fmt.Sprintf("%s: %s", t, state), nil
			}
		}
	}
	return true, "", nil
}

// errDeadline is the cause of a step's context that ended by its deadline.
var errDeadline = errors.New("the step's deadline passed")

// executeStep compares again, since steps before it may have changed what it sees, and
// does what is to be done.
func (s *Stack) executeStep(ctx context.Context, c *manifest.ComponentSpec, step *manifest.Step) (Action, string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, step.Deadline(), fmt.Errorf("%w (%s)", errDeadline, step.Deadline()))
	defer cancel()
	secrets, err := s.keepSecrets(ctx, c)
	if err != nil {
		return "", "", err
	}
	facts := s.opts.Facts(c, secrets)
	holds, err := facts.Applies(step)
	if err != nil {
		return "", "", err
	}
	if !holds {
		return ActionLeftOut, "its condition does not hold for this site", nil
	}
	w, err := s.render(ctx, c, step, facts)
	if err != nil {
		return "", "", err
	}
	action, why, err := s.compare(ctx, w)
	if err != nil {
		return "", "", err
	}
	if action == ActionUnchanged {
		s.event(c, step, PhaseUnchanged, "nothing to do")
	} else {
		s.event(c, step, PhaseStarted, "%s: %s", action, why)
		if err := s.deploy(ctx, w); err != nil {
			return "", "", s.hookReasons(ctx, w, timely(ctx, err))
		}
		s.event(c, step, PhaseApplied, "%s", action)
	}
	if err := s.waitAll(ctx, w); err != nil {
		return "", "", err
	}
	s.event(c, step, PhaseReady, "ready")
	return action, why, nil
}

func (s *Stack) deploy(ctx context.Context, w *work) error {
	if w.step.Chart != "" {
		return s.deployChart(ctx, w)
	}
	if w.step.Namespace != "" {
		if err := s.ensureNamespace(ctx, w.spec, w.step.Namespace); err != nil {
			return err
		}
	}
	return s.applyManifests(ctx, w)
}

// timely says that the deadline passed where that is behind an error.
func timely(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errDeadline) && !errors.Is(err, errDeadline) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}
