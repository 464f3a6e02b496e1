package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/progress"
	"naru/pkg/mirror/push"
	"naru/pkg/mirror/remote"
)

type pushOptions struct {
	trust        cli.TrustFlags
	progress     cli.ProgressFlags
	output       cli.OutputFlag
	to           string
	user         string
	passwordFile string
	caFiles      []string
	plain        bool
	jobs         int
	only         []string
	dryRun       bool
}

func newPush() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push BUNDLE... --to REGISTRY",
		Short: "Push bundles into a registry of the site",
		Long: `push brings every artifact of the bundles into an OCI registry under
REGISTRY/<upstream registry>/<repository>, byte for byte, and then compares every
digest with what the registry holds. What is there already is not sent again, so it
can be interrupted and run again.

Where the registry refuses an index of which only some platforms are carried, the tag
gets the platform's manifest or an index of those carried; the result lists each.`,
		Example: "  install push /media/usb --key signer.pub --to harbor.site/k8s --user robot --password-file /root/robot",
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPush(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	o.progress.Add(cmd)
	o.output.Add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.to, "to", "", "registry, host[:port][/prefix] (required)")
	fl.StringVar(&o.user, "user", "", "user to push as (default: what the Docker config has for the registry)")
	fl.StringVar(&o.passwordFile, "password-file", "", "file holding the user's password")
	fl.StringArrayVar(&o.caFiles, "ca-file", nil, "PEM file of a further certificate authority to trust (may be repeated)")
	fl.BoolVar(&o.plain, "plain-http", false, "no TLS; for a registry on a loopback address only")
	fl.IntVarP(&o.jobs, "jobs", "j", push.DefaultJobs, "concurrent uploads")
	fl.StringArrayVar(&o.only, "only", nil, "push only this reference, or all that begin with it up to a / : or @ (may be repeated)")
	fl.BoolVar(&o.dryRun, "dry-run", false, "print what would be pushed, then stop")
	cmd.MarkFlagsRequiredTogether("user", "password-file")
	return cmd
}

func runPush(ctx context.Context, o pushOptions, paths []string, stdout, stderr io.Writer) (err error) {
	if o.to == "" {
		return cli.Usagef("no registry to push to: give --to HOST[:PORT][/PREFIX]")
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts := install.PushOptions{
		Intake: o.trust.Options(paths, stderr), To: o.to, PlainHTTP: o.plain, Jobs: o.jobs, Only: o.only, DryRun: o.dryRun, Progress: obs,
		// The push retries by itself, and goes slower when the registry says so.
		Remote: remote.Options{CAFiles: o.caFiles, PerHost: o.jobs, MaxAttempts: 1, UserAgent: "naru-install/" + cli.Version()},
	}
	if o.user != "" {
		password, err := cli.ReadSecret(o.passwordFile)
		if err != nil {
			return err
		}
		host, _, _ := strings.Cut(o.to, "/")
		opts.Remote.Login = &remote.Login{Host: host, User: o.user, Password: password}
	}
	result, err := install.Push(ctx, opts)
	if err != nil {
		return err
	}
	obs.Close(nil)
	if o.dryRun {
		return o.output.Print(stdout, result.Plan, func(w io.Writer) error { return printPushPlan(w, result.Plan) })
	}
	return o.output.Print(stdout, result, func(w io.Writer) error { return printPush(w, result) })
}

func printPushPlan(w io.Writer, p *push.Plan) error {
	var rows [][]string
	for _, a := range p.Artifacts {
		target := a.Repository + ":" + a.Tag
		if a.Tag == "" {
			target = a.Repository + "@" + a.Descriptor.Digest.String()
		}
		rows = append(rows, []string{string(a.Kind), a.Ref, p.Base, target})
	}
	return cli.Table(w, []string{"KIND", "REFERENCE", "TO", "NAME"}, rows)
}

func printPush(w io.Writer, r *install.PushResult) error {
	p := r.Pushed
	rows := [][]string{
		{"artifacts", fmt.Sprintf("%d pushed, %d there already, %d under another digest", len(p.Pushed), len(p.Skipped), len(p.Mappings))},
		{"blobs", fmt.Sprintf("%d uploaded (%s), %d mounted, %d there already", p.Blobs.Uploaded, progress.Bytes(p.Blobs.Bytes), p.Blobs.Mounted, p.Blobs.Present)},
		{"compared", fmt.Sprintf("%d tags, manifests and blobs: all there", r.Check.Checked)},
	}
	for _, m := range p.Mappings {
		rows = append(rows, []string{"mapped", fmt.Sprintf("%s  %s as %s: %s", m.Ref, m.Original, m.Pushed, m.Reason)})
	}
	for _, orphan := range p.Orphans {
		rows = append(rows, []string{"referrer", fmt.Sprintf("%s of %s, which the registry does not hold: %s", orphan.Digest, orphan.Subject, orphan.Outcome)})
	}
	return cli.Table(w, []string{"registry", p.Base}, rows)
}
