package install

import (
	"context"
	"errors"
	"maps"
	"slices"

	"naru/internal/carried"
	"naru/internal/intake"
	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/archive"
)

// verifyPhase checks every byte of the bundles, and that they carry what the site
// needs.
//
// INPUTS: the opened bundles, whose signatures were checked when they were opened;
// the site. OUTPUTS: a record that these volumes were verified, on this machine.
// Rerunning is safe: nothing is written but that record, which saves the next run
// the reading.
func verifyPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "verify", Title: "check the bundles", Needed: true, Tasks: func(c *Cluster) []phase.Task {
		var tasks []phase.Task
		for _, b := range c.Set.Bundles {
			tasks = append(tasks, phase.Task{
				What: "verify bundle " + b.BundleDigest().Encoded()[:12], Quiet: true, Interruptible: true, Deadline: noDeadline,
				Do: func(ctx context.Context) error {
					_, err := intake.Register(ctx, b, c.RecordDir, archive.VerifyOptions{Progress: c.Progress.Add})
					return err
				},
			})
		}
		return append(tasks, phase.Task{What: "look for everything the site needs", Quiet: true, Do: c.checkCarried})
	}}
}

// checkCarried finds everything that will be needed and is not carried.
func (c *Cluster) checkCarried(ctx context.Context) error {
	var errs []error
	errs = append(errs, intake.CheckAllScanned(c.Set.Bundles, c.Site.AllowUnscanned))
	errs = append(errs, c.Set.Check(c.Components))
	for _, arch := range c.architectures() {
		for _, f := range nodeFiles {
			if _, err := c.nodeFile(ctx, f, "linux/"+arch); err != nil {
				errs = append(errs, err)
			}
		}
	}
	k := c.Component("kubernetes")
	if k == nil {
		errs = append(errs, &ComponentError{ID: "kubernetes", Have: componentIDs(c.Components)})
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, checkControlPlaneImages(k))...)
}

// controlPlaneImages are those that kubeadm starts a cluster from, whatever a release
// lists: without one of them init fails when hosts were changed already. Those
// marked true have the version of Kubernetes, the others one that goes with it.
func controlPlaneImages() map[string]bool {
	return map[string]bool{
		"registry.k8s.io/kube-apiserver": true, "registry.k8s.io/kube-controller-manager": true, "registry.k8s.io/kube-scheduler": true,
		"registry.k8s.io/kube-proxy": true, "registry.k8s.io/coredns/coredns": false, "registry.k8s.io/etcd": false, "registry.k8s.io/pause": false,
	}
}

// checkControlPlaneImages finds images that kubeadm needs and the component lacks.
func checkControlPlaneImages(k *manifest.ComponentSpec) error {
	needed, have := controlPlaneImages(), map[string]bool{}
	for _, img := range k.Images {
		if r, err := manifest.ParseReference(img.Ref); err == nil {
			name := r.Host + "/" + r.Repository
			have[name], have[name+":"+r.Tag] = true, true
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		want := name
		if needed[name] {
			want += ":v" + k.Version
		}
		if !have[want] {
			errs = append(errs, &carried.MissingError{What: "image " + want + ", which kubeadm starts the cluster from"})
		}
	}
	return errors.Join(errs...)
}

func componentIDs(list []*manifest.ComponentSpec) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

// architectures are those of the nodes, as far as they are known: before the hosts
// were looked at, those of the bundles.
func (c *Cluster) architectures() []string {
	seen := map[string]bool{}
	var out []string
	for _, h := range c.nodes() {
		if h.Facts != nil && !seen[h.Facts.Arch] {
			seen[h.Facts.Arch] = true
			out = append(out, h.Facts.Arch)
		}
	}
	return out
}
