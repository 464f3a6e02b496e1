package main

import (
	"errors"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/intake"
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
	var pushing *push.Error
	if errors.As(err, &pushing) && pushing.Side == push.SideDestination {
		return cli.Verdict{Code: cli.ExitNetwork, Hint: cli.NetworkHint(err)}, true
	}
	return cli.Verdict{}, false
}
