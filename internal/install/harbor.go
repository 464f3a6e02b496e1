package install

import (
	"context"
	"errors"

	"naru/pkg/harbor"
)

// HarborSetup is what a Harbor is made to be, beside what it holds.
type HarborSetup struct {
	Robots RobotsOptions
	// GC and Scan are when garbage is collected and everything scanned, six cron
	// fields with seconds first; empty for leaving that alone.
	GC, Scan string
	// KeepSchedules leaves those that are there already as they are.
	KeepSchedules bool
	// Retention is given to those of the projects that bundles are pushed into that have
	// no policy; the zero value keeps everything.
	Retention harbor.Retention
	// RetainAll gives it to the projects of others too: what it removes is gone for good.
	RetainAll bool
}

// HarborChanges is what SetUpHarbor had to change.
type HarborChanges struct {
	Version string `json:"version"`
	// Restricted says that only administrators make projects since this run.
	Restricted bool          `json:"restricted"`
	Robots     []RobotChange `json:"robots"`
	GC         bool          `json:"gc"`
	Scan       bool          `json:"scan"`
	// NoScanner says that scans were wanted and Harbor has no scanner.
	NoScanner bool `json:"noScanner,omitempty"`
	// Retention are the projects that were given a policy.
	Retention []string `json:"retention,omitempty"`
}

// SetUpHarbor makes a Harbor what a closed site needs: only administrators make
// projects, robots with the least rights, garbage collection, scans, retention. What is
// so already stays; it may be run at any time.
func SetUpHarbor(ctx context.Context, o HarborSetup) (*HarborChanges, error) {
	c, err := o.Robots.Harbor.Client()
	if err != nil {
		return nil, err
	}
	info, err := c.Check(ctx)
	if err != nil {
		return nil, err
	}
	out := &HarborChanges{Version: info.Version}
	if out.Restricted, err = c.RestrictProjects(ctx); err != nil {
		return out, err
	}
	if o.GC != "" {
		if out.GC, err = c.EnsureGC(ctx, harbor.Schedule{Cron: o.GC, Keep: o.KeepSchedules}); err != nil {
			return out, err
		}
	}
	if o.Scan != "" {
		out.Scan, err = c.EnsureScanAll(ctx, harbor.Schedule{Cron: o.Scan, Keep: o.KeepSchedules})
		if out.NoScanner = errors.Is(err, harbor.ErrNoScanner); err != nil && !out.NoScanner {
			return out, err
		}
	}
	if err := o.retain(ctx, c, out); err != nil {
		return out, err
	}
	// Last, so that robots that work tell of all the rest.
	out.Robots, err = EnsureRobots(ctx, o.Robots)
	return out, err
}

// retain gives a retention policy to the projects that have none.
func (o HarborSetup) retain(ctx context.Context, c *harbor.Client, out *HarborChanges) error {
	if o.Retention.Keep <= 0 {
		return nil
	}
	projects, err := c.Projects(ctx)
	if err != nil {
		return err
	}
	for _, p := range projects {
		if p.ProxyCache || !p.Seeded() && !o.RetainAll {
			continue
		}
		made, err := c.EnsureRetention(ctx, p, o.Retention)
		if err != nil {
			return err
		}
		if made {
			out.Retention = append(out.Retention, p.Name)
		}
	}
	return nil
}

// HarborState is how a Harbor is. Lists that the user may not see are empty.
type HarborState struct {
	URL          string             `json:"url"`
	Info         *harbor.Info       `json:"info"`
	Projects     []ProjectState     `json:"projects"`
	Robots       []harbor.Robot     `json:"robots"`
	Replications []ReplicationState `json:"replications"`
	GC           *harbor.GCRun      `json:"gc,omitempty"`
	// Hidden are what the user has no right to see.
	Hidden []string `json:"hidden,omitempty"`
}

// ProjectState is how a project is.
type ProjectState struct {
	harbor.Project
	Quota     *harbor.Quota `json:"quota,omitempty"`
	Immutable bool          `json:"immutable"`
	Retention []string      `json:"retention,omitempty"`
}

// ReplicationState is how a policy is, and its last run; nil when there was none.
type ReplicationState struct {
	harbor.Policy
	Last *harbor.Execution `json:"last,omitempty"`
}

// StatusOfHarbor looks at a Harbor and changes nothing. A Harbor that is ill or too old
// is an error, with what is known of it beside it.
func StatusOfHarbor(ctx context.Context, login HarborLogin) (*HarborState, error) {
	c, err := login.Client()
	if err != nil {
		return nil, err
	}
	s := &HarborState{URL: c.URL()}
	if s.Info, err = c.Check(ctx); err != nil {
		return s, err
	}
	for _, look := range []struct {
		what string
		at   func(context.Context, *harbor.Client) error
	}{
		{"projects", s.projects}, {"robots", s.robots}, {"replications", s.replications}, {"garbage collection", s.gc},
	} {
		err := look.at(ctx, c)
		if errors.Is(err, harbor.ErrForbidden) || errors.Is(err, harbor.ErrUnauthorized) {
			s.Hidden = append(s.Hidden, look.what)
			continue
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *HarborState) projects(ctx context.Context, c *harbor.Client) error {
	list, err := c.Projects(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		s.Projects = append(s.Projects, ProjectState{Project: p})
	}
	quotas, err := c.Quotas(ctx, list)
	if err != nil {
		return err
	}
	for i := range s.Projects {
		p := &s.Projects[i]
		for _, q := range quotas {
			if q.Project == p.Name {
				p.Quota = &q
			}
		}
		if p.Immutable, err = c.Immutable(ctx, p.Project); err != nil {
			return err
		}
		if p.Retention, err = c.RetentionOf(ctx, p.Project); err != nil {
			return err
		}
	}
	return nil
}

func (s *HarborState) robots(ctx context.Context, c *harbor.Client) (err error) {
	s.Robots, err = c.Robots(ctx)
	return err
}

func (s *HarborState) replications(ctx context.Context, c *harbor.Client) error {
	list, err := c.Policies(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		last, err := c.LastReplication(ctx, p)
		var failed *harbor.ReplicationError
		if err != nil && !errors.As(err, &failed) {
			return err
		}
		s.Replications = append(s.Replications, ReplicationState{Policy: p, Last: last})
	}
	return nil
}

func (s *HarborState) gc(ctx context.Context, c *harbor.Client) (err error) {
	s.GC, err = c.LastGC(ctx)
	return err
}
