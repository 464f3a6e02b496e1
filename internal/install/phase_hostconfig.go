package install

import (
	"context"
	"fmt"
	"slices"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// hostConfigPhase sets what nodes need of their hosts, so that it holds after a
// reboot as well.
//
// INPUTS: the site. OUTPUTS: on nodes kernel modules, sysctls,
// no swap, timers that phone home masked; on all hosts naru's part of /etc/hosts,
// and chrony following the site's time servers.
// It begins beside the depot, but for chrony, which waits for its host's packages.
// Rerunning is safe: files are compared first, marks enclose what is ours of files
// that others write to, and what holds at run time is read back from the kernel.
func hostConfigPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "host-config", Title: "configure the hosts", After: []string{"claim"}, Tasks: func(c *Cluster) []phase.Task {
		block := bootstrap.HostsBlock(c.hostLines())
		return each(c.Hosts, func(h *bootstrap.Host) []phase.Task {
			tasks := []phase.Task{
				{What: "name the site's hosts", Done: func(ctx context.Context) (bool, error) { return h.HostsHold(ctx, block) },
					Do: func(ctx context.Context) error { return h.SetHosts(ctx, block) }},
			}
			if h.Node() {
				tasks = append(tasks,
					filesTask(h, "keep kernel modules and parameters", bootstrap.NodeFiles),
					phase.Task{What: "set kernel parameters", Done: h.KernelHolds, Do: h.ApplyKernel},
					phase.Task{What: "switch swap off", Done: h.NoSwap, Do: h.SwapOff},
					phase.Task{What: "mask timers that call home", Done: h.TimersMasked, Do: h.MaskTimers},
				)
			}
			return append(tasks, c.chronyTasks(h)...)
		})
	}}
}

// filesTask makes a host have files.
func filesTask(h *bootstrap.Host, what string, files func() []bootstrap.File) phase.Task {
	return phase.Task{What: what,
		Done: func(ctx context.Context) (bool, error) {
			differ, err := h.Differ(ctx, files())
			return len(differ) == 0, err
		},
		Do: func(ctx context.Context) error {
			_, err := h.Ensure(ctx, files())
			return err
		},
	}
}

// hostLines are naru's lines of /etc/hosts.
func (c *Cluster) hostLines() []string {
	var lines []string
	for _, h := range c.Site.Hosts {
		lines = append(lines, fmt.Sprintf("%s %s.%s %s", h.Address, h.Name, c.Site.Domain, h.Name))
	}
	if lb := c.Site.Balancers(); len(lb) > 0 {
		address := c.Site.Endpoint.VIP
		if address == "" {
			address = lb[0].Address
		}
		lines = append(lines, fmt.Sprintf("%s api.%s", address, c.Site.Domain))
	}
	lines = append(lines, fmt.Sprintf("%s depot.%s", c.Site.Depots()[0].Address, c.Site.Domain))
	if address := c.harborAddress(); address != "" {
		lines = append(lines, address+" "+c.Site.Harbor.Host)
	}
	return lines
}

// frontAddress is where services of the cluster are reached from the hosts: the
// load balancers, or the first control plane.
func (c *Cluster) frontAddress() string {
	if c.Site.Endpoint.VIP != "" {
		return c.Site.Endpoint.VIP
	}
	if lb := c.Site.Balancers(); len(lb) > 0 {
		return lb[0].Address
	}
	return c.Site.ControlPlanes()[0].Address
}

// chronyTasks keep the time where chrony is installed.
func (c *Cluster) chronyTasks(h *bootstrap.Host) []phase.Task {
	if len(c.Set.Systems) == 0 || !c.packaged("chrony") {
		return nil
	}
	servers, keeper := c.Site.TimeServers, false
	var clients []string
	if len(servers) == 0 {
		if h.Name == c.keeper().Name {
			keeper = true
			for _, o := range c.Site.Hosts {
				clients = append(clients, o.Address)
			}
			slices.Sort(clients)
		} else {
			servers = []string{c.keeper().Address}
		}
	}
	s := func() *service {
		path, unit := "/etc/chrony/chrony.conf", "chrony.service"
		if h.Facts != nil && h.Facts.PackageManager == "dnf" {
			path, unit = "/etc/chrony.conf", "chronyd.service"
		}
		return &service{unit: unit, mark: staleMark(unit), files: []bootstrap.File{bootstrap.ChronyFile(path, servers, keeper, clients)}, note: c.Progress.Note}
	}
	return []phase.Task{{What: "follow the site's time", After: []string{"os-packages"},
		Done: func(ctx context.Context) (bool, error) { return s().inUse(ctx, h) },
		Do:   func(ctx context.Context) error { return s().apply(ctx, h, putAll(h)) },
	}}
}
