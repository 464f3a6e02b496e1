package install

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// preflightPhase finds all that would stop the run later, before anything is
// changed on any host.
//
// INPUTS: the site, the bundles' documents, the hosts as they are. OUTPUTS: the
// hosts' facts; findings. Rerunning is safe: hosts are only read; the simulated
// package installation works in a folder of its own below /tmp, removed after.
func preflightPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "preflight", Title: "look for what would stand in the way", Needed: true, Serial: true, Tasks: func(c *Cluster) []phase.Task {
		return []phase.Task{
			{What: "look at every host", Quiet: true, Interruptible: true, Do: c.Gather},
			{What: "check the hosts", Quiet: true, Interruptible: true, Do: c.preflight},
		}
	}}
}

// PreflightError holds what stands against an installation. Nothing was changed.
type PreflightError struct{ Findings []bootstrap.Finding }

func (e *PreflightError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

func (c *Cluster) preflight(ctx context.Context) error {
	needs := bootstrap.Needs{Site: c.Site, Systems: c.Set.Systems, DepotMissing: map[string]int64{}, Now: time.Now(), NewestMetadata: c.newestMetadata()}
	for _, f := range c.frontends() {
		needs.BalancerPorts = append(needs.BalancerPorts, f.Port)
	}
	if c.ownHarbor() != nil {
		needs.NodePorts = []int{c.Site.Harbor.NodePort}
	}
	for _, b := range c.Set.Bundles {
		needs.Platforms = append(needs.Platforms, b.Bundle().Platforms...)
	}
	var findings []bootstrap.Finding
	for _, h := range c.depots() {
		room, err := c.depotRoom(ctx, h)
		if err != nil {
			return err
		}
		if !room.apart {
			needs.DepotMissing[h.Name] = room.missing
		} else if room.free < room.missing {
			findings = append(findings, bootstrap.Finding{Host: h.Name, Check: "disk", Mend: "make room, or choose another depot.dir",
				What: fmt.Sprintf("%d MiB are free at %s, the bundles need %d MiB", room.free>>20, c.Site.Depot.Dir, room.missing>>20)})
		}
	}
	findings = append(findings, bootstrap.Check(c.Hosts, needs)...)
	simulated, err := c.simulatePackages(ctx)
	if err != nil {
		return err
	}
	findings = append(findings, simulated...)
	other, err := c.otherKubernetes(ctx)
	if err != nil {
		return err
	}
	findings = append(findings, other...)
	renamed, err := c.renamed(ctx)
	if err != nil {
		return err
	}
	findings = append(findings, renamed...)
	for _, look := range []func(context.Context) ([]bootstrap.Finding, error){c.ownerFindings, c.keeperFindings, c.authorityFindings, c.harborFindings} {
		found, err := look(ctx)
		if err != nil {
			return err
		}
		findings = append(findings, found...)
	}
	if err := c.checkCarriedFor(ctx); err != nil {
		findings = append(findings, bootstrap.Finding{Check: "bundle", What: err.Error(), Mend: "build the bundle with what is missing"})
	}
	for _, f := range findings {
		if f.Warning {
			c.Progress.Note("warning: " + f.String())
		}
	}
	fatal := slices.DeleteFunc(slices.Clone(findings), func(f bootstrap.Finding) bool { return f.Warning })
	if len(fatal) > 0 {
		return &PreflightError{Findings: fatal}
	}
	return nil
}

// checkCarriedFor looks for the files of the architectures that the hosts turned out
// to have.
func (c *Cluster) checkCarriedFor(ctx context.Context) error {
	for _, arch := range c.architectures() {
		for _, f := range nodeFiles {
			if _, err := c.nodeFile(ctx, f, "linux/"+arch); err != nil {
				return fmt.Errorf("for the hosts of %s: %w", arch, err)
			}
		}
	}
	return nil
}
