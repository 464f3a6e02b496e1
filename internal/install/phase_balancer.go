package install

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// balancerPhase puts HAProxy before the API servers, the depots and Harbor, and
// keepalived's address before HAProxy.
//
// INPUTS: the site; haproxy and keepalived as OS packages. OUTPUTS: their
// configuration and running services on the lb hosts, or on the control planes
// where these hold the vip. It waits for its own hosts' packages alone. Rerunning is safe: configuration is checked by HAProxy
// itself before it takes the old one's place, and services are reloaded only when
// it changed.
func balancerPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "load-balancer", Title: "balance the API servers", After: []string{"depot"},
		Skip: func(c *Cluster) string {
			if len(c.Site.Balancers()) == 0 {
				return "no lb host, no vip"
			}
			return ""
		},
		Tasks: func(c *Cluster) []phase.Task {
			return each(c.balancers(), func(h *bootstrap.Host) []phase.Task {
				tasks := []phase.Task{c.haproxyTask(h)}
				if c.Site.Endpoint.VIP != "" {
					tasks = append(tasks, c.keepalivedTask(h))
				}
				return tasks
			})
		}}
}

// DepotFrontPort is where HAProxy passes on to the depots.
const DepotFrontPort = 5443

// frontends are the ports that HAProxy passes on.
func (c *Cluster) frontends() []bootstrap.Frontend {
	api := bootstrap.Frontend{Name: "kube-api", Port: c.Site.BalancerPort(), Check: "/readyz"}
	for _, h := range c.Site.ControlPlanes() {
		api.Backends = append(api.Backends, bootstrap.Backend{Name: h.Name, Address: net.JoinHostPort(h.Address, strconv.Itoa(manifest.APIPort))})
	}
	depot := bootstrap.Frontend{Name: "depot", Port: DepotFrontPort, Check: "/healthz"}
	for _, h := range c.Site.Depots() {
		depot.Backends = append(depot.Backends, bootstrap.Backend{Name: h.Name, Address: net.JoinHostPort(h.Address, strconv.Itoa(c.Site.Depot.Port))})
	}
	return append([]bootstrap.Frontend{api, depot}, c.harborFrontend()...)
}

func (c *Cluster) haproxyTask(h *bootstrap.Host) phase.Task {
	const unit = "haproxy.service"
	file := bootstrap.HAProxyFile(c.frontends())
	s := service{unit: unit, mark: staleMark(unit), files: []bootstrap.File{file}, note: c.Progress.Note}
	return phase.Task{What: "run haproxy on port " + strconv.Itoa(c.Site.BalancerPort()), After: []string{"os-packages"},
		Done: func(ctx context.Context) (bool, error) {
			if used, err := s.inUse(ctx, h); err != nil || !used {
				return false, err
			}
			return h.UnitHolds(ctx, unit)
		},
		Do: func(ctx context.Context) error {
			return s.apply(ctx, h, func(ctx context.Context, _ []bootstrap.File) error {
				trial := file
				trial.Path += ".new"
				if err := h.Put(ctx, trial); err != nil {
					return err
				}
				if out, err := h.Script(ctx, `haproxy -q -c -f "$1" 2>&1 && mv -f "$1" "$2"`, trial.Path, file.Path); err != nil {
					return fmt.Errorf("checking the configuration of haproxy: %w %s", err, out)
				}
				return nil
			})
		}}
}

// keepalivedTask holds the vip on one of the balancers. The first of them has the
// highest priority.
func (c *Cluster) keepalivedTask(h *bootstrap.Host) phase.Task {
	const unit = "keepalived.service"
	s := func() *service {
		o := bootstrap.KeepalivedOptions{Address: h.Address, VIP: c.Site.Endpoint.VIP, RouterID: c.Site.Endpoint.VirtualRouterID, Port: c.Site.BalancerPort()}
		if h.Facts != nil {
			o.Interface = h.Facts.Interface
		}
		all := c.Site.Balancers()
		o.Priority = 200 - slices.IndexFunc(all, func(b *manifest.SiteHost) bool { return b.Name == h.Name })
		for _, b := range all {
			if b.Name != h.Name {
				o.Peers = append(o.Peers, b.Address)
			}
		}
		return &service{unit: unit, mark: staleMark(unit), files: bootstrap.KeepalivedFiles(o), note: c.Progress.Note}
	}
	return phase.Task{What: "hold the address " + c.Site.Endpoint.VIP,
		Done: func(ctx context.Context) (bool, error) {
			if used, err := s().inUse(ctx, h); err != nil || !used {
				return false, err
			}
			if up, err := h.UnitHolds(ctx, unit); err != nil || !up {
				return false, err
			}
			return c.vipHeld(ctx)
		},
		Do: func(ctx context.Context) error {
			if h.Facts == nil || h.Facts.Interface == "" {
				return errors.New("no interface has the host's address")
			}
			if err := s().apply(ctx, h, putAll(h)); err != nil {
				return err
			}
			wctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, &phase.DeadlineError{After: 30 * time.Second})
			defer cancel()
			if err := poll(wctx, 300*time.Millisecond, c.vipHeld); err != nil {
				return fmt.Errorf("waiting for a host to hold %s: %w\n%s", c.Site.Endpoint.VIP, err, h.Journal(ctx, unit))
			}
			return nil
		}}
}

// vipHeld tells whether one of the balancers has the vip.
func (c *Cluster) vipHeld(ctx context.Context) (bool, error) {
	for _, h := range c.balancers() {
		held, err := h.Holds(ctx, `ip -o addr show | grep -qF " $1/"`, c.Site.Endpoint.VIP)
		if err != nil || held {
			return held, err
		}
	}
	return false, nil
}
