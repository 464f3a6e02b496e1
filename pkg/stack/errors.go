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

// HookError says that a chart could not be deployed, and how its hooks stand.
type HookError struct {
	Err error
	// Reasons are what explains it, as those of NotReadyError.
	Reasons []string
}

func (e *HookError) Error() string { return withReasons(e.Err.Error(), e.Reasons) }
func (e *HookError) Unwrap() error { return e.Err }

func withReasons(msg string, reasons []string) string {
	for _, r := range reasons {
		msg += "\n  " + strings.ReplaceAll(r, "\n", " ")
	}
	return msg
}

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
	return withReasons(fmt.Sprintf("waiting for %s to be %s: not after %s: %s", e.Object, e.Want, e.Waited.Round(time.Second), e.State), e.Reasons)
}
