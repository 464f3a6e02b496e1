// Package progress tells a person or a program how far long work is. Work reports
// to an Observer; what becomes of the reports is chosen once, by the command line.
package progress

import (
	"io"
	"time"
)

// Observer is told of a run's steps. It is safe for concurrent use; what it
// reports never goes backwards.
type Observer interface {
	// Start begins a step of total bytes (0 when unknown) and ends the one before it.
	Start(step string, total int64)
	// Grow adds to the total of the current step.
	Grow(n int64)
	// Add says that n more bytes are done.
	Add(n int64)
	// Note says something worth a line of its own: a retry, a skipped step.
	Note(text string)
	// Hold stops drawing until the function it returns is called, so that something
	// else, such as a question for a password, may use the terminal.
	Hold() (release func())
	// Close ends the last step; err is how the run ended.
	Close(err error)
}

// Nop is the Observer that nobody watches.
type Nop struct{}

// Start does nothing.
func (Nop) Start(string, int64) {}

// Grow does nothing.
func (Nop) Grow(int64) {}

// Add does nothing.
func (Nop) Add(int64) {}

// Note does nothing.
func (Nop) Note(string) {}

// Hold does nothing.
func (Nop) Hold() func() { return func() {} }

// Close does nothing.
func (Nop) Close(error) {}

// Mode is how progress is shown.
type Mode string

// Modes of --progress. Auto is Terminal where w is one, else Plain.
const (
	Auto     Mode = "auto"
	Terminal Mode = "tty"
	Plain    Mode = "plain"
	JSON     Mode = "json"
	None     Mode = "none"
)

// Modes lists the values --progress takes.
func Modes() []string {
	return []string{string(Auto), string(Terminal), string(Plain), string(JSON), string(None)}
}

// New is the Observer for mode, writing to w, which is a terminal of width
// columns if width is above 0. Close it to stop its clock.
func New(mode Mode, w io.Writer, width int) Observer {
	if mode == Auto {
		mode = Plain
		if width > 0 {
			mode = Terminal
		}
	}
	if width <= 0 {
		width = 80
	}
	switch mode {
	case Terminal:
		return newMeter(&terminal{w: w, width: width}, 150*time.Millisecond)
	case JSON:
		return newMeter(&jsonLines{w: w}, time.Second)
	case None:
		return Nop{}
	default:
		return newMeter(&plain{w: w}, 5*time.Second)
	}
}
