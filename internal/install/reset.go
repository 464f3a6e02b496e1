package install

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// ResetOptions are those of ResetSite.
type ResetOptions struct {
	SiteFile string
	// Hosts to reset; empty for all.
	Hosts    []string
	Progress progress.Observer
}

// ErrKeeper is returned when the first control plane alone is to be reset while
// others would stay.
var ErrKeeper = errors.New("the first control plane keeps the site's state: reset all hosts, or put another host first in the site file")

// UnknownHostError is a host that the site file does not have.
type UnknownHostError struct{ Name string }

func (e *UnknownHostError) Error() string {
	return fmt.Sprintf("the site file has no host %q", e.Name)
}

// ResetTargets are the hosts that ResetSite will reset.
func ResetTargets(o ResetOptions) (*manifest.Site, []string, error) {
	site, err := LoadSite(o.SiteFile)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range o.Hosts {
		if site.Host(name) == nil {
			return nil, nil, &UnknownHostError{Name: name}
		}
	}
	var out []string
	for _, h := range site.Hosts {
		if len(o.Hosts) == 0 || slices.Contains(o.Hosts, h.Name) {
			out = append(out, h.Name)
		}
	}
	if len(out) < len(site.Hosts) && slices.Contains(out, site.ControlPlanes()[0].Name) {
		return nil, nil, ErrKeeper
	}
	return site, out, nil
}

// ResetSite takes everything of naru off hosts, but OS packages. Single hosts leave
// the cluster first. Hosts are left on which apply works again; running it again
// completes what was cut off.
func ResetSite(ctx context.Context, o ResetOptions) error {
	site, targets, err := ResetTargets(o)
	if err != nil {
		return err
	}
	c, err := NewCluster(site, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Progress = o.Progress
	o.Progress.Start("reset", 0)
	if len(targets) < len(site.Hosts) {
		for _, name := range targets {
			if err := c.leave(ctx, name); err != nil {
				return err
			}
		}
	}
	return c.onEach(ctx, func(ctx context.Context, _ int, h *bootstrap.Host) error {
		if !slices.Contains(targets, h.Name) {
			return nil
		}
		o.Progress.Note(line(h.Name, "reset"))
		return h.Reset(ctx)
	})
}

// leave takes one host out of a cluster that goes on.
func (c *Cluster) leave(ctx context.Context, name string) error {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == name {
			return c.takeOut(ctx, leaver{name: n.Name, address: n.Address, node: true, controlPlane: n.ControlPlane})
		}
	}
	return nil
}
