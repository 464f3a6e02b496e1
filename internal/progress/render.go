package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Bytes formats a size for people, in powers of 1024.
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for v := n / unit; v >= unit; v /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// summary is a finished step in one line.
func summary(s snapshot) string {
	line := fmt.Sprintf("%-10s done in %s", s.Step, seconds(s.Elapsed))
	if s.Done > 0 {
		line += fmt.Sprintf(", %s", Bytes(s.Done))
		if sec := s.Elapsed.Seconds(); sec > 0.05 {
			line += fmt.Sprintf(" at %s/s", Bytes(int64(float64(s.Done)/sec)))
		}
	}
	return line
}

// state is a running step in one line.
func state(s snapshot) string {
	line := fmt.Sprintf("%-10s %s", s.Step, Bytes(s.Done))
	if s.Total > 0 {
		line += fmt.Sprintf(" of %s  %d%%", Bytes(s.Total), s.Done*100/s.Total)
	}
	if s.Rate >= 1 {
		line += fmt.Sprintf("  %s/s", Bytes(int64(s.Rate)))
	}
	if eta, ok := s.eta(); ok {
		line += "  ETA " + seconds(eta)
	}
	return line
}

// terminal redraws one line in place.
type terminal struct {
	w     io.Writer
	width int
}

func (t *terminal) put(line, end string) {
	if r := []rune(line); len(r) >= t.width {
		line = string(r[:t.width-1])
	}
	_, _ = fmt.Fprintf(t.w, "\r\x1b[K%s%s", line, end)
}

func (t *terminal) begin(s snapshot)  { t.put(state(s), "") }
func (t *terminal) update(s snapshot) { t.put(state(s), "") }
func (t *terminal) end(s snapshot)    { t.put(summary(s), "\n") }
func (t *terminal) note(text string)  { _, _ = fmt.Fprintf(t.w, "\r\x1b[K%s\n", text) }
func (t *terminal) close(err error) {
	if err != nil {
		_, _ = fmt.Fprint(t.w, "\r\x1b[K")
	}
}

// plain writes whole lines, for logs.
type plain struct{ w io.Writer }

func (p *plain) begin(snapshot) {}
func (p *plain) update(s snapshot) {
	if s.Done == 0 && s.Total == 0 {
		return // a step that counts no bytes says what it does by notes
	}
	_, _ = fmt.Fprintln(p.w, state(s))
}
func (p *plain) end(s snapshot)   { _, _ = fmt.Fprintln(p.w, summary(s)) }
func (p *plain) note(text string) { _, _ = fmt.Fprintln(p.w, text) }
func (p *plain) close(error)      {}

// event is one line of --progress json.
type event struct {
	// Event is start, update, end, note or close.
	Event   string  `json:"event"`
	Step    string  `json:"step,omitempty"`
	Done    int64   `json:"done,omitempty"`
	Total   int64   `json:"total,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Rate    int64   `json:"bytesPerSecond,omitempty"`
	Text    string  `json:"text,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// jsonLines writes one event a line.
type jsonLines struct{ w io.Writer }

func (j *jsonLines) put(e event) {
	line, err := json.Marshal(e)
	if err != nil {
		return // an event holds nothing that cannot be encoded
	}
	_, _ = fmt.Fprintf(j.w, "%s\n", line)
}

func (j *jsonLines) of(name string, s snapshot) {
	j.put(event{Event: name, Step: s.Step, Done: s.Done, Total: s.Total, Seconds: s.Elapsed.Seconds(), Rate: int64(s.Rate)})
}

func (j *jsonLines) begin(s snapshot)  { j.of("start", s) }
func (j *jsonLines) update(s snapshot) { j.of("update", s) }
func (j *jsonLines) end(s snapshot)    { j.of("end", s) }
func (j *jsonLines) note(text string)  { j.put(event{Event: "note", Text: text}) }
func (j *jsonLines) close(err error) {
	e := event{Event: "close"}
	if err != nil {
		e.Error = err.Error()
	}
	j.put(e)
}
