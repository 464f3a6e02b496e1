package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"naru/test/lab/hosts"
)

func (w *world) startHosts(ctx context.Context) (string, error) {
	if w.lab != nil {
		return "", fmt.Errorf("lab %q runs already: bin/lab-hosts -lab %s down", w.name, w.name)
	}
	l, err := hosts.Up(ctx, hosts.Options{
		Name: w.name, CacheDir: w.cache, Hosts: labHosts(), Program: filepath.Join(w.bin, "lab-hosts"),
		OnStep: func(s string) { fmt.Println("   " + s) },
	})
	w.lab = l
	return fmt.Sprintf("%d hosts answer", len(labHosts())), err
}

// firstApply takes bare hosts to a cluster and holds the time against that of
// kubeadm and the package manager, which no installer can do without.
func (w *world) firstApply(ctx context.Context) (string, error) {
	cmd, err := w.apply(ctx, w.site)
	if err != nil {
		return "", err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return "", err
	}
	for name, text := range map[string]string{"apply.log": r.stderr, "apply.json": r.stdout} {
		if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	if err := w.fetchCredentials(ctx); err != nil {
		return "", err
	}
	if err := w.nodesReady(ctx, w.site, time.Minute); err != nil {
		return "", err
	}
	a, err := decode(r)
	if err != nil {
		return "", err
	}
	t := a.times()
	least := t.packages + t.kubeadm + t.images
	saw := fmt.Sprintf("%.0f s to Ready, %.2f times the %.0f s of packages (%.0f), kubeadm (%.0f) and its images (%.0f), %.2f times without the images; promised %.1f; %.0f s in all",
		t.ready, t.ready/least, least, t.packages, t.kubeadm, t.images, t.ready/(t.packages+t.kubeadm), promised, r.took.Seconds())
	for _, p := range a.Phases {
		fmt.Printf("   %6.1f s  %s, %d changes, from %.1f s\n", p.Seconds, p.Name, p.Changed, p.Began)
	}
	if t.kubeadm == 0 || t.packages == 0 || t.ready == 0 {
		return saw, fmt.Errorf("the times of packages, kubeadm or nodes are not in the result: %s", saw)
	}
	if t.ready > promised*least {
		return saw, fmt.Errorf("more than %.1f times: %s", promised, saw)
	}
	return saw, nil
}

// promised is how many times the time of what no installer can do without an apply may
// take to nodes that are Ready.
const promised = 1.5

// fetchCredentials brings the administrator's kubeconfig to this machine.
func (w *world) fetchCredentials(ctx context.Context) error {
	conf, err := w.lab.SSH(ctx, "cp1", "cat", "/etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("admin.conf"), []byte(conf), 0o600)
}

// phaseTimes are seconds of the parts of an apply.
type phaseTimes struct{ packages, kubeadm, images, ready float64 }

// times are those of the package manager, with hosts side by side, of kubeadm's own
// init and joins, of the images that it would pull if they were not there, likewise
// side by side, and of all until the nodes were Ready.
func (a applied) times() phaseTimes {
	var t phaseTimes
	for _, p := range a.Phases {
		if p.Name == "nodes" {
			t.ready = p.Began + p.Seconds
		}
	}
	for _, task := range a.Tasks {
		switch {
		case task.What == "install OS packages":
			t.packages = max(t.packages, task.Seconds)
		case strings.HasPrefix(task.What, "kubeadm"):
			t.kubeadm += task.Seconds
		case strings.HasPrefix(task.What, "pull and pin"):
			t.images = max(t.images, task.Seconds)
		}
	}
	return t
}

// nodes are the names of a site's nodes, sorted.
func (s site) nodes() []string {
	var names []string
	for _, h := range s.hosts {
		if strings.Contains(h.roles, "control-plane") || strings.Contains(h.roles, "worker") {
			names = append(names, h.name)
		}
	}
	slices.Sort(names)
	return names
}

// nodesReady waits until the nodes of s, and no others, are there and Ready.
func (w *world) nodesReady(ctx context.Context, s site, limit time.Duration) error {
	_, err := within(ctx, limit, func(ctx context.Context) error { return w.checkNodes(ctx, s) })
	return err
}

// applyAgain must find nothing to do, in seconds.
func (w *world) applyAgain(ctx context.Context) (string, error) {
	const limit = 15 * time.Second
	r, err := w.unchanged(ctx)
	if err != nil {
		return "", err
	}
	if r.took > limit {
		return "", fmt.Errorf("took %s, more than %s", r.took, limit)
	}
	return "said so after " + seconds(r.took), nil
}

// unchanged applies the site as it is and wants to hear that nothing changed.
func (w *world) unchanged(ctx context.Context) (result, error) {
	return w.unchangedBy(ctx, w.media())
}

func (w *world) unchangedBy(ctx context.Context, media string) (result, error) {
	cmd, err := w.applyMedia(ctx, w.site, media)
	if err != nil {
		return result{}, err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return r, err
	}
	a, err := decode(r)
	if err != nil {
		return r, err
	}
	if a.Changed != 0 {
		return r, fmt.Errorf("changed %d things: %s", a.Changed, last(r.all(), 3000))
	}
	return r, nil
}
