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
	unscanned    bool
	to           string
	harbor       string
	state        string
	user         string
	passwordFile string
	robotFile    string
	caFiles      []string
	plain        bool
	jobs         int
	only         []string
	dryRun       bool
	packages     bool
	mutable      bool
}

func newPush() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push BUNDLE... (--to REGISTRY | --harbor URL)",
		Short: "Push bundles into a registry or Harbor of the site",
		Long: `push brings every artifact of the bundles into an OCI registry under
REGISTRY/<upstream registry>/<repository>, byte for byte, and then compares every
digest with what the registry holds. What is there already is not sent again, so it
can be interrupted and run again.

Where the registry refuses an index of which only some platforms are carried, the tag
gets the platform's manifest or an index of those carried; the result lists each.

With --harbor a private project is made for every upstream registry and one, naru, for
charts and files; the quota and immutable tags are looked at before anything is sent;
every digest of the lock is compared afterwards, tags are made immutable (not those of
cosign and of databases), and a report signed with the site's key is left below --state.
OS packages are left to the depot unless --with-packages asks for them.`,
		Example: `  install push /media/usb --key signer.pub --harbor https://harbor.site --user admin --password-file /root/harbor
  install push /media/usb --key signer.pub --to registry.site/k8s --user robot --password-file /root/robot`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPush(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	o.progress.Add(cmd)
	o.output.Add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&o.unscanned, "allow-unscanned", false, "take a bundle that was built without a scan")
	fl.StringVar(&o.to, "to", "", "registry, host[:port][/prefix]")
	fl.StringVar(&o.harbor, "harbor", "", "Harbor, https://host[:port]")
	fl.StringVar(&o.state, "state", install.DefaultState, "folder for the site key, the journal and reports (with --harbor)")
	fl.BoolVar(&o.packages, "with-packages", false, "push OS packages too (with --harbor)")
	fl.BoolVar(&o.mutable, "mutable-tags", false, "do not make tags immutable (with --harbor)")
	fl.StringVar(&o.user, "user", "", "user to push as (default: what the Docker config has for the registry)")
	fl.StringVar(&o.passwordFile, "password-file", "", "file holding the user's password")
	fl.StringVar(&o.robotFile, "robot-file", "", "file with a robot's login that naru wrote, in place of user and password (with --harbor)")
	fl.StringArrayVar(&o.caFiles, "ca-file", nil, "PEM file of a further certificate authority to trust (may be repeated)")
	fl.BoolVar(&o.plain, "plain-http", false, "no TLS; for a registry on a loopback address only")
	fl.IntVarP(&o.jobs, "jobs", "j", push.DefaultJobs, "concurrent uploads")
	fl.StringArrayVar(&o.only, "only", nil, "push only this reference, or all that begin with it up to a / : or @ (may be repeated)")
	fl.BoolVar(&o.dryRun, "dry-run", false, "print what would be pushed, then stop")
	cmd.MarkFlagsRequiredTogether("user", "password-file")
	cmd.MarkFlagsMutuallyExclusive("to", "harbor")
	for _, name := range []string{"with-packages", "mutable-tags", "state", "robot-file"} {
		cmd.MarkFlagsMutuallyExclusive("to", name)
	}
	cmd.MarkFlagsMutuallyExclusive("harbor", "plain-http")
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

func runPush(ctx context.Context, o pushOptions, paths []string, stdout, stderr io.Writer) (err error) {
	if o.harbor != "" {
		return runPushHarbor(ctx, o, paths, stdout, stderr)
	}
	if o.to == "" {
		return cli.Usagef("no registry to push to: give --harbor https://HOST, or --to HOST[:PORT][/PREFIX]")
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts := install.PushOptions{
		AllowUnscanned: o.unscanned,
		Intake:         o.trust.Options(paths, stderr), To: o.to, PlainHTTP: o.plain, Jobs: o.jobs, Only: o.only, DryRun: o.dryRun, Progress: obs,
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

// mappingRows lists what stands under another digest; signatures beside those of others
// are counted, as there may be one of every image.
func mappingRows(list []push.Mapping) (rows [][]string) {
	joined := 0
	for _, m := range list {
		if m.Reason == push.ReasonJoined {
			joined++
			continue
		}
		rows = append(rows, []string{"mapped", fmt.Sprintf("%s  %s as %s: %s", m.Ref, m.Original, m.Pushed, m.Reason)})
	}
	if joined > 0 {
		rows = append(rows, []string{"signatures", fmt.Sprintf("%d beside those of other keys, which stay under their tags", joined)})
	}
	return rows
}

func printPush(w io.Writer, r *install.PushResult) error {
	p := r.Pushed
	rows := [][]string{
		{"artifacts", fmt.Sprintf("%d pushed, %d there already, %d under another digest", len(p.Pushed), len(p.Skipped), len(p.Mappings))},
		{"blobs", fmt.Sprintf("%d uploaded (%s), %d mounted, %d there already", p.Blobs.Uploaded, progress.Bytes(p.Blobs.Bytes), p.Blobs.Mounted, p.Blobs.Present)},
		{"compared", fmt.Sprintf("%d tags, manifests and blobs: all there", r.Check.Checked)},
	}
	rows = append(rows, mappingRows(p.Mappings)...)
	for _, orphan := range p.Orphans {
		rows = append(rows, []string{"referrer", fmt.Sprintf("%s of %s, which the registry does not hold: %s", orphan.Digest, orphan.Subject, orphan.Outcome)})
	}
	return cli.Table(w, []string{"registry", p.Base}, rows)
}
