package install

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// upgradePhase brings nodes that run an older Kubernetes to the bundles' version, one
// at a time: the first control plane, the others, the workers.
//
// INPUTS: nodes whose version preflight let through; the new version's images, pulled
// and pinned already. OUTPUTS: on each node, in this order: etcd snapshotted (control
// planes), kubeadm replaced, kubeadm upgrade apply on the first and upgrade node on the
// others, the node drained, kubelet and kubectl replaced, the kubelet restarted, the
// node Ready in its new version and open for pods again, unless somebody had closed it
// before. Components that do not belong to kubeadm follow in their own phases. A
// drain that is refused stops the run: nothing is thrown off a node by force.
// Rerunning is safe: a mark on the host says that its upgrade has begun, and whether
// its node is to be opened at the end; every step may be done twice, and kubeadm runs
// under a lock that outlives the installer.
func upgradePhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "upgrade", Title: "upgrade Kubernetes, node by node", Serial: true, Tasks: func(c *Cluster) []phase.Task {
		var tasks []phase.Task
		for _, h := range slices.Concat(c.controlPlanes(), c.workers()) {
			tasks = append(tasks, phase.Task{Host: h.Name, What: "upgrade Kubernetes to " + c.Set.Kubernetes, Deadline: 40 * time.Minute,
				Done: func(ctx context.Context) (bool, error) { return c.upgraded(ctx, h) },
				Do:   func(ctx context.Context) error { return c.upgradeNode(ctx, h) }})
		}
		return tasks
	}}
}

// upgradeMark says on a host that an upgrade began there; it holds "open" when the
// node is to be opened for pods at the end, else "closed".
const upgradeMark = bootstrap.StateDir + "/upgrading"

// upgraded tells whether a host is no node yet, or one of the wanted version with no
// upgrade under way.
func (c *Cluster) upgraded(ctx context.Context, h *bootstrap.Host) (bool, error) {
	have, err := c.kubeletVersion(ctx, h)
	if err != nil || have == "" {
		return have == "", err
	}
	underWay, err := h.Holds(ctx, `[ -e "$1" ]`, upgradeMark)
	return have == c.Set.Kubernetes && !underWay, err
}

func (c *Cluster) upgradeNode(ctx context.Context, h *bootstrap.Host) error {
	if err := c.waitKubeadm(ctx, h); err != nil {
		return err
	}
	if h.HasRole(manifest.RoleControlPlane) {
		if err := c.snapshot(ctx, "before "+h.Name+" is upgraded"); err != nil {
			return err
		}
	}
	reopen, err := c.beginUpgrade(ctx, h)
	if err != nil {
		return err
	}
	if err := c.putTools(ctx, h, "kubeadm"); err != nil {
		return err
	}
	if err := c.kubeadmUpgrade(ctx, h); err != nil {
		return err
	}
	if err := c.vacate(ctx, h); err != nil {
		return err
	}
	if err := c.putTools(ctx, h, "kubelet", "kubectl"); err != nil {
		return err
	}
	if err := h.Unit(ctx, "kubelet.service", true); err != nil {
		return err
	}
	if err := c.waitVersion(ctx, h); err != nil {
		return err
	}
	if reopen {
		if _, err := c.kubectl(ctx, "uncordon", h.Name); err != nil {
			return fmt.Errorf("opening %q for pods again: %w", h.Name, err)
		}
	}
	return h.Do(ctx, "rm", "-f", upgradeMark)
}

// beginUpgrade marks the host, unless an earlier run did, and tells whether its node
// is to be opened at the end.
func (c *Cluster) beginUpgrade(ctx context.Context, h *bootstrap.Host) (bool, error) {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == h.Name })
	if i < 0 {
		return false, errors.New("the host is no node of the cluster")
	}
	word := "open"
	if nodes[i].Unschedulable {
		word = "closed"
	}
	out, err := h.Script(ctx, `[ -e "$1" ] || { echo "$2" >"$1.new"; sync "$1.new"; mv -f "$1.new" "$1"; }; cat "$1"`, upgradeMark, word)
	return out == "open", err
}

// putTools replaces programs of Kubernetes on a host, those that differ.
func (c *Cluster) putTools(ctx context.Context, h *bootstrap.Host, names ...string) error {
	files, err := c.hostFiles(ctx, h)
	if err != nil {
		return err
	}
	_, err = h.Ensure(ctx, slices.DeleteFunc(files, func(f bootstrap.File) bool { return !slices.Contains(names, path.Base(f.Path)) }))
	return err
}

// kubeadmUpgradeScript runs kubeadm upgrade with the words given, alone on its host, and
// ends with its code. It goes on when nobody listens any more, and when somebody stops an
// installer that runs on the host itself.
const kubeadmUpgradeScript = `install -d -m 0755 /run/naru
exec 9>/run/naru/kubeadm.lock
flock -w 840 9
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap '' HUP PIPE INT
umask 077
r=0
kubeadm upgrade "$@" >/run/naru/kubeadm.log 2>&1 9>&- || r=$?
[ $r = 0 ] || tail -c 3000 /run/naru/kubeadm.log >&2
exit $r`

// kubeadm ends with exitPreflight when its own checks failed, and nothing was changed.
// One of them gives a pod 15 seconds to run, which a busy cluster may miss: they are
// tried upgradeTries times.
const (
	exitPreflight = 2
	upgradeTries  = 4
	upgradePause  = 20 * time.Second
)

// kubeadmUpgrade upgrades what kubeadm keeps: on the first control plane that of the
// cluster, on the others that of the host.
func (c *Cluster) kubeadmUpgrade(ctx context.Context, h *bootstrap.Host) error {
	words := []string{"node"}
	if h.Name == c.keeper().Name {
		words = []string{"apply", "v" + c.Set.Kubernetes, "--yes"}
	}
	if ignore := c.Site.Kubernetes.IgnorePreflight; len(ignore) > 0 {
		words = append(words, "--ignore-preflight-errors="+strings.Join(ignore, ","))
	}
	err := c.tryUpgrade(ctx, h, words)
	if err != nil {
		return fmt.Errorf("%w\n%s\n%s", redacted(err), h.Journal(ctx, "kubelet"), c.containers(ctx, h))
	}
	return nil
}

// tryUpgrade runs kubeadm upgrade, again where its checks failed, upgradeTries times with
// upgradePause in between: however long a try takes, the cluster has that time to settle.
func (c *Cluster) tryUpgrade(ctx context.Context, h *bootstrap.Host, words []string) error {
	for try := 1; ; try++ {
		_, err := h.Script(ctx, kubeadmUpgradeScript, words...)
		var exit *bootstrap.ExitError
		if err == nil || !errors.As(err, &exit) || exit.Code != exitPreflight || try == upgradeTries {
			return err
		}
		c.Progress.Note(line(h.Name, "kubeadm's checks failed, they are tried again: "+bootstrap.Redact(exit.Output)))
		pause := time.NewTimer(upgradePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// vacate moves a node's pods elsewhere, where there is an elsewhere. Pods that nobody
// would start again elsewhere, and budgets that forbid it, stop it.
func (c *Cluster) vacate(ctx context.Context, h *bootstrap.Host) error {
	nodes, err := c.kubeNodes(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name != h.Name && n.Ready && !n.Unschedulable }) {
		c.Progress.Note(line(h.Name, "not drained: no other node would take its pods"))
		return nil
	}
	if _, err := c.kubectl(ctx, "cordon", h.Name); err != nil {
		return fmt.Errorf("closing %q for pods: %w", h.Name, err)
	}
	_, err = c.kubectl(ctx, "drain", h.Name, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s", "--request-timeout=0")
	if err != nil {
		return fmt.Errorf("draining %q, which stays closed for pods until apply is run again: %w", h.Name, err)
	}
	return nil
}

// waitVersion waits until a node is Ready in the wanted version.
func (c *Cluster) waitVersion(ctx context.Context, h *bootstrap.Host) error {
	const limit = 5 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &phase.DeadlineError{After: limit})
	defer cancel()
	state := ""
	err := poll(ctx, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		nodes, err := c.kubeNodes(ctx)
		if err != nil {
			state = err.Error()
			return false, nil // the API server may be about to move
		}
		for _, n := range nodes {
			if n.Name == h.Name {
				state = fmt.Sprintf("version %s, ready %v %s", n.Kubelet, n.Ready, n.Reason)
				return n.Ready && n.Kubelet == c.Set.Kubernetes, nil
			}
		}
		state = "it is no node"
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %q in version %s: %w: %s\n%s", h.Name, c.Set.Kubernetes, err, state, h.Journal(ctx, "kubelet"))
	}
	return nil
}

// otherKubernetes finds the nodes that cannot be brought to the bundles' version.
func (c *Cluster) otherKubernetes(ctx context.Context) ([]bootstrap.Finding, error) {
	var out []bootstrap.Finding
	for _, h := range c.nodes() {
		have, err := c.kubeletVersion(ctx, h)
		if err != nil {
			return nil, err
		}
		f, wrong := versionFinding(h.Name, have, c.Set.Kubernetes)
		if !wrong && have != "" && h.HasRole(manifest.RoleControlPlane) {
			api, err := apiServerVersion(ctx, h)
			if err != nil {
				return nil, err
			}
			f, wrong = versionFinding(h.Name, api, c.Set.Kubernetes)
		}
		if wrong {
			out = append(out, f)
		}
	}
	return out, nil
}

// apiServerVersion is the version of a host's API server, without "v"; "" where there
// is none. It is newer than the kubelet's on a control plane whose upgrade was cut off,
// and kubeadm would take it back.
func apiServerVersion(ctx context.Context, h *bootstrap.Host) (string, error) {
	out, err := h.Script(ctx, `[ -e "$1" ] || exit 0
sed -n 's,^ *image: .*kube-apiserver:v\([^@" ]*\).*,\1,p' "$1" | head -n 1`, "/etc/kubernetes/manifests/kube-apiserver.yaml")
	return strings.ReplaceAll(out, "_", "+"), err // as kubeadm spells it in a tag
}

// versionFinding compares what a host runs, "" for nothing, with what is brought.
// Kubernetes goes up, one minor version at a time.
func versionFinding(host, have, brought string) (bootstrap.Finding, bool) {
	if have == "" || have == brought {
		return bootstrap.Finding{}, false
	}
	f := bootstrap.Finding{Host: host, Check: "kubernetes-version", What: fmt.Sprintf("it runs Kubernetes %s, the bundles bring %s", have, brought)}
	was, err := version.ParseSemantic(have)
	to, terr := version.ParseSemantic(brought)
	switch {
	case err != nil || terr != nil:
		f.Mend = "install a release of Kubernetes there: these versions cannot be compared"
	case to.LessThan(was):
		f.Mend = "apply bundles that bring " + have + " or newer: Kubernetes does not go back"
	case to.Major() != was.Major() || to.Minor() > was.Minor()+1:
		f.Mend = fmt.Sprintf("apply a bundle with Kubernetes %d.%d first: it goes one minor version at a time", was.Major(), was.Minor()+1)
	default:
		return bootstrap.Finding{}, false
	}
	return f, true
}
