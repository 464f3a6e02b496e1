package harbor

import (
	"context"
	"fmt"
	"strconv"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/retention"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Retention is what a project keeps; a zero Keep keeps everything.
type Retention struct {
	// Keep is how many of the artifacts last pushed each repository keeps, beside
	// whatever was pulled within Days.
	Keep int `json:"keep"`
	// Days is how long an artifact stays after it was last pulled, 0 for no such rule.
	Days int `json:"days,omitempty"`
	// Cron is when it runs, six fields, seconds first.
	Cron string `json:"cron"`
}

// EnsureRetention gives a project a retention policy unless it has one; one that is
// there is never changed, since what it would remove in addition is gone for good. It
// tells whether the policy was made. Signatures go with what they sign.
func (c *Client) EnsureRetention(ctx context.Context, p Project, want Retention) (made bool, err error) {
	if p.retention != "" && p.retention != "0" || want.Keep <= 0 {
		return false, nil
	}
	policy := &models.RetentionPolicy{
		Algorithm: "or",
		Scope:     &models.RetentionPolicyScope{Level: "project", Ref: p.ID},
		Trigger: &models.RetentionRuleTrigger{
			Kind: "Schedule", Settings: map[string]any{"cron": want.Cron},
			References: map[string]any{},
		},
		Rules: []*models.RetentionRule{retentionRule("latestPushedK", want.Keep)},
	}
	if want.Days > 0 {
		policy.Rules = append(policy.Rules, retentionRule("nDaysSinceLastPull", want.Days))
	}
	_, err = c.api.Retention.CreateRetention(ctx, retention.NewCreateRetentionParamsWithContext(ctx).WithPolicy(policy))
	return err == nil, failure("making the retention policy of project", p.Name, err)
}

func retentionRule(template string, n int) *models.RetentionRule {
	return &models.RetentionRule{
		Action: "retain", Template: template, Params: map[string]any{template: n},
		TagSelectors: []*models.RetentionSelector{{Kind: "doublestar", Decoration: "matches", Pattern: "**", Extras: `{"untagged":true}`}},
		ScopeSelectors: map[string][]models.RetentionSelector{
			"repository": {{Kind: "doublestar", Decoration: "repoMatches", Pattern: "**"}},
		},
	}
}

// RetentionOf reads the rules of a project's policy, as "template n"; nil when it has
// none.
func (c *Client) RetentionOf(ctx context.Context, p Project) ([]string, error) {
	id, err := strconv.ParseInt(p.retention, 10, 64)
	if err != nil || id == 0 {
		return nil, nil //nolint:nilerr // no number, no policy
	}
	resp, err := c.api.Retention.GetRetention(ctx, retention.NewGetRetentionParamsWithContext(ctx).WithID(id))
	if err != nil {
		return nil, failure("reading the retention policy of project", p.Name, err)
	}
	var out []string
	for _, r := range resp.Payload.Rules {
		out = append(out, fmt.Sprintf("%s %v", r.Template, r.Params[r.Template]))
	}
	return out, nil
}
