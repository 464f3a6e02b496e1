package stack

import (
	"fmt"
	"strings"
	"time"
)

// StepError says which step of which component failed.
type StepError struct {
	Component, Step string
	Err             error
}

func (e *StepError) Error() string {
	return fmt.Sprintf("deploying step %q of component %q: %v", e.Step, e.Component, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// NotReadyError says that something did not become ready in time, and what is known of
// the reason.
type NotReadyError struct {
	// Object is "Kind namespace/name", Want what was waited for.
	Object, Want string
	Waited       time.Duration
	// State is how the object itself stands.
	State string
	// Reasons are what explains it: conditions of pods, states of containers, errors of
	// pulling images, warnings among the events. Most telling first.
	Reasons []string
}

func (e *NotReadyError) Error() string {
	msg := fmt.Sprintf("waiting for %s to be %s: not after %s: %s", e.Object, e.Want, e.Waited.Round(time.Second), e.State)
	for _, r := range e.Reasons {
		msg += "\n  " + strings.ReplaceAll(r, "\n", " ")
	}
	return msg
}
