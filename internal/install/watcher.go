package install

import (
	"fmt"
	"sync"
	"time"

	"naru/internal/phase"
	"naru/internal/progress"
)

// watcher shows a run's phases and tasks, and keeps their times.
type watcher struct {
	progress progress.Observer
	started  time.Time

	mu    sync.Mutex
	times []PhaseTime
	begun time.Time
}

// Phase implements phase.Observer.
func (w *watcher) Phase(name, title, skipped string) {
	w.end()
	if skipped != "" {
		w.progress.Note(fmt.Sprintf("%s: skipped, %s", name, skipped))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times = append(w.times, PhaseTime{Name: name})
	w.begun = time.Now()
	w.progress.Start(name, 0)
	w.progress.Note(fmt.Sprintf("== %s: %s", name, title))
}

// end closes the time of the phase under way.
func (w *watcher) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.times); n > 0 && !w.begun.IsZero() {
		w.times[n-1].Seconds = time.Since(w.begun).Seconds()
		w.begun = time.Time{}
	}
}

// Began implements phase.Observer.
func (w *watcher) Began(_ string, t phase.Task) {
	if !t.Quiet {
		w.progress.Note(line(t.Host, t.What))
	}
}

// Ended implements phase.Observer.
func (w *watcher) Ended(e phase.Event) {
	w.mu.Lock()
	if n := len(w.times); n > 0 && e.Outcome == phase.Changed && !e.Quiet {
		w.times[n-1].Changed++
	}
	w.mu.Unlock()
	switch {
	case e.Outcome == phase.Failed:
		w.progress.Note(line(e.Host, e.What+": FAILED"))
	case e.Outcome == phase.Changed && !e.Quiet:
		w.progress.Note(line(e.Host, fmt.Sprintf("%s: done in %.1fs", e.What, e.Took.Seconds())))
	}
}

func line(host, what string) string {
	if host == "" {
		host = "site"
	}
	return fmt.Sprintf("  %-8s %s", host, what)
}
