package install

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"naru/manifest"
	"naru/pkg/bootstrap"
)

// A host with traces of kubeadm and without its mark is one on which kubeadm was cut
// off, or a live one whose mark was lost: a disk that filled up, a power cut, somebody
// tidying. Resetting the second destroys what it keeps, so the world decides, not the mark.

// LiveHostError is a host that looks live, has no mark, and does not answer.
type LiveHostError struct{ Host, Why string }

func (e *LiveHostError) Error() string {
	return fmt.Sprintf("%s: it has no mark that kubeadm came to its end there, and is not reset all the same: %s", e.Host, e.Why)
}

const tracesScript = `for p in /etc/kubernetes/*.conf /etc/kubernetes/manifests/*.yaml /var/lib/etcd/member /var/lib/kubelet/config.yaml; do [ -e "$p" ] && exit 0; done; exit 1`

// markScript puts the mark $1 back.
const markScript = `umask 077; mkdir -p "${1%/*}"; echo found >"$1.new"; sync "$1.new"; mv -f "$1.new" "$1"; sync "${1%/*}"`

// settle makes a host without a mark one that kubeadm can work on, or puts the mark back
// where the host turns out to be live, which is told by true. joined says that the
// host belongs to a cluster that others run.
func (c *Cluster) settle(ctx context.Context, h *bootstrap.Host, joined bool) (live bool, err error) {
	traces, err := h.Holds(ctx, tracesScript)
	if err != nil || !traces {
		return false, err
	}
	if joined {
		live, err = c.liveMember(ctx, h)
	} else {
		live, err = c.liveFirst(ctx)
	}
	if err != nil {
		return false, err
	}
	if live {
		c.Progress.Note(fmt.Sprintf("warning: %s: the mark that kubeadm came to its end was gone, and is put back: the host is live", h.Name))
		_, err := h.Script(ctx, markScript, kubeadmMark)
		return true, err
	}
	if joined {
		if err := c.forget(ctx, h.Name, h.Address); err != nil {
			return false, err
		}
	}
	return false, h.KubeadmReset(ctx)
}

// settleFor is how long a host whose kubelet runs is given to answer.
const settleFor = time.Minute

// liveFirst tells whether the first control plane, on which traces were found, is one
// that works. One that may have worked and does not answer is a *LiveHostError.
func (c *Cluster) liveFirst(ctx context.Context) (bool, error) {
	h := c.keeper()
	var nodes []Node
	answers := func(ctx context.Context) (ok bool, err error) {
		nodes, err = c.kubeNodes(ctx)
		return err == nil, nil //nolint:nilerr // it may be starting
	}
	up, err := c.within(ctx, h, answers)
	if err != nil {
		return false, err
	}
	others, err := c.others(ctx, nodes)
	if err != nil {
		return false, err
	}
	ran, err := h.Holds(ctx, `[ -e "$1" ] || [ -e "$2" ]`, appliedPath, sitePath)
	if err != nil {
		return false, err
	}
	switch {
	case !up && len(others) > 0:
		return false, &LiveHostError{Host: h.Name, Why: "its API server does not answer, and " + strings.Join(others, ", ") + " are nodes already"}
	case !up && ran:
		return false, &LiveHostError{Host: h.Name, Why: "its API server does not answer, and an earlier run came to its end"}
	case !up:
		return false, nil // init was cut off
	case len(others) > 0 || ran:
		return true, nil
	}
	return c.initWhole(ctx, nodes)
}

// initWhole tells whether kubeadm init came to its end on a control plane that answers
// and was alone so far: its last steps are the label of the node and the add-ons.
func (c *Cluster) initWhole(ctx context.Context, nodes []Node) (bool, error) {
	name := c.keeper().Name
	if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == name && n.ControlPlane }) {
		return false, nil
	}
	out, err := c.kubectl(ctx, "-n", "kube-system", "get", "deployment/coredns", "daemonset/kube-proxy", "--ignore-not-found", "-o", "name")
	return strings.Contains(out, "coredns") && strings.Contains(out, "kube-proxy"), err
}

// others are the nodes beside the first control plane: those that the cluster lists,
// and the site's hosts on which kubeadm came to its end.
func (c *Cluster) others(ctx context.Context, nodes []Node) ([]string, error) {
	var names []string
	for _, n := range nodes {
		if n.Name != c.keeper().Name {
			names = append(names, n.Name)
		}
	}
	for _, h := range c.nodes()[1:] {
		on, err := kubeadmDone(ctx, h)
		if err != nil {
			return nil, err
		}
		if on && !slices.Contains(names, h.Name) {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

// liveMember tells whether a host that joins, on which traces were found, is a node
// that works: the cluster hears from its kubelet, and a control plane has its label and
// is a member of etcd. A node that joined and is not heard of is a *LiveHostError.
func (c *Cluster) liveMember(ctx context.Context, h *bootstrap.Host) (bool, error) {
	var node *Node
	heard := func(ctx context.Context) (bool, error) {
		nodes, err := c.kubeNodes(ctx)
		if err != nil {
			return false, err
		}
		node = nil
		if i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == h.Name }); i >= 0 {
			node = &nodes[i]
		}
		return node == nil || node.Heard, nil // one that is no node stays none: nothing starts it
	}
	if _, err := c.within(ctx, h, heard); err != nil {
		return false, err
	}
	if node == nil {
		return false, nil
	}
	if h.HasRole(manifest.RoleControlPlane) {
		member, err := c.isMember(ctx, h)
		if err != nil || !member || !node.ControlPlane {
			return false, err // its join was cut off
		}
	}
	if !node.Heard {
		return false, &LiveHostError{Host: h.Name, Why: "it is a node of the cluster whose kubelet is not heard of: " + node.Reason}
	}
	return true, nil
}

// within asks f until it is true. A host whose kubelet does not run is asked once.
func (c *Cluster) within(ctx context.Context, h *bootstrap.Host, f func(context.Context) (bool, error)) (bool, error) {
	if ok, err := f(ctx); ok || err != nil {
		return ok, err
	}
	runs, err := h.Holds(ctx, `systemctl is-active -q kubelet`)
	if err != nil || !runs {
		return false, err
	}
	tctx, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	ok := false
	err = poll(tctx, 2*time.Second, func(ctx context.Context) (bool, error) {
		var err error
		ok, err = f(ctx)
		return ok, err
	})
	if ctx.Err() == nil && tctx.Err() != nil {
		return false, nil
	}
	return ok, err
}

// isMember tells whether a host is a member of etcd that was started once.
func (c *Cluster) isMember(ctx context.Context, h *bootstrap.Host) (bool, error) {
	members, err := c.etcdMembers(ctx)
	return slices.ContainsFunc(members, func(m etcdMember) bool { return m.Name == h.Name }), err
}
