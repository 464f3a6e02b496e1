package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/internal/progress"
	"naru/internal/sitepki"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// Cluster is the state of a run over a site's hosts: what is wanted, what is
// carried, what reaches the hosts, and what was found out on the way.
type Cluster struct {
	Site *manifest.Site
	// Set is what the bundles carry; nil for runs without a bundle.
	Set *carried.Set
	// Components are those of the bundle that the site wants, in install order.
	Components []*manifest.ComponentSpec
	Hosts      []*bootstrap.Host
	Intake     intake.Options
	Progress   progress.Observer
	// StateDir is this machine's own folder: site key, journal, reports.
	StateDir string
	// RecordDir keeps which bundles were verified whole.
	RecordDir string
	// Program is the installer itself, carried to the depots.
	Program string

	mu        sync.Mutex
	authority *sitepki.Authority
	joinToken string
	started   time.Time
	report    *Report
	leaks     []string // what the sealed phase found
	unlock    func()
	resets    map[string]bool // hosts that left and were reset by this run, or tried to
	// newRunner reaches hosts of former site files; bootstrap.NewRunner if nil.
	newRunner func(*manifest.Site, *manifest.SiteHost) (bootstrap.Runner, error)
}

// NewCluster makes the state for a site; nothing is reached yet.
func NewCluster(site *manifest.Site, set *carried.Set) (*Cluster, error) {
	c := &Cluster{Site: site, Set: set, Progress: progress.Nop{}, started: time.Now()}
	var errs []error
	for i := range site.Hosts {
		h, err := c.reach(&site.Hosts[i], site)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.Hosts = append(c.Hosts, h)
	}
	if set != nil {
		chosen, err := chooseComponents(site, set)
		if err != nil {
			errs = append(errs, err)
		}
		c.Components = chosen
	}
	var err error
	if c.Program, err = os.Executable(); err != nil {
		errs = append(errs, fmt.Errorf("finding the installer's own program: %w", err))
	}
	return c, errors.Join(errs...)
}

func (c *Cluster) reach(h *manifest.SiteHost, site *manifest.Site) (*bootstrap.Host, error) {
	r, err := bootstrap.NewRunner(site, h)
	if err != nil {
		return nil, err
	}
	return &bootstrap.Host{SiteHost: h, Runner: r}, nil
}

// Close ends all connections.
func (c *Cluster) Close() {
	for _, h := range c.Hosts {
		_ = h.Runner.Close()
	}
}

// ComponentError is a component of the site file that the bundle does not carry.
type ComponentError struct {
	ID   string
	Have []string
}

func (e *ComponentError) Error() string {
	return fmt.Sprintf("choosing components: the bundle does not carry %q (it carries %s)", e.ID, strings.Join(e.Have, ", "))
}

// chooseComponents are the carried ones without those that the site leaves out.
func chooseComponents(site *manifest.Site, set *carried.Set) ([]*manifest.ComponentSpec, error) {
	var have []string
	for _, s := range set.Components {
		have = append(have, s.ID)
	}
	var errs []error
	for _, id := range slices.Concat(site.Components.With, site.Components.Without) {
		if set.Component(id) == nil && !slices.Contains(site.Components.Without, id) {
			errs = append(errs, &ComponentError{ID: id, Have: have})
		}
	}
	var out []*manifest.ComponentSpec
	for _, s := range set.Components {
		if !slices.Contains(site.Components.Without, s.ID) {
			out = append(out, s)
		}
	}
	for _, s := range out {
		for _, need := range s.Requires {
			if slices.Contains(site.Components.Without, need) {
				errs = append(errs, fmt.Errorf("choosing components: %q is left out, and %q requires it", need, s.ID))
			}
		}
	}
	return out, errors.Join(errs...)
}

// Component is the wanted one of an id, or nil.
func (c *Cluster) Component(id string) *manifest.ComponentSpec {
	for _, s := range c.Components {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// pick are the hosts of the state that stand for those of the site.
func (c *Cluster) pick(list []*manifest.SiteHost) []*bootstrap.Host {
	var out []*bootstrap.Host
	for _, s := range list {
		for _, h := range c.Hosts {
			if h.Name == s.Name {
				out = append(out, h)
			}
		}
	}
	return out
}

func (c *Cluster) controlPlanes() []*bootstrap.Host { return c.pick(c.Site.ControlPlanes()) }
func (c *Cluster) workers() []*bootstrap.Host       { return c.pick(c.Site.Workers()) }
func (c *Cluster) nodes() []*bootstrap.Host         { return c.pick(c.Site.Nodes()) }
func (c *Cluster) balancers() []*bootstrap.Host     { return c.pick(c.Site.Balancers()) }
func (c *Cluster) depots() []*bootstrap.Host        { return c.pick(c.Site.Depots()) }

// keeper is the first control plane, which keeps the site's state.
func (c *Cluster) keeper() *bootstrap.Host { return c.controlPlanes()[0] }

// Facts are the site's facts for templates.
func (c *Cluster) Facts() *manifest.Facts {
	f := c.Site.Facts(c.Set.Release, c.Set.Kubernetes)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authority != nil {
		f.CA = string(c.authority.PEM)
	}
	return f
}

// depotURLs are where nodes and installers ask the depots.
func (c *Cluster) depotURLs() []string {
	var out []string
	for _, h := range c.Site.Depots() {
		out = append(out, "https://"+manifest.Endpoint{Host: bracket(h.Address), Port: c.Site.Depot.Port}.String())
	}
	return out
}

func bracket(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// Gather looks at all hosts at once. All that cannot be reached are reported.
func (c *Cluster) Gather(ctx context.Context) error {
	errs := make([]error, len(c.Hosts))
	var group errgroup.Group
	group.SetLimit(16)
	for i, h := range c.Hosts {
		group.Go(func() error {
			tctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			h.Facts, errs[i] = h.Gather(tctx)
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// poll calls f every so often until it is true, or ctx ends; then it is ctx's cause.
func poll(ctx context.Context, every time.Duration, f func(context.Context) (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := f(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// onEach does f for all hosts, side by side; all errors are reported.
func (c *Cluster) onEach(ctx context.Context, f func(context.Context, int, *bootstrap.Host) error) error {
	errs := make([]error, len(c.Hosts))
	var group errgroup.Group
	group.SetLimit(16)
	for i, h := range c.Hosts {
		group.Go(func() error { errs[i] = f(ctx, i, h); return nil })
	}
	_ = group.Wait()
	return errors.Join(errs...)
}
