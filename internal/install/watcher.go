package install

import (
	"fmt"
	"slices"
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
}

// Phase implements phase.Observer.
func (w *watcher) Phase(name, title, skipped string) func() {
	if skipped != "" {
		w.progress.Note(fmt.Sprintf("%s: skipped, %s", name, skipped))
		return func() {}
	}
	begun := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	at := len(w.times)
	w.times = append(w.times, PhaseTime{Name: name, Began: begun.Sub(w.started).Seconds()})
	w.progress.Start(name, 0)
	w.progress.Note(fmt.Sprintf("== %s: %s", name, title))
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.times[at].Seconds = time.Since(begun).Seconds()
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
	if i := slices.IndexFunc(w.times, func(t PhaseTime) bool { return t.Name == e.Phase }); i >= 0 && e.Outcome == phase.Changed && !e.Quiet {
		w.times[i].Changed++
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
