package install

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// quietPhases write nothing on any host.
var quietPhases = map[string]bool{"verify": true, "preflight": true}

// journalPath is where the first control plane keeps what runs did, a line a task: that a
// phase is about to change something before it does, and what each of its tasks changed,
// or failed with, at its end. A run that was killed leaves the first without the others.
const journalPath = bootstrap.StateDir + "/runs.jsonl"

// noteBegan writes down that a phase is about to change something.
func (c *Cluster) noteBegan(ctx context.Context, e phase.Event) error {
	return c.note(ctx, e.Phase, []phase.Event{e})
}

// note writes down what a phase changed. Secrets are in no task's name; errors
// were redacted where they come from programs that print them.
func (c *Cluster) note(ctx context.Context, name string, events []phase.Event) error {
	if quietPhases[name] {
		return nil
	}
	var b strings.Builder
	for _, e := range events {
		if e.Outcome == phase.Held || e.Quiet && e.Outcome != phase.Failed {
			continue
		}
		e.Err = bootstrap.Redact(e.Err)
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("writing the journal: %w", err)
		}
		b.Write(append(line, '\n'))
	}
	if b.Len() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := c.keeper().Runner.Run(ctx, bootstrap.Command{Argv: []string{"/bin/sh", "-euc", `umask 077; install -d -m 0700 "${1%/*}"; cat >>"$1"`, "naru", journalPath}, Stdin: strings.NewReader(b.String())})
	return err
}
