package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/pkg/harbor"
)

type replicateOptions struct {
	harbor   harborFlags
	progress cli.ProgressFlags
	output   cli.OutputFlag
	state    string
	sites    []string
	target   install.TargetSite
	password string
	pull     bool
	onPush   bool
	cron     string
	policy   harbor.Policy
	setUp    bool
}

func newReplicate() *cobra.Command {
	var o replicateOptions
	cmd := &cobra.Command{
		Use:   "replicate --to NAME --harbor URL",
		Short: "Replicate a Harbor to the Harbors of further sites",
		Long: `replicate tells a Harbor of another site, with --target-url, and makes a policy for it;
then, and each time it is run with the site's name alone, it runs the policy and waits
until every task has ended. Failures are listed by artifact with the end of their log.
Several sites are replicated to one after the other; one that fails does not keep the
others from it.

Names stay as they are, projects are made there, and signatures and the like come
along. What the other site has is not copied again. The target's user should be the
replication robot that install harbor setup made there.

Harbor verifies the other site's certificate. Harbor 2.14 has no field for its
authority: one of the site's own has to be in the bundle that Harbor itself trusts
(caBundleSecretName of the chart).`,
		Example: `  install replicate --to busan --target-url https://harbor.busan --target-user 'robot$naru-busan-replicate-1' \
      --target-password-file /root/busan --on-push --harbor https://harbor.site --user admin --password-file /root/harbor
  install replicate --to busan --to daejeon --harbor https://harbor.site --user admin --password-file /root/harbor`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runReplicate(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.harbor.Add(cmd)
	o.progress.Add(cmd)
	o.output.Add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.state, "state", install.DefaultState, "folder for the site key and the journal")
	fl.StringArrayVar(&o.sites, "to", nil, "name of a site (required, may be repeated)")
	fl.StringVar(&o.target.URL, "target-url", "", "address of the site's Harbor, to make or change endpoint and policy")
	fl.StringVar(&o.target.User, "target-user", "", "user or robot there")
	fl.StringVar(&o.password, "target-password-file", "", "file holding its password or secret")
	fl.StringVar(&o.target.Kind, "target-kind", harbor.KindHarbor, "harbor, or docker-registry for a plain one")
	fl.BoolVar(&o.pull, "pull", false, "pull from the site instead of pushing to it")
	fl.BoolVar(&o.onPush, "on-push", false, "replicate whatever is pushed, as it is pushed")
	fl.StringVar(&o.cron, "schedule", "", "replicate by time: six cron fields, seconds first, of which Harbor wants the first two as numbers: '0 30 2 * * *'")
	fl.StringVar(&o.policy.Repositories, "repositories", "", "only repositories that match, as in '{docker.io,quay.io}/**'")
	fl.StringVar(&o.policy.Tags, "tags", "", "only tags that match, as in 'v1.*'")
	fl.Int32Var(&o.policy.KBPerSecond, "kb-per-second", 0, "bound for each transfer; 0 for none")
	fl.BoolVar(&o.policy.Chunked, "chunked", false, "copy large layers in pieces, for lines that break off")
	fl.BoolVar(&o.setUp, "set-up-only", false, "make endpoint and policy, and run nothing")
	cmd.MarkFlagsRequiredTogether("target-url", "target-user", "target-password-file")
	cmd.MarkFlagsMutuallyExclusive("on-push", "schedule")
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

func runReplicate(ctx context.Context, o replicateOptions, stdout, stderr io.Writer) (err error) {
	opts, err := o.options()
	if err != nil {
		return err
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts.Progress = obs
	done, err := install.Replicate(ctx, opts)
	if err != nil {
		return err
	}
	obs.Close(nil)
	return o.output.Print(stdout, done, func(w io.Writer) error { return printReplicated(w, done) })
}

// options checks what goes together, and reads the passwords.
func (o replicateOptions) options() (opts install.ReplicateOptions, err error) {
	settings := o.pull || o.onPush || o.setUp || o.cron != "" || o.policy != harbor.Policy{}
	switch {
	case len(o.sites) == 0:
		return opts, cli.Usagef("no site to replicate to: give --to NAME")
	case o.target.URL == "" && settings:
		return opts, cli.Usagef("what and when to replicate is set together with --target-url")
	case o.target.URL != "" && len(o.sites) > 1:
		return opts, cli.Usagef("one --target-url is one site: give one --to")
	case o.target.Kind != harbor.KindHarbor && o.target.Kind != harbor.KindRegistry:
		return opts, cli.Usagef("--target-kind is %s or %s, not %q", harbor.KindHarbor, harbor.KindRegistry, o.target.Kind)
	}
	opts = install.ReplicateOptions{State: o.state, Sites: o.sites, Policy: o.policy, SetUpOnly: o.setUp}
	if opts.Harbor, err = o.harbor.login(); err != nil {
		return opts, err
	}
	if o.target.URL == "" {
		return opts, nil
	}
	opts.Target = &o.target
	if opts.Target.Password, err = cli.ReadSecret(o.password); err != nil {
		return opts, err
	}
	opts.Policy.Direction, opts.Policy.Trigger, opts.Policy.Cron = harbor.Push, harbor.TriggerManual, o.cron
	if o.pull {
		opts.Policy.Direction = harbor.Pull
	}
	switch {
	case o.onPush:
		opts.Policy.Trigger = harbor.TriggerEvent
	case o.cron != "":
		opts.Policy.Trigger = harbor.TriggerSchedule
	}
	return opts, nil
}

func printReplicated(w io.Writer, list []install.Replicated) error {
	var rows [][]string
	for _, r := range list {
		policy := r.Policy.Name + ", " + strings.ReplaceAll(string(r.Policy.Trigger), "_", " ")
		run := "not run"
		if r.Run != nil {
			run = fmt.Sprintf("%d of %d tasks done", r.Run.Succeed, r.Run.Tasks)
		}
		rows = append(rows, []string{r.Site, r.Policy.Endpoint.URL, policy, run})
	}
	return cli.Table(w, []string{"SITE", "ADDRESS", "POLICY", "RUN"}, rows)
}
