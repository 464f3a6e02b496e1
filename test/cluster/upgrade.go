package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"naru/test/lab/content"
)

// recipe is the content of the simulated internet.
func (w *world) recipe() content.Recipe {
	if w.minor {
		return content.MinorRecipe()
	}
	return content.ClusterRecipe()
}

// versions are those of Kubernetes, without "v", that release lab has and that the
// cluster is upgraded to.
func (w *world) versions() (now, next string) {
	c := w.recipe().Cluster
	return strings.TrimPrefix(c.Kubernetes.Version, "v"), strings.TrimPrefix(c.Next.Version, "v")
}

// buildNext builds a bundle of the release with the next Kubernetes.
func (w *world) buildNext(ctx context.Context, args []string, release, database string) error {
	dir, out := w.path("release-next/lab"), w.path("next")
	for _, d := range []string{dir, out} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	if err := copyTree(release, dir); err != nil {
		return err
	}
	now, next := w.versions()
	c := w.recipe().Cluster
	change := strings.NewReplacer(now, next, "/coredns:"+c.CoreDNSTag, "/coredns:"+c.Next.CoreDNSTag)
	for _, name := range []string{"release.yaml", "components/kubernetes.yaml"} {
		file := filepath.Join(dir, name)
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(change.Replace(string(data))), 0o644); err != nil {
			return err
		}
	}
	args = slices.Clone(args)
	args[slices.Index(args, release)] = dir
	_, err := w.ok(exec.CommandContext(ctx, filepath.Join(w.bin, "bundle"), append(args, "--db", database, "--java-db", "none", "--out", out)...))
	return err
}

// upgrade applies a bundle with a newer Kubernetes: every node runs it then and takes
// pods, what ran before runs again, the API answered all the while, a second apply
// changes nothing, and the older bundle is refused.
func (w *world) upgrade(ctx context.Context) (string, error) {
	cmd, err := w.applyMedia(ctx, w.site, w.path("next"))
	if err != nil {
		return "", err
	}
	watching, stop := context.WithCancel(ctx)
	gap := make(chan time.Duration, 1)
	go func() { gap <- w.longestSilence(watching) }()
	r, err := w.ok(cmd)
	stop()
	silent := <-gap
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(w.path("upgrade.log"), []byte(r.stderr), 0o644); err != nil {
		return "", err
	}
	_, next := w.versions()
	out, err := w.kubectl(ctx, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kubeletVersion} {.spec.unschedulable}{"\n"}{end}`)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) != 2 || f[1] != "v"+next {
			return "", fmt.Errorf("a node is not open for pods in version %s: %s", next, line)
		}
	}
	if _, err := within(ctx, 2*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) }); err != nil {
		return "", err
	}
	if err := w.imagesOf(ctx, next); err != nil {
		return "", err
	}
	again, err := w.unchangedBy(ctx, w.path("next"))
	if err != nil {
		return "", err
	}
	if err := w.goesNotBack(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s in %s; the API was silent for %s at most; second apply %s", next, seconds(r.took), seconds(silent), seconds(again.took)), nil
}

// longestSilence asks the API at its endpoint until ctx ends, and returns the longest
// time without an answer.
func (w *world) longestSilence(ctx context.Context) time.Duration {
	last, longest := time.Now(), time.Duration(0)
	for ctx.Err() == nil {
		if w.apiReads(ctx) == nil {
			longest = max(longest, time.Since(last))
			last = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return max(longest, time.Since(last))
}

// imagesOf wants every part of Kubernetes to run out of the version's images.
func (w *world) imagesOf(ctx context.Context, version string) error {
	out, err := w.kubectl(ctx, "-n", "kube-system", "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.containers[0].image}{"\n"}{end}`)
	if err != nil {
		return err
	}
	seen := 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if !strings.HasPrefix(f[0], "kube-") {
			continue
		}
		if seen++; !strings.HasSuffix(f[1], ":v"+version) {
			return fmt.Errorf("after the upgrade to %s: %s", version, line)
		}
	}
	if seen == 0 {
		return fmt.Errorf("no pod of Kubernetes is there: %s", out)
	}
	return nil
}

// goesNotBack wants the older bundle to be refused.
func (w *world) goesNotBack(ctx context.Context) error {
	cmd, err := w.apply(ctx, w.site)
	if err != nil {
		return err
	}
	r, err := w.exec(cmd)
	if err == nil && (r.code != 20 || !strings.Contains(r.all(), "kubernetes-version")) {
		err = fmt.Errorf("the older bundle after the upgrade: exit code %d, want 20: %s", r.code, last(r.all(), 2000))
	}
	return err
}
