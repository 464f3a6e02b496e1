package harbor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/replication"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Direction is which way a policy carries.
type Direction string

// The directions, seen from the Harbor that runs the policy.
const (
	Push Direction = "push"
	Pull Direction = "pull"
)

// Trigger is when a policy runs.
type Trigger string

// The triggers.
const (
	TriggerManual   Trigger = "manual"
	TriggerEvent    Trigger = "event_based"
	TriggerSchedule Trigger = "scheduled"
)

// Policy says what is replicated with another registry, and when.
type Policy struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Endpoint  Endpoint  `json:"endpoint"`
	Direction Direction `json:"direction"`
	Trigger   Trigger   `json:"trigger"`
	// Cron, six fields with seconds first, belongs to TriggerSchedule.
	Cron string `json:"cron,omitempty"`
	// Repositories and Tags are doublestar patterns; empty for all. Repositories are
	// "project/name": "{docker.io,quay.io}/**".
	Repositories string `json:"repositories,omitempty"`
	Tags         string `json:"tags,omitempty"`
	// KBPerSecond bounds each transfer; 0 for no bound.
	KBPerSecond int32 `json:"kbPerSecond,omitempty"`
	// Chunked copies large layers in pieces, for ways that break off.
	Chunked bool `json:"chunked,omitempty"`
	Enabled bool `json:"enabled"`
}

// ErrPolicy is returned for a policy that asks for what Harbor does not do.
var ErrPolicy = errors.New("no such replication")

func (p Policy) check() error {
	switch {
	case p.Trigger == TriggerEvent && p.Direction == Pull:
		return fmt.Errorf("checking replication policy %q: %w: what happens elsewhere is no event here; pull by schedule", p.Name, ErrPolicy)
	case p.Trigger == TriggerSchedule && len(strings.Fields(p.Cron)) != 6:
		return fmt.Errorf("checking replication policy %q: %w: %q are not six cron fields, seconds first", p.Name, ErrPolicy, p.Cron)
	case p.Trigger != TriggerSchedule && p.Cron != "":
		return fmt.Errorf("checking replication policy %q: %w: a time is given for a policy that does not run by it", p.Name, ErrPolicy)
	}
	return nil
}

// Policies lists the replication policies.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var out []Policy
	err := paged(func(page, size int64) (int, error) {
		params := replication.NewListReplicationPoliciesParamsWithContext(ctx)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Replication.ListReplicationPolicies(ctx, params)
		if err != nil {
			return 0, failure("listing replication policies", "", err)
		}
		for _, p := range resp.Payload {
			out = append(out, newPolicy(p))
		}
		return len(resp.Payload), nil
	})
	return out, err
}

func newPolicy(m *models.ReplicationPolicy) Policy {
	p := Policy{ID: m.ID, Name: m.Name, Enabled: m.Enabled, KBPerSecond: deref(m.Speed), Chunked: deref(m.CopyByChunk), Direction: Push}
	other := m.DestRegistry
	if m.SrcRegistry != nil && m.SrcRegistry.ID != 0 {
		p.Direction, other = Pull, m.SrcRegistry
	}
	if other != nil {
		p.Endpoint = Endpoint{ID: other.ID, Name: other.Name, URL: other.URL, Kind: other.Type}
	}
	if m.Trigger != nil {
		p.Trigger = Trigger(m.Trigger.Type)
		if m.Trigger.TriggerSettings != nil {
			p.Cron = m.Trigger.TriggerSettings.Cron
		}
	}
	for _, f := range m.Filters {
		value, _ := f.Value.(string)
		switch f.Type {
		case "name":
			p.Repositories = value
		case "tag":
			p.Tags = value
		}
	}
	return p
}

func (p Policy) model() *models.ReplicationPolicy {
	keep := int8(0) // no part of a name is replaced: names are the same everywhere
	m := &models.ReplicationPolicy{
		Name: p.Name, Description: "made by naru install", Enabled: p.Enabled, Override: true,
		DestNamespaceReplaceCount: &keep, Speed: &p.KBPerSecond, CopyByChunk: &p.Chunked,
		Trigger: &models.ReplicationTrigger{Type: string(p.Trigger), TriggerSettings: &models.ReplicationTriggerSettings{Cron: p.Cron}},
		Filters: []*models.ReplicationFilter{},
	}
	other := &models.Registry{ID: p.Endpoint.ID}
	if p.Direction == Pull {
		m.SrcRegistry = other
	} else {
		m.DestRegistry = other
	}
	if p.Repositories != "" {
		m.Filters = append(m.Filters, &models.ReplicationFilter{Type: "name", Value: p.Repositories})
	}
	if p.Tags != "" {
		m.Filters = append(m.Filters, &models.ReplicationFilter{Type: "tag", Decoration: "matches", Value: p.Tags})
	}
	return m
}

// EnsurePolicy makes a policy, or makes the one of this name what is wanted. It tells
// whether it had to change anything.
func (c *Client) EnsurePolicy(ctx context.Context, want Policy) (_ *Policy, changed bool, err error) {
	if err := want.check(); err != nil {
		return nil, false, err
	}
	have, err := c.Policies(ctx)
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(have, func(p Policy) bool { return p.Name == want.Name })
	if i >= 0 {
		want.ID = have[i].ID
		if same(have[i], want) {
			return &have[i], false, nil
		}
		params := replication.NewUpdateReplicationPolicyParamsWithContext(ctx).WithID(want.ID).WithPolicy(want.model())
		_, err = c.api.Replication.UpdateReplicationPolicy(ctx, params)
		return &want, true, failure("changing replication policy", want.Name, err)
	}
	resp, err := c.api.Replication.CreateReplicationPolicy(ctx, replication.NewCreateReplicationPolicyParamsWithContext(ctx).WithPolicy(want.model()))
	if err != nil {
		return nil, false, failure("making replication policy", want.Name, err)
	}
	if want.ID, err = idOf(resp.Location); err != nil {
		return nil, true, failure("making replication policy", want.Name, err)
	}
	return &want, true, nil
}

// plainRE is a name without a pattern, as one of alternatives or alone.
var plainRE = regexp.MustCompile(`^(?:[a-z0-9._-]+|\{[a-z0-9._,-]+\})$`)

// MayCarry tells whether the policy may be about repositories of any of the projects: false
// where its pattern names other projects and those alone.
func (p Policy) MayCarry(projects []string) bool {
	first, _, deeper := strings.Cut(p.Repositories, "/")
	if !deeper || !plainRE.MatchString(first) {
		return true
	}
	return slices.ContainsFunc(strings.Split(strings.Trim(first, "{}"), ","), func(name string) bool { return slices.Contains(projects, name) })
}

// same compares what Harbor keeps of a policy.
func same(a, b Policy) bool {
	a.Endpoint, b.Endpoint = Endpoint{ID: a.Endpoint.ID}, Endpoint{ID: b.Endpoint.ID}
	return a == b
}

// SetEnabled switches a policy on or off, and leaves all else of it as it is: one that was
// made by hand, or by a newer Harbor's pages, has settings that Policy does not tell of.
// One that is so already is left alone.
func (c *Client) SetEnabled(ctx context.Context, p Policy, on bool) error {
	const op = "switching replication policy"
	path := fmt.Sprintf("/replication/policies/%d", p.ID)
	d, err := c.readDocument(ctx, op, p.Name, path)
	if err != nil {
		return err
	}
	if id, _ := d["id"].(json.Number); id.String() != strconv.FormatInt(p.ID, 10) { // something between answers in Harbor's place
		return failure(op, p.Name, errors.New("the answer is not that policy"))
	}
	if is, _ := d["enabled"].(bool); is == on { // left out where it is false
		return nil
	}
	d["enabled"] = on
	for _, side := range []string{"src_registry", "dest_registry"} {
		if r, ok := d[side].(map[string]any); ok { // its secret comes masked
			d[side] = document{"id": r["id"]}
		}
	}
	return c.writeDocument(ctx, op, p.Name, path, d)
}

// DeletePolicy removes a policy. One that is gone is no error.
func (c *Client) DeletePolicy(ctx context.Context, p Policy) error {
	_, err := c.api.Replication.DeleteReplicationPolicy(ctx, replication.NewDeleteReplicationPolicyParamsWithContext(ctx).WithID(p.ID))
	if err = failure("removing replication policy", p.Name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
