package harbor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/replication"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// maxLog is how much of a task's log an error quotes, in bytes.
const maxLog = 2000

// Execution is one run of a replication policy, counted from its tasks: what Harbor
// says of the execution itself lags behind them by up to half a minute.
type Execution struct {
	ID       int64  `json:"id"`
	Policy   string `json:"policy"`
	Tasks    int    `json:"tasks"`
	Succeed  int    `json:"succeed"`
	Running  int    `json:"running"`
	Failures []Task `json:"failures,omitempty"`
	// Done says that no task is going to change any more.
	Done bool `json:"done"`
}

// Task is one repository's part of an execution.
type Task struct {
	ID int64 `json:"id"`
	// Source and Target name repository and tags, "project/name:[tag, ...]".
	Source string `json:"source"`
	Target string `json:"target"`
	Status string `json:"status"`
	// Reason is the end of the task's log, for one that failed.
	Reason string `json:"reason,omitempty"`
}

// ReplicationError lists what a replication did not carry, and why.
type ReplicationError struct {
	Policy   string
	Failures []Task
	// Status is Harbor's word on the whole when no task tells more.
	Status string
}

func (e *ReplicationError) Error() string {
	if len(e.Failures) == 0 {
		return fmt.Sprintf("replicating by policy %q: %s", e.Policy, e.Status)
	}
	var lines []string
	for _, t := range e.Failures {
		lines = append(lines, fmt.Sprintf("replicating by policy %q: %s to %s: %s: %s", e.Policy, t.Source, t.Target, strings.ToLower(t.Status), cause(t.Reason)))
	}
	return strings.Join(lines, "\n")
}

// cause is the line of a log that tells what went wrong: the first of its errors, those
// after it say that it did; the last line where there is none.
func cause(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, line := range lines {
		if _, text, ok := strings.Cut(line, "[ERROR]"); ok {
			if _, after, ok := strings.Cut(text, "]: "); ok {
				return after
			}
			return strings.TrimSpace(text)
		}
	}
	return lines[len(lines)-1]
}

// StartReplication runs a policy now and returns the execution's id.
func (c *Client) StartReplication(ctx context.Context, p Policy) (int64, error) {
	params := replication.NewStartReplicationParamsWithContext(ctx).WithExecution(&models.StartReplicationExecution{PolicyID: p.ID})
	resp, err := c.api.Replication.StartReplication(ctx, params)
	if err != nil {
		return 0, failure("starting replication by policy", p.Name, err)
	}
	id, err := idOf(resp.Location)
	return id, failure("starting replication by policy", p.Name, err)
}

// idOf reads the id of what was made: it is nowhere but at the end of the Location.
func idOf(location string) (int64, error) {
	id, err := strconv.ParseInt(location[strings.LastIndexByte(location, '/')+1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the location %q: %w", location, err)
	}
	return id, nil
}

// Replication tells how an execution stands. An execution without tasks is done when
// Harbor says so: it may be looking for what to copy, or may have found nothing.
func (c *Client) Replication(ctx context.Context, p Policy, id int64) (*Execution, error) {
	out := &Execution{ID: id, Policy: p.Name}
	var failed []*models.ReplicationTask
	err := paged(func(page, size int64) (int, error) {
		params := replication.NewListReplicationTasksParamsWithContext(ctx).WithID(id)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Replication.ListReplicationTasks(ctx, params)
		if err != nil {
			return 0, failure("reading the tasks of replication by policy", p.Name, err)
		}
		for _, t := range resp.Payload {
			out.Tasks++
			switch t.Status {
			case "Succeed":
				out.Succeed++
			case "Failed", "Stopped", "Error":
				failed = append(failed, t)
			default:
				out.Running++
			}
		}
		return len(resp.Payload), nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range failed {
		task := Task{ID: t.ID, Source: t.SrcResource, Target: t.DstResource, Status: t.Status, Reason: c.taskLog(ctx, id, t.ID)}
		out.Failures = append(out.Failures, task)
	}
	if out.Tasks > 0 {
		out.Done = out.Running == 0
		return out, nil
	}
	resp, err := c.api.Replication.GetReplicationExecution(ctx, replication.NewGetReplicationExecutionParamsWithContext(ctx).WithID(id))
	if err != nil {
		return nil, failure("reading the state of replication by policy", p.Name, err)
	}
	out.Done = resp.Payload.Status != "InProgress"
	if out.Done && resp.Payload.Status != "Succeed" {
		text := strings.TrimSuffix(strings.ToLower(resp.Payload.Status)+": "+resp.Payload.StatusText, ": ")
		return out, &ReplicationError{Policy: p.Name, Status: text}
	}
	return out, nil
}

// taskLog is the end of a task's log. That it cannot be had is no reason to fail: it
// explains a failure.
func (c *Client) taskLog(ctx context.Context, execution, task int64) string {
	resp, err := c.api.Replication.GetReplicationLog(ctx, replication.NewGetReplicationLogParamsWithContext(ctx).WithID(execution).WithTaskID(task))
	if err != nil {
		return "its log cannot be had: " + failure("reading a log", "", err).Error()
	}
	log := strings.TrimSpace(resp.Payload)
	return log[max(0, len(log)-maxLog):]
}

// WaitOptions tune WaitReplication.
type WaitOptions struct {
	// Every is how long to wait between two looks.
	Every time.Duration
	// OnState is told of every look; it may be nil.
	OnState func(Execution)
}

// WaitReplication looks at the tasks of an execution until none is going to change. A
// task that failed makes the error a *ReplicationError, with the result beside it.
func (c *Client) WaitReplication(ctx context.Context, p Policy, id int64, o WaitOptions) (*Execution, error) {
	tick := time.NewTicker(max(o.Every, time.Millisecond))
	defer tick.Stop()
	steady := 0
	for {
		e, err := c.Replication(ctx, p, id)
		if err != nil {
			return e, err
		}
		if o.OnState != nil {
			o.OnState(*e)
		}
		// Tasks are made one after the other: all of them being done twice, and as
		// many, means that there are no more to come.
		if e.Done && (steady == e.Tasks || e.Tasks == 0) {
			if len(e.Failures) > 0 {
				return e, &ReplicationError{Policy: p.Name, Failures: e.Failures}
			}
			return e, nil
		}
		steady = -1
		if e.Done {
			steady = e.Tasks
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return e, fmt.Errorf("waiting for replication by policy %q: %w", p.Name, ctx.Err())
		}
	}
}

// LastReplication is the last execution of a policy; nil when there was none.
func (c *Client) LastReplication(ctx context.Context, p Policy) (*Execution, error) {
	one := int64(1)
	params := replication.NewListReplicationExecutionsParamsWithContext(ctx)
	params.PolicyID, params.PageSize = &p.ID, &one
	resp, err := c.api.Replication.ListReplicationExecutions(ctx, params)
	if err != nil {
		return nil, failure("reading the runs of replication policy", p.Name, err)
	}
	if len(resp.Payload) == 0 {
		return nil, nil
	}
	return c.Replication(ctx, p, resp.Payload[0].ID)
}
