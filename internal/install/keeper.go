package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"naru/pkg/bootstrap"
)

// The first control plane keeps the site's state. At the end of each run the other
// control planes get a copy of it, so that any of them can be listed first when that
// host is to go, or is lost. What was not handed over is looked for before anything is
// changed: a first control plane without it would make the site another authority,
// which no host believes, and one outside of the cluster a second cluster.

// stateFiles are what the first control plane keeps of the site, from what the run
// holds of it.
func (c *Cluster) stateFiles() []bootstrap.File {
	var files []bootstrap.File
	if a := c.ca(); a != nil { // the key goes first: a certificate is never without one
		files = append(files, bootstrap.File{Path: caKeyPath, Mode: "0600", Content: a.KeyPEM}, bootstrap.File{Path: caCertPath, Mode: "0644", Content: a.PEM})
	}
	if len(c.Site.Raw) > 0 {
		files = append(files, bootstrap.File{Path: sitePath, Mode: "0600", Content: c.Site.Raw})
	}
	return append(files, bootstrap.File{Path: appliedPath, Mode: "0644", Content: c.applied()})
}

// privateState makes the folder of the authority, for root alone.
func privateState(ctx context.Context, h *bootstrap.Host) error {
	_, err := h.Script(ctx, `install -d -m 0700 "$1" "$1/pki"`, bootstrap.StateDir)
	return err
}

// standing is what of a cluster lies on a control plane.
type standing struct {
	host *bootstrap.Host
	// node: kubeadm came to its end there. state: it has the site's authority.
	node, state bool
}

const standingScript = `{ [ -e "$1" ] || [ -e /etc/kubernetes/kubelet.conf ] && [ -e "$4" ]; } && echo node
[ -s "$2" ] && [ -s "$3" ] && echo state
exit 0`

func (c *Cluster) standings(ctx context.Context) ([]standing, error) {
	var out []standing
	for _, h := range c.controlPlanes() {
		words, err := h.Script(ctx, standingScript, kubeadmMark, caKeyPath, caCertPath, claimPath)
		if err != nil {
			return nil, err
		}
		out = append(out, standing{host: h, node: strings.Contains(words, "node"), state: strings.Contains(words, "state")})
	}
	return out, nil
}

// keeperFindings finds a first control plane that cannot be it.
func (c *Cluster) keeperFindings(ctx context.Context) ([]bootstrap.Finding, error) {
	stands, err := c.standings(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := c.nodeNames(ctx, stands)
	if err != nil {
		return nil, err
	}
	if f, bad := keeperFinding(stands, nodes, c.Site.PKI.CAFile != ""); bad {
		return []bootstrap.Finding{f}, nil
	}
	last, err := c.lastSite(ctx)
	if err != nil || last == nil {
		return nil, err
	}
	if was, is := last.APIEndpoint(), c.Site.APIEndpoint(); was != is {
		return []bootstrap.Finding{{
			Check: "endpoint", What: fmt.Sprintf("the cluster's API is reached at %s since it was made, and would be at %s: no node would find it", was, is),
			Mend: "leave endpoint as it was; where it has none, the hosts that decide it (the lb host, or the first control plane) stay what they are: only a vip or an external endpoint outlives them",
		}}, nil
	}
	return nil, nil
}

// nodeNames are the hosts on which a cluster runs: those of the control planes, and
// workers.
func (c *Cluster) nodeNames(ctx context.Context, stands []standing) ([]string, error) {
	var names []string
	for _, s := range stands {
		if s.node {
			names = append(names, s.host.Name)
		}
	}
	for _, h := range c.workers() {
		on, err := kubeadmDone(ctx, h)
		if err != nil {
			return nil, err
		}
		if on {
			names = append(names, h.Name)
		}
	}
	return names, nil
}

// keeperFinding judges the first of the control planes. nodes are the hosts on which a
// cluster runs; ownCA tells that the authority comes with the site file.
func keeperFinding(stands []standing, nodes []string, ownCA bool) (bootstrap.Finding, bool) {
	const check = "first-control-plane"
	first := stands[0]
	if len(nodes) == 0 || first.node && (first.state || ownCA) {
		return bootstrap.Finding{}, false
	}
	var holder string // of the site's state
	for _, s := range stands {
		if holder == "" && s.node && s.state {
			holder = s.host.Name
		}
	}
	before := "list the host that was first before it again"
	if holder != "" {
		before = "list " + holder + " before it"
	}
	if !first.node {
		return bootstrap.Finding{Host: first.host.Name, Check: check,
			What: fmt.Sprintf("it stands first among the control planes and is in no cluster, while %s are in one: it would be made a cluster of its own", strings.Join(nodes, ", ")),
			Mend: before + "; once it was applied so, this host may come first"}, true
	}
	return bootstrap.Finding{Host: first.host.Name, Check: check,
		What: "it stands first among the control planes and does not hold what the first one keeps of the site: its authority, the site file and bundles applied last",
		Mend: before + " and apply once, which leaves copies on every control plane; then the other may go. If it is lost for good, restore " + bootstrap.StateDir + "/pki from its backup here, or give the site an authority of its own (pki.caFile)"}, true
}

// keepRuns appends what runs wrote down on a control plane that leaves to a file of
// its name on the first one. A host that has none has nothing to hand over.
func (c *Cluster) keepRuns(ctx context.Context, h *bootstrap.Host) error {
	data, err := h.ReadFile(ctx, journalPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("handing over what runs wrote down: %w", err)
	}
	to := fmt.Sprintf("%s/runs-%s.jsonl", bootstrap.StateDir, h.Name)
	before, err := c.keeper().ReadFile(ctx, to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("handing over what runs wrote down: %w", err)
	}
	switch {
	case bytes.HasSuffix(before, data): // handed over by a run that was cut off later
		return nil
	case !bytes.HasPrefix(data, before): // the host was here before
		data = slices.Concat(before, data)
	}
	return c.keeper().Put(ctx, bootstrap.File{Path: to, Mode: "0600", Content: data})
}

// lastKeeper is the host that was the first control plane when the site was applied
// last, when it is another one now and somebody knows how to reach it; else nil. The
// second result closes it.
func (c *Cluster) lastKeeper(ctx context.Context) (*bootstrap.Host, func(), error) {
	last, err := c.lastSite(ctx)
	if err != nil || last == nil || last.ControlPlanes()[0].Name == c.keeper().Name {
		return nil, nil, err
	}
	was := last.ControlPlanes()[0]
	if h := c.host(was.Name); h != nil {
		return h, func() {}, nil
	}
	h := c.formerHost(last, was)
	if h == nil {
		return nil, nil, nil // it leaves unreached
	}
	return h, func() { _ = h.Runner.Close() }, nil
}
