package main

import (
	"errors"

	"naru/internal/carried"
	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/intake"
	"naru/internal/phase"
	"naru/pkg/archive"
	"naru/pkg/bootstrap"
	"naru/pkg/mirror/push"
	"naru/pkg/serve"
)

// judge maps the errors of the isolated side to exit codes; docs/cli.md lists them.
func judge(err error) (cli.Verdict, bool) {
	switch {
	case errors.Is(err, install.ErrNotLoopback), errors.Is(err, serve.ErrPlainHTTP):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "leave out --plain-http, or use a loopback address"}, true
	case errors.Is(err, intake.ErrVolumeChanged):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "find out who writes to the volumes, and verify again"}, true
	case errors.Is(err, install.ErrNothingChosen):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "--only takes whole references or their beginnings up to a / : or @"}, true
	case cli.As[*install.NotCarriedError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "build the bundle with the component kubespray (--with kubespray), or name the bundle that has it"}, true
	case cli.As[*install.DifferenceError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "push again; if it differs still, somebody else writes to these repositories"}, true
	case cli.As[*serve.NameError](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "remove the tls folder below --state to make a new authority, and carry its ca.crt to the clients"}, true
	}
	if v, ok := judgeHarbor(err); ok {
		return v, true
	}
	if v, ok := judgeSite(err); ok {
		return v, true
	}
	var pushing *push.Error
	if errors.As(err, &pushing) && pushing.Side == push.SideDestination {
		return cli.Verdict{Code: cli.ExitNetwork, Hint: cli.NetworkHint(err)}, true
	}
	return cli.Verdict{}, false
}

// judgeSite knows the errors of runs over a site's hosts.
func judgeSite(err error) (cli.Verdict, bool) {
	switch {
	case cli.As[*install.PreflightError](err):
		return cli.Verdict{Code: cli.ExitPreflight, Hint: "nothing was changed: mend what is listed, and run the same command again"}, true
	case cli.As[*phase.UnknownError](err), cli.As[*install.UnknownHostError](err), cli.As[*install.ComponentError](err), errors.Is(err, install.ErrKeeper), cli.As[*install.InUseError](err), cli.As[*install.OtherMachineError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: ""}, true
	case cli.As[*bootstrap.HostKeyError](err):
		return cli.Verdict{Code: cli.ExitHost, Hint: "compare the fingerprint on the host's console (ssh-keygen -lf), then correct fingerprints or known_hosts"}, true
	case cli.As[*bootstrap.SudoError](err):
		return cli.Verdict{Code: cli.ExitHost, Hint: "let the user become root without a password (sudoers: NOPASSWD), or log in as root"}, true
	case cli.As[*bootstrap.ConnectError](err), errors.Is(err, bootstrap.ErrNoIdentity):
		return cli.Verdict{Code: cli.ExitHost, Hint: "check address, SSH key and user of the site file; run again: what is done is kept"}, true
	case cli.As[*install.LiveHostError](err):
		return cli.Verdict{Code: cli.ExitHost, Hint: "start what is down there (systemctl status containerd kubelet) and run again; to give the host up, install reset it"}, true
	case cli.As[*install.NotOursError](err):
		return cli.Verdict{Code: cli.ExitHost, Hint: "correct the host's address; where it is the right host and that cluster is given up, run kubeadm reset there first; a host that is gone leaves the cluster when its line leaves the site file (install apply)"}, true
	case cli.As[*install.NotServedError](err):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "the depot's journal (naru-depot.service) says why: a key that is revoked there signed the bundle, none that it trusts did, or its volumes are damaged"}, true
	case cli.As[*install.LockedError](err):
		return cli.Verdict{Code: cli.ExitLocked, Hint: "wait until the other run ends; its lock goes with its connection"}, true
	case cli.As[*phase.DeadlineError](err):
		return cli.Verdict{Code: cli.ExitDeadline, Hint: "what stands above explains it; run again to go on from there"}, true
	case cli.As[*install.DriftError](err):
		return cli.Verdict{Code: cli.ExitDrift, Hint: "install apply brings the site back to what its file says"}, true
	case cli.As[*install.SealedError](err):
		return cli.Verdict{Code: cli.ExitSealed, Hint: "remove what is named, or carry it: build a bundle with it"}, true
	case cli.As[*carried.MissingError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "build the bundle with what is missing"}, true
	case cli.As[*archive.DamagedError](err), cli.As[*archive.MissingVolumeError](err), cli.As[*intake.UnscannedError](err):
		return cli.Verdict{}, false // of the bundle, wherever it was noticed: every program knows these
	case cli.As[*phase.Error](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "run the same command again to go on from there; install logs gathers what explains it"}, true
	}
	return cli.Verdict{}, false
}
