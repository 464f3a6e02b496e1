package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// leavePhase takes out of the cluster what is no longer in the site file.
//
// INPUTS: the cluster's nodes, and the site as it was applied last. OUTPUTS: nodes
// drained and deleted, etcd members removed, hosts reset where they can be reached.
// Rerunning is safe: each step is skipped where its outcome is there already; the
// record of the last site is replaced only at the end of a run. The first control
// plane may leave when another one holds a copy of the site's state and is listed
// first: preflight sees to it.
func leavePhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "leave", Title: "take out hosts that left the site", Tasks: func(c *Cluster) []phase.Task {
		return []phase.Task{{What: "take out hosts that left the site", Deadline: 30 * time.Minute,
			Done: func(ctx context.Context) (bool, error) {
				left, err := c.left(ctx)
				return len(left) == 0, err
			},
			Do: func(ctx context.Context) error {
				left, err := c.left(ctx)
				if err != nil {
					return err
				}
				for _, l := range left {
					if err := c.takeOut(ctx, l); err != nil {
						return fmt.Errorf("taking out %q: %w", l.name, err)
					}
				}
				return nil
			}}}
	}}
}

// leaver is a host that left.
type leaver struct {
	name, address string
	node          bool
	controlPlane  bool
	// host reaches it, as the last site said; nil when nobody knows how.
	host *bootstrap.Host
}

// sitePath is where the first control plane keeps the site that was applied last.
const sitePath = bootstrap.StateDir + "/site.yaml"

// lastSite is the site that was applied last; nil when there was none.
func (c *Cluster) lastSite(ctx context.Context) (*manifest.Site, error) {
	data, err := c.keeper().ReadFile(ctx, sitePath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := manifest.DecodeSite(sitePath, data)
	if err != nil {
		return nil, fmt.Errorf("reading the site that was applied last: %w", err)
	}
	return s, nil
}

// left lists the hosts that are no longer in the site file.
func (c *Cluster) left(ctx context.Context) ([]leaver, error) {
	last, err := c.lastSite(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return nil, err
	}
	byName := map[string]*leaver{}
	for _, n := range nodes {
		if c.Site.Host(n.Name) == nil {
			byName[n.Name] = &leaver{name: n.Name, address: n.Address, node: true, controlPlane: n.ControlPlane}
		}
	}
	if last != nil {
		for i := range last.Hosts {
			h := &last.Hosts[i]
			if c.Site.Host(h.Name) != nil {
				continue
			}
			if byName[h.Name] == nil {
				byName[h.Name] = &leaver{name: h.Name, address: h.Address}
			}
			if r, err := bootstrap.NewRunner(last, h); err == nil {
				byName[h.Name].host = &bootstrap.Host{SiteHost: h, Runner: r}
			}
		}
	}
	var out []leaver
	for _, l := range byName {
		if h := hostAt(c.Site, l.address); h != nil {
			return nil, &RenamedError{Was: l.name, Is: h.Name, Address: l.address}
		}
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b leaver) int { // workers first
		if a.controlPlane != b.controlPlane {
			if a.controlPlane {
				return 1
			}
			return -1
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out, nil
}

// RenamedError is a host that the site file has under another name than the cluster.
// Taking out the old name would drain and reset the host that stays.
type RenamedError struct{ Was, Is, Address string }

func (e *RenamedError) Error() string {
	return fmt.Sprintf("the host at %s is %q in the cluster and %q in the site file", e.Address, e.Was, e.Is)
}

// hostAt is the site's host that has an address, or nil.
func hostAt(s *manifest.Site, address string) *manifest.SiteHost {
	want, err := netip.ParseAddr(address)
	if err != nil {
		return nil
	}
	for i := range s.Hosts {
		if a, err := netip.ParseAddr(s.Hosts[i].Address); err == nil && a == want {
			return &s.Hosts[i]
		}
	}
	return nil
}

// renamed finds the hosts whose name is another one than that under which the site
// was applied last.
func (c *Cluster) renamed(ctx context.Context) ([]bootstrap.Finding, error) {
	last, err := c.lastSite(ctx)
	if err != nil || last == nil {
		return nil, err
	}
	var out []bootstrap.Finding
	for _, was := range last.Hosts {
		if is := hostAt(c.Site, was.Address); is != nil && is.Name != was.Name && c.Site.Host(was.Name) == nil {
			out = append(out, bootstrap.Finding{
				Host: is.Name, Check: "renamed", What: (&RenamedError{Was: was.Name, Is: is.Name, Address: was.Address}).Error(),
				Mend: "give it its name back; or apply without the host first, which takes it out, and add it then",
			})
		}
	}
	return out, nil
}

// takeOut takes a host out of the cluster, and naru off it where it can be reached.
func (c *Cluster) takeOut(ctx context.Context, l leaver) error {
	if err := c.remove(ctx, l); err != nil {
		return err
	}
	if l.host == nil {
		c.Progress.Note(fmt.Sprintf("warning: %s: nobody knows how to reach it: it was not reset", l.name))
		return nil
	}
	defer func() { _ = l.host.Runner.Close() }()
	c.Progress.Note(l.name + ": reset")
	rctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	kept, err := l.host.Reset(rctx)
	if err != nil {
		c.Progress.Note(fmt.Sprintf("warning: %s: it was not reset: %v", l.name, err))
	}
	c.noteKept(l.name, kept)
	return nil
}

// remove takes a host out of the cluster that goes on; the host itself is left as it is.
func (c *Cluster) remove(ctx context.Context, l leaver) error {
	if l.controlPlane {
		if err := c.snapshot(ctx, "before "+l.name+" leaves"); err != nil {
			return err
		}
		if l.host != nil {
			if err := c.keepRuns(ctx, l.host); err != nil {
				c.Progress.Note("warning: " + err.Error())
			}
		}
	}
	if !l.node {
		return nil
	}
	c.Progress.Note(l.name + ": drain")
	if err := c.drain(ctx, l.name); err != nil {
		c.Progress.Note("warning: " + err.Error()) // a host that died cannot be drained, and leaves all the same
	}
	return c.forget(ctx, l.name, l.address)
}
