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

// imagesPhase brings the images that a cold start needs onto the nodes.
//
// INPUTS: containerd on the nodes; a depot that answers, which is asked directly: the
// load balancer comes later. OUTPUTS: images of boot-critical components on each node,
// pinned so that no cleaning takes them. It begins beside the OS packages. Rerunning is
// safe: what is there and pinned is not asked for.
func imagesPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "images", Title: "bring the images of a cold start", After: []string{"depot"}, Tasks: func(c *Cluster) []phase.Task {
		return each(c.nodes(), func(h *bootstrap.Host) []phase.Task {
			return []phase.Task{{What: "pull and pin the images of a cold start", Interruptible: true, Deadline: 30 * time.Minute, After: []string{"containerd"},
				Done: func(ctx context.Context) (bool, error) { m, err := c.missingImages(ctx, h); return len(m) == 0, err },
				Do:   func(ctx context.Context) error { return c.pullImages(ctx, h) }}}
		})
	}}
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

// bootMirrors is the certs.d of the first pulls. It lies in memory.
const bootMirrors = bootstrap.RunDir + "/certs.d"

// pullScript pulls and pins images, four at a time, from the mirrors of $1. Metadata of
// platforms that are not carried is not asked for.
const pullScript = `d=$1; shift
ctr="/usr/local/bin/ctr -n k8s.io"
pull() {
  $ctr images pull --hosts-dir "$d" --skip-metadata --label io.cri-containerd.image=managed "$1" >/dev/null || { echo "pulling $1" >&2; return 1; }
  $ctr images label "$1" io.cri-containerd.pinned=pinned naru.pinned=boot >/dev/null
}
while [ $# -gt 0 ]; do
  p=; n=0
  while [ $# -gt 0 ] && [ $n -lt 4 ]; do pull "$1" & p="$p $!"; n=$((n + 1)); shift; done
  for i in $p; do wait "$i"; done
done`

func (c *Cluster) pullImages(ctx context.Context, h *bootstrap.Host) error {
	missing, err := c.missingImages(ctx, h)
	if err != nil {
		return err
	}
	if _, err := h.Ensure(ctx, []bootstrap.File{bootstrap.DefaultMirror(bootMirrors, c.depotURLs(), bootstrap.CAFile)}); err != nil {
		return err
	}
	if _, err := h.Script(ctx, pullScript, append([]string{bootMirrors}, missing...)...); err != nil {
		return fmt.Errorf("pulling images: %w", err)
	}
	return nil
}
