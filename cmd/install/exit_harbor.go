package main

import (
	"errors"
	"net/http"

	"oras.land/oras-go/v2/registry/remote/errcode"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/journal"
	"naru/internal/sitekey"
	"naru/pkg/harbor"
)

// judgeHarbor maps what a Harbor and the site's own records can answer.
func judgeHarbor(err error) (cli.Verdict, bool) {
	switch {
	case errors.Is(err, harbor.ErrURL):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "Harbor is named as https://host or https://host:port; it is never spoken to without TLS"}, true
	case cli.As[*harbor.NameError](err):
		return cli.Verdict{Code: cli.ExitDocument, Hint: "these registries cannot be a project in Harbor: leave their images out with --only, or push to a plain registry with --to"}, true
	case cli.As[*harbor.ProjectError](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "make the project private, or give Harbor's proxy cache another name; nothing was pushed"}, true
	case cli.As[*harbor.QuotaError](err):
		return cli.Verdict{Code: cli.ExitSpace, Hint: "raise the project's quota, or lift it (-1); nothing was pushed"}, true
	case cli.As[*install.ImmutableError](err):
		return cli.Verdict{Code: cli.ExitPin, Hint: "a tag that was seeded stands for other content now: find out why; to move it, switch the project's immutability rule off for the push"}, true
	case cli.As[*harbor.VersionError](err):
		return cli.Verdict{Code: cli.ExitVersion, Hint: "log in as a user of this Harbor; naru works with 2.10 and later"}, true
	case cli.As[*harbor.UnhealthyError](err), errors.Is(err, install.ErrReadOnly):
		return cli.Verdict{Code: cli.ExitNetwork, Hint: "put Harbor right first (install harbor status shows how it is); nothing was pushed"}, true
	case cli.As[*journal.BrokenError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "somebody changed the site's journal: keep it as it is, find out who, and only then move it away"}, true
	case errors.Is(err, install.ErrExposedLogin):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "chmod 600 it, and replace the robot with install harbor rotate if somebody else can have read it"}, true
	case errors.Is(err, sitekey.ErrExposed):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "chmod 600 it if nobody else can have read it; else move it away, and carry the new public half out"}, true
	}
	return judgeHarborAnswer(err)
}

// judgeHarborAnswer maps refusals and failures of replication.
func judgeHarborAnswer(err error) (cli.Verdict, bool) {
	if errors.Is(err, install.ErrNoSite) || errors.Is(err, install.ErrSiteName) {
		return cli.Verdict{Code: cli.ExitUsage, Hint: "install harbor status lists the policies; a new site is made with --target-url"}, true
	}
	var endpoint *harbor.EndpointError
	if errors.As(err, &endpoint) {
		return cli.Verdict{Code: cli.ExitNetwork, Hint: endpointHint(endpoint)}, true
	}
	if cli.As[*harbor.ReplicationError](err) {
		return cli.Verdict{Code: cli.ExitNetwork, Hint: "what arrived stays: run it again, and only the rest is copied"}, true
	}
	if errors.Is(err, harbor.ErrPolicy) {
		return cli.Verdict{Code: cli.ExitUsage, Hint: "install replicate --help lists what goes together"}, true
	}
	var answer *harbor.Error
	if errors.As(err, &answer) {
		switch {
		case errors.Is(err, harbor.ErrUnauthorized):
			return cli.Verdict{Code: cli.ExitNetwork, Hint: "user or password are wrong, or the robot has expired"}, true
		case errors.Is(err, harbor.ErrForbidden):
			return cli.Verdict{Code: cli.ExitNetwork, Hint: "this user has no right to do it; an administrator has"}, true
		}
		return cli.Verdict{Code: cli.ExitNetwork, Hint: cli.NetworkHint(err)}, true
	}
	var refused *errcode.ErrorResponse
	if errors.As(err, &refused) && refused.StatusCode == http.StatusForbidden {
		return cli.Verdict{Code: cli.ExitNetwork, Hint: "no right to push there, the project's quota is used up, or Harbor is read-only"}, true
	}
	return cli.Verdict{}, false
}

// endpointHint says what to do about a site that Harbor does not reach.
func endpointHint(e *harbor.EndpointError) string {
	if !e.Unexplained {
		return "check the address, the user and its secret, and that this Harbor reaches the other one"
	}
	return "Harbor gives no reason, as it does for a certificate it does not trust. Harbor 2.14 has no field for the target's authority: add it to " +
		"the bundle that Harbor itself trusts (caBundleSecretName of the chart, then restart core and jobservice), and run this again"
}
