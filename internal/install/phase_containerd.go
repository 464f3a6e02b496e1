package install

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// containerdPhase installs the container runtime and the kubelet's programs.
//
// INPUTS: files of the components in nodeFiles, read from the bundles; the site's
// overrides. OUTPUTS: programs below /usr/local/bin and /opt/cni/bin, containerd
// running and asking the depot alone. It needs neither a depot nor OS packages, and
// begins beside both. Rerunning is safe: programs are compared by digest and replaced
// whole; containerd is restarted only when its program or configuration changed, which
// its containers survive.
func containerdPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "containerd", Title: "install the container runtime", After: []string{"claim"}, Tasks: func(c *Cluster) []phase.Task {
		return each(c.nodes(), func(h *bootstrap.Host) []phase.Task {
			return []phase.Task{
				c.programsTask(h),
				c.depotMirrorTask(h),
				c.containerdTask(h),
			}
		})
	}}
}

// mirrorURLs are where containerd asks: HAProxy, which refuses at once when no depot
// answers, where one that vanished would cost half a minute a request; on a site
// without a balancer each depot itself.
func (c *Cluster) mirrorURLs() []string {
	if len(c.Site.Balancers()) == 0 {
		return c.depotURLs()
	}
	return []string{"https://" + manifest.Endpoint{Host: bracket(c.frontAddress()), Port: DepotFrontPort}.String()}
}

// hostFiles are the programs of a node.
func (c *Cluster) hostFiles(ctx context.Context, h *bootstrap.Host) ([]bootstrap.File, error) {
	if h.Facts == nil {
		return nil, fmt.Errorf("%s was not looked at", h.Name)
	}
	var files []bootstrap.File
	for _, f := range nodeFiles {
		list, err := c.nodeFile(ctx, f, "linux/"+h.Facts.Arch)
		if err != nil {
			return nil, err
		}
		files = append(files, list...)
	}
	return append(files, bootstrap.KubeletUnits()...), nil
}

func (c *Cluster) programsTask(h *bootstrap.Host) phase.Task {
	return phase.Task{What: "install programs", Deadline: noDeadline, Interruptible: true,
		Done: func(ctx context.Context) (bool, error) {
			files, err := c.programsNow(ctx, h)
			if err != nil {
				return false, err
			}
			differ, err := h.Differ(ctx, files)
			return len(differ) == 0, err
		},
		Do: func(ctx context.Context) error {
			files, err := c.programsNow(ctx, h)
			if err != nil {
				return err
			}
			differ, err := h.Differ(ctx, files)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(differ, func(f bootstrap.File) bool { return strings.HasPrefix(path.Base(f.Path), "containerd") }) {
				if err := markStale(ctx, h, containerdStale); err != nil { // the next task restarts it
					return err
				}
			}
			for _, f := range differ {
				if err := h.Put(ctx, f); err != nil {
					return err
				}
			}
			return nil
		}}
}

// programsNow are the files of a node, but for those of Kubernetes where another
// version runs already: replacing these is the upgrade's work, in its own order.
func (c *Cluster) programsNow(ctx context.Context, h *bootstrap.Host) ([]bootstrap.File, error) {
	files, err := c.hostFiles(ctx, h)
	if err != nil {
		return nil, err
	}
	have, err := c.kubeletVersion(ctx, h)
	if err != nil {
		return nil, err
	}
	if have == "" || have == c.Set.Kubernetes {
		return files, nil
	}
	return slices.DeleteFunc(files, func(f bootstrap.File) bool {
		return slices.Contains([]string{"kubelet", "kubeadm", "kubectl"}, path.Base(f.Path))
	}), nil
}

// kubeletVersion is the version of the kubelet of a host that is a node, without
// "v"; "" when it is none.
func (c *Cluster) kubeletVersion(ctx context.Context, h *bootstrap.Host) (string, error) {
	out, err := h.Script(ctx, `[ -e /var/lib/kubelet/config.yaml ] && [ -x /usr/local/bin/kubelet ] || exit 0; /usr/local/bin/kubelet --version`)
	_, v, _ := strings.Cut(out, " v")
	return v, err
}

// containerdStale marks a containerd that runs with an older program or
// configuration than is there. It is set before either is written, and gone after
// a restart or a reboot.
const containerdStale = "/run/naru/containerd.stale"

func (c *Cluster) containerdTask(h *bootstrap.Host) phase.Task {
	const unit = "containerd.service"
	return phase.Task{What: "run containerd",
		Done: func(ctx context.Context) (bool, error) {
			files, err := c.containerdFiles(h)
			if err != nil {
				return false, err
			}
			differ, err := h.Differ(ctx, files)
			if err != nil || len(differ) > 0 {
				return false, err
			}
			return h.Holds(ctx, `[ ! -e "$2" ] && systemctl is-enabled -q containerd && systemctl is-active -q containerd && [ -S "$1" ]`, bootstrap.ContainerdSocket, containerdStale)
		},
		Do: func(ctx context.Context) error {
			files, err := c.containerdFiles(h)
			if err != nil {
				return err
			}
			if err := markStale(ctx, h, containerdStale); err != nil {
				return err
			}
			if _, err := h.Ensure(ctx, files); err != nil {
				return err
			}
			if err := h.Unit(ctx, unit, true); err != nil {
				return err
			}
			return h.Do(ctx, "rm", "-f", containerdStale)
		}}
}

func (c *Cluster) containerdFiles(h *bootstrap.Host) ([]bootstrap.File, error) {
	version := ""
	if s := c.Component("containerd"); s != nil {
		version = s.Version
	}
	return bootstrap.ContainerdFiles(bootstrap.ContainerdOptions{Version: version, Pause: c.pauseImage(), Restricted: h.Facts != nil && h.Facts.Restricted, Site: c.Site.Containerd.Config})
}

// pauseImage is the sandbox image that the bundle carries.
func (c *Cluster) pauseImage() string {
	for _, s := range c.Components {
		for _, img := range s.Images {
			if r, err := manifest.ParseReference(img.Ref); err == nil && path.Base(r.Repository) == "pause" {
				return img.Ref
			}
		}
	}
	return "registry.k8s.io/pause:3.10"
}
