package install

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/phase"
)

// TestKilledRunLeavesATrace: what a run did was written down at the end of each phase, and
// one that was killed in a phase of many minutes had done nothing, as it seemed.
func TestKilledRunLeavesATrace(t *testing.T) {
	c, hosts := planes(t, "a")
	read := func() string {
		data, _ := os.ReadFile(filepath.Join(hosts["a"].dir, journalPath))
		return string(data)
	}
	plan := must(phase.NewPlan([]phase.Phase[*Cluster]{{Name: "containerd", Tasks: func(*Cluster) []phase.Task {
		return []phase.Task{
			{Host: "a", What: "holds", Done: func(context.Context) (bool, error) { return true, nil }},
			{Host: "a", What: "run containerd", Do: func(context.Context) error {
				if at := read(); strings.Count(at, "\n") != 1 || !strings.Contains(at, `"run containerd"`) || !strings.Contains(at, `"began"`) {
					t.Errorf("killed here, it leaves %q", at)
				}
				return nil
			}},
		}
	}}}, c, phase.Selection{}))(t)
	_ = must(plan.Execute(t.Context(), phase.Options{Observer: &watcher{progress: c.Progress}, BeforeWork: c.noteBegan, AfterPhase: c.note}))(t)
	if at := read(); strings.Count(at, "\n") != 2 || !strings.Contains(at, `"changed"`) {
		t.Errorf("at its end: %q", at)
	}
}
