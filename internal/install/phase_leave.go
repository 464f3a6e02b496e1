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

// lostPhase takes out of the cluster, before anything is upgraded or joins, those of its
// nodes that are no longer in the site file and not ready: kubeadm's checks want every
// control plane ready, and etcd no further member while it lacks one. Hosts that leave
// and work stay until others have joined.
//
// INPUTS, OUTPUTS and why rerunning is safe: those of leavePhase.
func lostPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "leave-lost", Title: "take out lost nodes that left the site", Tasks: func(c *Cluster) []phase.Task {
		return []phase.Task{c.leaveTask("take out lost nodes that left the site", c.lost)}
	}}
}

// leavePhase takes out of the cluster what is no longer in the site file.
//
// INPUTS: the cluster's nodes, and the site as it was applied last. OUTPUTS: nodes
// drained and deleted, etcd members removed, hosts reset where they can be reached; a
// host that could not be reset is written down, and tried again by each run that finds it
// answering.
// Rerunning is safe: each step is skipped where its outcome is there already; the
// record of the last site is replaced only at the end of a run. The first control
// plane may leave when another one holds a copy of the site's state and is listed
// first: preflight sees to it.
func leavePhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "leave", Title: "take out hosts that left the site", Tasks: func(c *Cluster) []phase.Task {
		return []phase.Task{
			c.leaveTask("take out hosts that left the site", c.left),
			{What: "reset hosts that left earlier", Deadline: 30 * time.Minute,
				Done: func(ctx context.Context) (bool, error) {
					ours, others, err := c.owedNow(ctx)
					closeAll(ours)
					closeAll(others)
					return len(ours)+len(others) == 0, err
				},
				Do: c.resetOwed},
		}
	}}
}

// leaveTask takes out the hosts that find tells.
func (c *Cluster) leaveTask(what string, find func(context.Context) ([]leaver, error)) phase.Task {
	return phase.Task{What: what, Deadline: 30 * time.Minute,
		Done: func(ctx context.Context) (bool, error) {
			left, err := find(ctx)
			closeAll(left)
			return len(left) == 0, err
		},
		Do: func(ctx context.Context) error {
			left, err := find(ctx)
			if err != nil {
				return err
			}
			defer closeAll(left)
			for _, l := range left {
				if err := c.takeOut(ctx, l); err != nil {
					return fmt.Errorf("taking out %q: %w", l.name, err)
				}
			}
			return nil
		}}
}

// closeAll ends the connections to hosts that leave.
func closeAll(list []leaver) {
	for _, l := range list {
		if l.host != nil {
			_ = l.host.Runner.Close()
		}
	}
}

// leaver is a host that left.
type leaver struct {
	name, address string
	// node: it is one of the cluster's, and ready: one that works.
	node, ready  bool
	controlPlane bool
	// host reaches it, as a former site file said; nil when nobody knows how.
	host *bootstrap.Host
	// site is that file.
	site []byte
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
			byName[n.Name] = &leaver{name: n.Name, address: n.Address, node: true, ready: n.Ready, controlPlane: n.ControlPlane}
		}
	}
	if last != nil {
		for i := range last.Hosts {
			h := &last.Hosts[i]
			if c.Site.Host(h.Name) != nil {
				continue
			}
			if byName[h.Name] == nil {
				if c.wasReset(h.Name) {
					continue // by this run
				}
				byName[h.Name] = &leaver{name: h.Name, address: h.Address}
			}
			byName[h.Name].site, byName[h.Name].host = last.Raw, c.formerHost(last, h)
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

// lost are those of the hosts that left that are nodes and not ready. Before there is a
// cluster there are none.
func (c *Cluster) lost(ctx context.Context) ([]leaver, error) {
	if on, err := kubeadmDone(ctx, c.keeper()); err != nil || !on {
		return nil, err
	}
	left, err := c.left(ctx)
	if err != nil {
		return nil, err
	}
	var lost []leaver
	for _, l := range left {
		if l.node && !l.ready {
			lost = append(lost, l)
		} else {
			closeAll([]leaver{l})
		}
	}
	return lost, nil
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
	return c.resetLeaver(ctx, l)
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
