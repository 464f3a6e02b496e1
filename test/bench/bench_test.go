package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFigures(t *testing.T) {
	s := &series{name: "x", samples: []*sample{
		{wall: 9 * time.Second, cpu: 1 * time.Second, rss: 10e6},
		{wall: 2 * time.Second, cpu: 3 * time.Second, rss: 30e6},
		{wall: 4 * time.Second, cpu: 2 * time.Second, rss: 20e6},
	}}
	want := figures{name: "x", wall: 4 * time.Second, cpu: 2 * time.Second, rss: 30e6, runs: 3}
	if diff := cmp.Diff(want, s.figures(), cmp.AllowUnexported(figures{})); diff != "" {
		t.Error(diff)
	}
}

func TestStepTime(t *testing.T) {
	events := []byte(`{"event":"start","step":"pack"}
not JSON
{"event":"end","step":"fetch","seconds":7}
{"event":"end","step":"pack","seconds":1.5}
`)
	if got := stepTime(events, "pack"); got != 1500*time.Millisecond {
		t.Errorf("pack took %s", got)
	}
	if got := stepTime(events, "media"); got != 0 {
		t.Errorf("a step that was not took %s", got)
	}
}

func TestReport(t *testing.T) {
	var r report
	ours, theirs := figures{name: "ours", wall: 3 * time.Second}, figures{name: "theirs", wall: 2 * time.Second}
	r.atMost("too slow", ours, theirs, 1.2)
	r.atMost("slow enough", ours, theirs, 1.5)
	r.timesAsFast("not as fast", ours, theirs, 1.5)
	r.timesAsFast("fast", theirs, ours, 1.5)
	r.within("in time", theirs, 2*time.Second)
	r.memory("fat", figures{rss: 200e6}, 200e6)
	r.atMost("no target", ours, theirs, 0)
	want := []string{"<= 1.2: **missed**", "<= 1.5: met", ">= 1.5: **missed**", ">= 1.5: met", "<= 2 s: met", "< 200 MB: **missed**", ""}
	var got []string
	for _, l := range r.rows {
		got = append(got, l.verdict())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, line := range strings.Split(strings.TrimSpace(r.markdown("about\n")), "\n")[2:] {
		if n := strings.Count(line, "|"); n != 11 {
			t.Errorf("%d bars in %q", n, line)
		}
	}
}
