package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/pkg/harbor"
)

type harborRotateOptions struct {
	harbor  harborFlags
	output  cli.OutputFlag
	site    string
	state   string
	days    int64
	roles   []string
	certs   string
	keepOld bool
}

func newHarborRotate() *cobra.Command {
	var o harborRotateOptions
	cmd := &cobra.Command{
		Use:   "rotate --harbor URL",
		Short: "Replace robots without a time in which none works",
		Long: `rotate makes a new robot for each role, logs in with it, hands it out, and only then
removes the old one. Cut short anywhere it leaves a login that works, and the next run
removes what is left over. Robots of other sites in the same Harbor are not touched.

The login goes to STATE/harbor/robots/<role>.json. With --certs-dir the mirrors of
containerd on this host that hold the old pull robot's login are given the new one too;
with --keep-old the old robots stay until a later run, for hosts that get it later.`,
		Example: `  install harbor rotate --harbor https://harbor.site --user admin --password-file /root/harbor
  install harbor rotate --role pull --certs-dir /etc/containerd/certs.d --keep-old --harbor ...`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runHarborRotate(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.harbor.Add(cmd)
	o.output.Add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.site, "site", "", siteUsage)
	fl.StringVar(&o.state, "state", install.DefaultState, "folder for the site key, the journal and robots' logins")
	fl.Int64Var(&o.days, "robot-days", 365, "days that a new robot lives; -1 for ever")
	fl.StringSliceVar(&o.roles, "role", nil, "role to rotate: seed, pull or replicate (default: all)")
	fl.StringVar(&o.certs, "certs-dir", "", "folder of containerd's mirrors on this host to give the new pull robot to")
	fl.BoolVar(&o.keepOld, "keep-old", false, "leave the old robots")
	_ = cmd.MarkFlagDirname("state")
	_ = cmd.MarkFlagDirname("certs-dir")
	return cmd
}

func runHarborRotate(ctx context.Context, o harborRotateOptions, stdout io.Writer) error {
	login, err := o.harbor.login()
	if err != nil {
		return err
	}
	roles := harbor.Roles()
	if len(o.roles) > 0 {
		roles = nil
		for _, name := range o.roles {
			if !slices.Contains(harbor.Roles(), harbor.Role(name)) {
				return cli.Usagef("no role %q: want seed, pull or replicate", name)
			}
			roles = append(roles, harbor.Role(name))
		}
	}
	if err := checkSite(o.site); err != nil {
		return err
	}
	opts := install.RobotsOptions{Harbor: login, Site: o.site, State: o.state, Roles: roles, Days: o.days, KeepOld: o.keepOld}
	if o.certs != "" {
		opts.HandOut = install.HandOutTo(o.certs)
	}
	done, err := install.RotateRobots(ctx, opts)
	if err != nil {
		return err
	}
	return o.output.Print(stdout, done, func(w io.Writer) error {
		return cli.Table(w, []string{"harbor", strings.TrimSuffix(o.harbor.url, "/")}, robotRows(done))
	})
}
