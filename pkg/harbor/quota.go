package harbor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/quota"
)

const storageResource = "storage"

// Quota is how much a project may hold, and holds, in bytes.
type Quota struct {
	Project string `json:"project"`
	// Hard is Unlimited where there is no limit.
	Hard int64 `json:"hard"`
	Used int64 `json:"used"`
}

// QuotaError says which projects cannot hold what is to come.
type QuotaError struct{ Shortfalls []Shortfall }

// Shortfall is a project whose quota is too small, in bytes.
type Shortfall struct {
	Quota
	Coming int64 `json:"coming"`
}

func (e *QuotaError) Error() string {
	var lines []string
	for _, s := range e.Shortfalls {
		lines = append(lines, fmt.Sprintf("checking the quota of project %q: it may hold %d bytes, holds %d, and %d are to come", s.Project, s.Hard, s.Used, s.Coming))
	}
	return strings.Join(lines, "\n")
}

// Quotas are those of projects. A user who may not read quotas gets an *Error.
func (c *Client) Quotas(ctx context.Context, projects []Project) ([]Quota, error) {
	names := map[string]string{}
	for _, p := range projects {
		names[strconv.FormatInt(p.ID, 10)] = p.Name
	}
	reference := "project"
	var out []Quota
	err := paged(func(page, size int64) (int, error) {
		params := quota.NewListQuotasParamsWithContext(ctx)
		params.Page, params.PageSize, params.Reference = &page, &size, &reference
		resp, err := c.api.Quota.ListQuotas(ctx, params)
		if err != nil {
			return 0, failure("reading quotas", "", err)
		}
		for _, q := range resp.Payload {
			ref, ok := q.Ref.(map[string]any)
			if !ok {
				continue
			}
			id := fmt.Sprint(ref["id"])
			if name, wanted := names[id]; wanted {
				hard, limited := q.Hard[storageResource]
				if !limited {
					hard = Unlimited
				}
				out = append(out, Quota{Project: name, Hard: hard, Used: q.Used[storageResource]})
			}
		}
		return len(resp.Payload), nil
	})
	return out, err
}

// Forecast tells whether the projects can hold what is to come to each, in bytes. What
// comes is an upper bound: blobs that a project has already are counted again, so a
// project that is too small is one that may be. The error is a *QuotaError.
func Forecast(quotas []Quota, coming map[string]int64) error {
	var short []Shortfall
	for _, q := range quotas {
		if n := coming[q.Project]; q.Hard != Unlimited && n > q.Hard-q.Used {
			short = append(short, Shortfall{Quota: q, Coming: n})
		}
	}
	if len(short) > 0 {
		return &QuotaError{Shortfalls: short}
	}
	return nil
}
