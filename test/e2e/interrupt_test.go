//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"naru/test/lab/upstream"
)

// event is one line of --progress json.
type event struct {
	Event, Step, Error string
	Done, Total        int64
}

// A build that is told to stop stops at once, leaves nothing that looks complete,
// and goes on when it is run again.
func TestCtrlC(t *testing.T) {
	base := newFaultBase(t)
	t.Cleanup(w.up.ClearFaults)
	slow := upstream.Fault{Kind: upstream.Slow, Rate: 1 << 20, Match: upstream.Match{Path: anyContent}}
	if err := w.up.Inject(slow); err != nil {
		t.Fatal(err)
	}
	w.up.ResetRequests()
	out, store := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "store")
	args := append(base.build(out, store), "--progress", "json")

	events, took, code := interrupted(t, args)
	if code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if took > 5*time.Second {
		t.Errorf("it stopped %s after it was told to", took)
	}
	last := checkProgress(t, events)
	if last.Event != "close" || last.Error == "" {
		t.Errorf("the last event is %+v, want a close that says why", last)
	}
	if _, err := os.Stat(filepath.Join(out, "SHA256SUMS")); err == nil {
		t.Error("the folder looks complete")
	}

	w.up.ClearFaults()
	again := ok(t, "bundle", args...)
	var rest []event
	for line := range bytes.Lines(again.stderr) {
		rest = append(rest, decode(t, line))
	}
	if last := checkProgress(t, rest); last.Event != "close" || last.Error != "" {
		t.Errorf("the last event of the rerun is %+v", last)
	}
	if got := hashFile(t, volumes(t, out)[0]); got != base.volume {
		t.Errorf("the volume is %s, without an interruption it is %s", got, base.volume)
	}
	if twice := upstream.Refetched(w.up.Requests()); len(twice) > 0 {
		t.Errorf("complete content was fetched again: %v", twice)
	}
	t.Logf("stopped %.2f s after SIGINT, finished in %.2f s", took.Seconds(), again.took.Seconds())
}

// interrupted runs bundle and sends it SIGINT in the middle of the fetch. It
// returns its events, how long it took to end, and its exit code.
func interrupted(t *testing.T, args []string) ([]event, time.Duration, int) {
	t.Helper()
	cmd := w.command(t.Context(), "bundle", args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var events []event
	var told time.Time
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if told.IsZero() || bytes.HasPrefix(lines.Bytes(), []byte("{")) {
			e := decode(t, lines.Bytes())
			events = append(events, e)
			if told.IsZero() && e.Step == "fetch" && e.Done > 1<<20 {
				told = time.Now()
				if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Error(err)
				}
			}
		}
	}
	_ = cmd.Wait()
	if told.IsZero() {
		t.Fatalf("it ended before it could be told to: %v", events)
	}
	if stdout.Len() > 0 {
		t.Errorf("on standard output: %q", stdout.String())
	}
	return events, time.Since(told), cmd.ProcessState.ExitCode()
}

func decode(t *testing.T, line []byte) event {
	t.Helper()
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatalf("a line of --progress json: %v in %q", err, line)
	}
	return e
}

// checkProgress checks that no step goes backwards or beyond its total, and
// returns the last event.
func checkProgress(t *testing.T, events []event) event {
	t.Helper()
	if len(events) == 0 {
		t.Fatal("no events")
	}
	var before event
	steps := map[string]bool{}
	for _, e := range events {
		if e.Event == "note" || e.Event == "close" {
			continue
		}
		switch {
		case e.Event == "start" && steps[e.Step]:
			t.Errorf("step %q starts a second time", e.Step)
		case e.Event != "start" && e.Step != before.Step:
			t.Errorf("step %q goes on without a start, after %q", e.Step, before.Step)
		case e.Event != "start" && (e.Done < before.Done || e.Total < before.Total):
			t.Errorf("step %q goes backwards: %+v after %+v", e.Step, e, before)
		case e.Total > 0 && e.Done > e.Total:
			t.Errorf("step %q goes beyond its total: %+v", e.Step, e)
		}
		steps[e.Step] = true
		before = e
	}
	return events[len(events)-1]
}
