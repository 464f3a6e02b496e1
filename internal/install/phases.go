package install

import (
	"naru/internal/phase"
	"naru/pkg/bootstrap"
)

// Phases are the steps of apply, in order. Each stands in a file of its own. Those
// that say what they come after begin beside what stands before them.
func Phases() []phase.Phase[*Cluster] {
	return []phase.Phase[*Cluster]{
		verifyPhase(),
		preflightPhase(),
		claimPhase(),
		depotPhase(),
		packagesPhase(),
		hostConfigPhase(),
		balancerPhase(),
		containerdPhase(),
		imagesPhase(),
		lostPhase(),
		upgradePhase(),
		controlPlanePhase(),
		joinPhase(),
		workersPhase(),
		leavePhase(),
		networkPhase(),
		nodesPhase(),
		storagePhase(),
		harborPhase(),
		seedPhase(),
		mirrorsPhase(),
		componentsPhase(),
		unpinPhase(),
		sealedPhase(),
		reportPhase(),
	}
}

// each makes the tasks of several hosts, in the hosts' order.
func each(hosts []*bootstrap.Host, tasks func(*bootstrap.Host) []phase.Task) []phase.Task {
	var out []phase.Task
	for _, h := range hosts {
		for _, t := range tasks(h) {
			t.Host = h.Name
			out = append(out, t)
		}
	}
	return out
}
