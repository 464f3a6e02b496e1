package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// nodesPhase waits until every node is ready, gives nodes their labels and taints,
// and ends the join tokens.
//
// INPUTS: nodes that joined; a pod network. OUTPUTS: ready nodes, with the labels
// and taints of the site file (those that somebody else put on them stay); where the
// site has no Harbor, or no longer, CoreDNS names none.
// Rerunning is safe: all of it is looked at first.
func nodesPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "nodes", Title: "wait for the nodes", Serial: true, Tasks: func(c *Cluster) []phase.Task {
		tasks := []phase.Task{{What: "wait for every node to be ready", Quiet: true, Interruptible: true, Deadline: 7 * time.Minute, Do: c.waitNodes}}
		for _, h := range c.nodes() {
			tasks = append(tasks, phase.Task{Host: h.Name, What: "set labels and taints",
				Done: func(ctx context.Context) (bool, error) {
					labels, taints, err := c.nodeSettings(ctx, h)
					return len(labels)+len(taints) == 0, err
				},
				Do: func(ctx context.Context) error { return c.setNode(ctx, h) }})
		}
		if c.noHarbor() != "" {
			tasks = append(tasks, c.harborNameTask())
		}
		return append(tasks, phase.Task{What: "end join tokens", Quiet: true, Do: c.endTokens})
	}}
}

func (c *Cluster) waitNodes(ctx context.Context) error {
	want := map[string]bool{}
	for _, h := range c.nodes() {
		want[h.Name] = true
	}
	var waiting []string
	err := poll(ctx, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		nodes, err := c.kubeNodes(ctx)
		if err != nil {
			waiting = []string{err.Error()}
			return false, nil // the API server may be about to move
		}
		ready := map[string]string{}
		for _, n := range nodes {
			if n.Ready {
				ready[n.Name] = "ready"
			} else {
				ready[n.Name] = n.Reason
			}
		}
		waiting = waiting[:0]
		for _, h := range c.nodes() {
			if s, ok := ready[h.Name]; s != "ready" {
				if !ok {
					s = "is no node"
				}
				waiting = append(waiting, h.Name+": "+s)
			}
		}
		return len(waiting) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s\n%s", err, strings.Join(waiting, "; "), c.explain(ctx, waiting))
	}
	return nil
}

// explain gathers what tells why nodes are not ready; it does not fail.
func (c *Cluster) explain(ctx context.Context, waiting []string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var b strings.Builder
	for _, h := range c.nodes() {
		for _, w := range waiting {
			if strings.HasPrefix(w, h.Name+":") {
				b.WriteString(h.Journal(ctx, "kubelet") + "\n" + c.containers(ctx, h) + "\n")
			}
		}
	}
	if out, err := c.kubectl(ctx, "get", "pods", "-A", "-o", "wide"); err == nil {
		b.WriteString("pods:\n" + out + "\n")
	}
	if out, err := c.kubectl(ctx, "get", "events", "-A", "--sort-by=.lastTimestamp"); err == nil {
		lines := strings.Split(out, "\n")
		b.WriteString("events:\n" + strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	return b.String()
}

func (c *Cluster) setNode(ctx context.Context, h *bootstrap.Host) error {
	labels, taints, err := c.nodeSettings(ctx, h)
	if err != nil {
		return err
	}
	if len(labels) > 0 {
		if _, err := c.kubectl(ctx, append([]string{"label", "node", h.Name, "--overwrite"}, labels...)...); err != nil {
			return err
		}
	}
	if len(taints) > 0 {
		if _, err := c.kubectl(ctx, append([]string{"taint", "node", h.Name, "--overwrite"}, taints...)...); err != nil {
			return err
		}
	}
	return nil
}

// endTokens deletes the join tokens that naru made.
func (c *Cluster) endTokens(ctx context.Context) error {
	_, err := c.keeper().Secret(ctx, `export KUBECONFIG=/etc/kubernetes/admin.conf
/usr/local/bin/kubeadm token list -o jsonpath='{.token}{" "}{.description}{"\n"}' 2>/dev/null | while read -r t d; do
  case $d in "a run of naru"|"first minutes of the cluster") /usr/local/bin/kubeadm token delete "${t%%.*}" >/dev/null;; esac
done`)
	if err != nil {
		return fmt.Errorf("ending the join tokens: %w", err)
	}
	c.mu.Lock()
	c.joinToken = ""
	c.mu.Unlock()
	return nil
}
