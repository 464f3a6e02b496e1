package install

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// unpinPhase lets go of images of a cold start that the bundles no longer name, once
// everything runs from those that they do: the kubelet may remove them then when the disk
// fills up. Nothing is removed here.
//
// INPUTS: nodes of the bundles' version; components deployed. OUTPUTS: images without the
// mark that keeps them. An image is let go when naru pinned it, or when it is another tag
// of one that naru pins: earlier versions left no mark of theirs. Images that somebody
// else pinned stay. Rerunning is safe: what is pinned is looked at each time.
func unpinPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "unpin", Title: "let go of images that no bundle names any more", Tasks: func(c *Cluster) []phase.Task {
		return each(c.nodes(), func(h *bootstrap.Host) []phase.Task {
			return []phase.Task{{What: "unpin images of earlier bundles", Interruptible: true,
				Done: func(ctx context.Context) (bool, error) { old, err := c.oldPins(ctx, h); return len(old) == 0, err },
				Do:   func(ctx context.Context) error { return c.unpin(ctx, h) }}}
		})
	}}
}

// Labels of an image in containerd: that it is kept, and that naru wanted so.
const (
	pinnedLabel = "io.cri-containerd.pinned=pinned"
	ourPinLabel = "naru.pinned=boot"
)

// oldPins are the images that a node keeps for naru's sake and that are not of this run's
// bundles. A node whose upgrade is not through keeps all.
func (c *Cluster) oldPins(ctx context.Context, h *bootstrap.Host) ([]string, error) {
	if through, err := c.upgraded(ctx, h); err != nil || !through {
		return nil, err
	}
	out, err := h.Output(ctx, bootstrap.BinDir+"/ctr", "-n", "k8s.io", "images", "ls")
	if err != nil {
		return nil, err
	}
	return oldPins(out, append(c.bootImages(h), c.pauseImage())), nil
}

// oldPins are those of the images that ctr lists that are pinned by naru and not wanted.
func oldPins(list string, want []string) []string {
	repositories := map[string]bool{}
	for _, ref := range want {
		if name, tag := repositoryOf(ref); tag != "" {
			repositories[name] = true
		}
	}
	var old []string
	for _, line := range strings.Split(list, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || slices.Contains(want, f[0]) {
			continue
		}
		labels := strings.Split(f[len(f)-1], ",")
		if !slices.Contains(labels, pinnedLabel) {
			continue
		}
		name, tag := repositoryOf(f[0])
		if slices.Contains(labels, ourPinLabel) || tag != "" && repositories[name] {
			old = append(old, f[0])
		}
	}
	return old
}

// repositoryOf cuts a reference into its repository and tag; what has a digest, or is
// none, has no tag: containerd keeps such names beside the tag's for its own use.
func repositoryOf(ref string) (name, tag string) {
	r, err := manifest.ParseReference(ref)
	if err != nil || r.Digest != "" {
		return "", ""
	}
	return r.Host + "/" + r.Repository, r.Tag
}

// unpinScript takes the labels off images. A label without a value is none to containerd.
const unpinScript = `for i in "$@"; do /usr/local/bin/ctr -n k8s.io images label "$i" io.cri-containerd.pinned= naru.pinned= >/dev/null; done`

func (c *Cluster) unpin(ctx context.Context, h *bootstrap.Host) error {
	old, err := c.oldPins(ctx, h)
	if err != nil {
		return err
	}
	if _, err := h.Script(ctx, unpinScript, old...); err != nil {
		return fmt.Errorf("unpinning images: %w", err)
	}
	return nil
}
