package install

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// containerdPhase installs the container runtime and the kubelet's programs, and
// brings the images that a cold start needs.
//
// INPUTS: files of the components in nodeFiles, read from the bundles; the site's
// overrides; a depot that answers. OUTPUTS: programs below /usr/local/bin and
// /opt/cni/bin, containerd running and asking the depot alone, images of
// boot-critical components on each node, pinned so that no cleaning takes them.
// Rerunning is safe: programs are compared by digest and replaced whole; containerd
// is restarted only when its program or configuration changed, which its
// containers survive.
func containerdPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "containerd", Title: "install the container runtime", Tasks: func(c *Cluster) []phase.Task {
		return each(c.nodes(), func(h *bootstrap.Host) []phase.Task {
			return []phase.Task{
				c.programsTask(h),
				c.depotMirrorTask(h),
				c.containerdTask(h),
				{What: "pull and pin the images of a cold start", Interruptible: true, Deadline: 30 * time.Minute,
					Done: func(ctx context.Context) (bool, error) { m, err := c.missingImages(ctx, h); return len(m) == 0, err },
					Do:   func(ctx context.Context) error { return c.pullImages(ctx, h) }},
			}
		})
	}}
}

// mirrorURLs are where containerd asks: each depot itself. One that vanished costs half
// a minute a request; HAProxy, which would refuse at once, has no name in the depots'
// certificates.
func (c *Cluster) mirrorURLs() []string {
	return c.depotURLs()
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
				if err := c.markStale(ctx, h); err != nil { // the next task restarts it
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

func (c *Cluster) markStale(ctx context.Context, h *bootstrap.Host) error {
	_, err := h.Script(ctx, `install -d -m 0755 /run/naru; : >"$1"`, containerdStale)
	return err
}

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
			if err := c.markStale(ctx, h); err != nil {
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

// bootImages are the images that a node must have to start without depot and
// Harbor: those of boot-critical components, on workers without the control plane's.
func (c *Cluster) bootImages(h *bootstrap.Host) []string {
	control := []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"}
	var out []string
	for _, s := range c.Components {
		if !s.BootCritical {
			continue
		}
		for _, img := range s.Images {
			r, err := manifest.ParseReference(img.Ref)
			if err != nil || img.Artifact || !h.HasRole(manifest.RoleControlPlane) && slices.Contains(control, path.Base(r.Repository)) {
				continue
			}
			if c.needsImage(s, img) {
				out = append(out, img.Ref)
			}
		}
	}
	return out
}

// needsImage tells whether an image of a component is used at this site: components
// whose every step is switched off bring none.
func (c *Cluster) needsImage(s *manifest.ComponentSpec, _ manifest.Image) bool {
	if len(s.Steps) == 0 {
		return true
	}
	facts := c.Facts().For(c.Site, s.ID, nil)
	for i := range s.Steps {
		if applies, err := facts.Applies(&s.Steps[i]); err != nil || applies {
			return true
		}
	}
	return false
}

// missingImages are those that are not there, or not pinned.
func (c *Cluster) missingImages(ctx context.Context, h *bootstrap.Host) ([]string, error) {
	want := c.bootImages(h)
	out, err := h.Output(ctx, bootstrap.BinDir+"/ctr", "-n", "k8s.io", "images", "ls")
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 0 && strings.Contains(line, "io.cri-containerd.pinned=pinned") {
			have[f[0]] = true
		}
	}
	return slices.DeleteFunc(want, func(ref string) bool { return have[ref] }), nil
}

// pullScript pulls and pins $1. Metadata of platforms that are not carried is not
// asked for.
const pullScript = `/usr/local/bin/ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d --skip-metadata --label io.cri-containerd.image=managed "$1" >/dev/null
/usr/local/bin/ctr -n k8s.io images label "$1" io.cri-containerd.pinned=pinned >/dev/null`

func (c *Cluster) pullImages(ctx context.Context, h *bootstrap.Host) error {
	missing, err := c.missingImages(ctx, h)
	if err != nil {
		return err
	}
	for _, ref := range missing {
		if _, err := h.Script(ctx, pullScript, ref); err != nil {
			return fmt.Errorf("pulling %s: %w", ref, err)
		}
	}
	return nil
}
