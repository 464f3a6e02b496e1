package main

import (
	"fmt"
	"strings"
	"time"
)

// row is one comparison, or one figure that stands alone.
type row struct {
	what string
	ours figures
	// against is nil where there is nothing to compare with.
	against *figures
	// ratio is what the target speaks of; 0 for none.
	ratio float64
	// target reads "<= 1.2"; met says whether it is. Empty for a row that only informs.
	target string
	met    bool
}

// report collects rows.
type report struct{ rows []row }

// atMost compares ours with another side: wall time over wall time, at most limit.
// A limit of 0 makes the row inform only.
func (r *report) atMost(what string, ours, against figures, limit float64) {
	line := row{what: what, ours: ours, against: &against, ratio: ours.wall.Seconds() / against.wall.Seconds()}
	if limit > 0 {
		line.target, line.met = fmt.Sprintf("<= %.1f", limit), line.ratio <= limit
	}
	r.rows = append(r.rows, line)
}

// timesAsFast compares ours with another side: how many times as fast, at least
// limit; 0 makes the row inform only.
func (r *report) timesAsFast(what string, ours, against figures, limit float64) {
	line := row{what: what, ours: ours, against: &against, ratio: against.wall.Seconds() / ours.wall.Seconds()}
	if limit > 0 {
		line.target, line.met = fmt.Sprintf(">= %.1f", limit), line.ratio >= limit
	}
	r.rows = append(r.rows, line)
}

// within wants ours to take no longer than limit.
func (r *report) within(what string, ours figures, limit time.Duration) {
	r.rows = append(r.rows, row{what: what, ours: ours, target: fmt.Sprintf("<= %.0f s", limit.Seconds()), met: ours.wall <= limit})
}

// memory wants ours to hold no more than limit bytes.
func (r *report) memory(what string, ours figures, limit int64) {
	r.rows = append(r.rows, row{what: what, ours: ours, target: fmt.Sprintf("< %d MB", limit/1e6), met: ours.rss < limit})
}

// markdown is the report, the description of the machine and the run before it.
func (r *report) markdown(describe string) string {
	var b strings.Builder
	b.WriteString(describe)
	b.WriteString("\n| measure | naru: s | cpu s | peak MB | against | s | cpu s | peak MB | ratio | target |\n")
	b.WriteString("|---|---:|---:|---:|---|---:|---:|---:|---:|---|\n")
	for _, l := range r.rows {
		fmt.Fprintf(&b, "| %s | %s |", l.what, l.ours.cells())
		if l.against == nil {
			b.WriteString(" | | | | |")
		} else {
			fmt.Fprintf(&b, " %s | %s | %.2f |", l.against.name, l.against.cells(), l.ratio)
		}
		fmt.Fprintf(&b, " %s |\n", l.verdict())
	}
	return b.String()
}

func (l *row) verdict() string {
	switch {
	case l.target == "":
		return ""
	case l.met:
		return l.target + ": met"
	}
	return l.target + ": **missed**"
}

// cells are seconds, processor seconds and megabytes; what was not measured is
// left empty.
func (f figures) cells() string {
	cpu, rss := "", ""
	if f.cpu > 0 {
		cpu = fmt.Sprintf("%.2f", f.cpu.Seconds())
	}
	if f.rss > 0 {
		rss = fmt.Sprintf("%d", f.rss/1e6)
	}
	return fmt.Sprintf("%.2f | %s | %s", f.wall.Seconds(), cpu, rss)
}
