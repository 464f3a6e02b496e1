package harbor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/gc"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/scan_all"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/scanner"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// custom is the type of a schedule that is given as six cron fields, manual that of
// a run at once.
const (
	custom = "Custom"
	manual = "Manual"
)

// ErrNoScanner says that Harbor has no scanner to schedule.
var ErrNoScanner = errors.New("Harbor has no scanner") //nolint:staticcheck // a name

// Schedule is when something is done again and again.
type Schedule struct {
	// Cron are six fields, with seconds first.
	Cron string
	// Keep leaves another schedule that is there already as it is, whoever made it.
	Keep bool
}

// stands tells whether a schedule that is there is to stay.
func (s Schedule) stands(have *models.ScheduleObj) bool { return s.Keep || have.Cron == s.Cron }

// EnsureScanAll has everything scanned at the given time. Without a scanner the error is
// ErrNoScanner. It tells whether it had to change anything.
func (c *Client) EnsureScanAll(ctx context.Context, at Schedule) (changed bool, err error) {
	scanners, err := c.api.Scanner.ListScanners(ctx, scanner.NewListScannersParamsWithContext(ctx))
	if err != nil {
		return false, failure("listing scanners", "", err)
	}
	if len(scanners.Payload) == 0 {
		return false, fmt.Errorf("scheduling scans: %w", ErrNoScanner)
	}
	resp, err := c.api.ScanAll.GetScanAllSchedule(ctx, scan_all.NewGetScanAllScheduleParamsWithContext(ctx))
	if err != nil {
		return false, failure("reading the schedule of scans", "", err)
	}
	want := &models.Schedule{Schedule: &models.ScheduleObj{Type: custom, Cron: at.Cron}}
	switch have := resp.Payload.Schedule; {
	case have == nil || have.Type == "" || have.Type == "None":
		_, err = c.api.ScanAll.CreateScanAllSchedule(ctx, scan_all.NewCreateScanAllScheduleParamsWithContext(ctx).WithSchedule(want))
	case at.stands(have):
		return false, nil
	default:
		_, err = c.api.ScanAll.UpdateScanAllSchedule(ctx, scan_all.NewUpdateScanAllScheduleParamsWithContext(ctx).WithSchedule(want))
	}
	return err == nil, failure("scheduling scans", "", err)
}

// EnsureGC has what nothing refers to any more removed at the given time. Untagged
// artifacts stay: images are pulled by digest, and what naru pushed may be known by its
// digest alone. It tells whether it had to change anything.
func (c *Client) EnsureGC(ctx context.Context, at Schedule) (changed bool, err error) {
	resp, err := c.api.GC.GetGCSchedule(ctx, gc.NewGetGCScheduleParamsWithContext(ctx))
	if err != nil {
		return false, failure("reading the schedule of garbage collection", "", err)
	}
	want := gcRequest(custom, at.Cron)
	switch have := resp.Payload.Schedule; {
	case have == nil || have.Type == "" || have.Type == "None":
		_, err = c.api.GC.CreateGCSchedule(ctx, gc.NewCreateGCScheduleParamsWithContext(ctx).WithSchedule(want))
	case at.stands(have):
		return false, nil
	default:
		_, err = c.api.GC.UpdateGCSchedule(ctx, gc.NewUpdateGCScheduleParamsWithContext(ctx).WithSchedule(want))
	}
	return err == nil, failure("scheduling garbage collection", "", err)
}

// RunGC starts garbage collection now.
func (c *Client) RunGC(ctx context.Context) error {
	_, err := c.api.GC.CreateGCSchedule(ctx, gc.NewCreateGCScheduleParamsWithContext(ctx).WithSchedule(gcRequest(manual, "")))
	return failure("starting garbage collection", "", err)
}

func gcRequest(kind, cron string) *models.Schedule {
	return &models.Schedule{
		Schedule:   &models.ScheduleObj{Type: kind, Cron: cron},
		Parameters: map[string]any{"delete_untagged": false, "workers": 1},
	}
}

// GCRun is one garbage collection.
type GCRun struct {
	ID      int64  `json:"id"`
	Status  string `json:"status"`
	Started string `json:"started"`
}

// LastGC is the last garbage collection; nil when there was none.
func (c *Client) LastGC(ctx context.Context) (*GCRun, error) {
	one := int64(1)
	params := gc.NewGetGCHistoryParamsWithContext(ctx)
	params.PageSize = &one
	resp, err := c.api.GC.GetGCHistory(ctx, params)
	if err != nil {
		return nil, failure("reading the history of garbage collection", "", err)
	}
	if len(resp.Payload) == 0 {
		return nil, nil
	}
	p := resp.Payload[0]
	return &GCRun{ID: p.ID, Status: p.JobStatus, Started: time.Time(p.CreationTime).UTC().Format(time.RFC3339)}, nil
}
