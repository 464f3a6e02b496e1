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

type harborSetupOptions struct {
	harbor harborFlags
	output cli.OutputFlag
	site   string
	state  string
	days   int64
	gc     string
	scan   string
	keep   int
	unused int
	every  bool
}

func newHarborSetup() *cobra.Command {
	var o harborSetupOptions
	cmd := &cobra.Command{
		Use:   "setup --harbor URL",
		Short: "Give Harbor the settings and robots that a closed site needs",
		Long: `setup lets only administrators make projects, makes a robot each for seeding, for the
nodes' pulls and for replication, schedules garbage collection and scans, and with --keep
gives a retention policy to the projects that bundles are pushed into: those named for an
upstream registry, and naru. What is so already stays; a retention policy that is there is
never changed, and projects of others get none without --keep-in-all. Robots bear the name of their site:
several sites may share a Harbor.

A robot's login is written to STATE/harbor/robots/<role>.json, which only root reads,
and is shown nowhere.`,
		Example: "  install harbor setup --harbor https://harbor.site --user admin --password-file /root/harbor",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runHarborSetup(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	o.harbor.Add(cmd)
	o.output.Add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.site, "site", "", siteUsage)
	fl.StringVar(&o.state, "state", install.DefaultState, "folder for the site key, the journal and robots' logins")
	fl.Int64Var(&o.days, "robot-days", 365, "days that a new robot lives; -1 for ever")
	fl.StringVar(&o.gc, "gc", "0 0 2 * * 6", "when garbage is collected: six cron fields, seconds first; empty to leave that alone")
	fl.StringVar(&o.scan, "scan", "0 0 4 * * *", "when everything is scanned; empty to leave that alone")
	fl.IntVar(&o.keep, "keep", 0, "artifacts last pushed that each repository keeps; 0 keeps all")
	fl.IntVar(&o.unused, "keep-pulled-days", 90, "with --keep, days for which what was pulled stays in addition; 0 for no such rule")
	fl.BoolVar(&o.every, "keep-in-all", false, "with --keep, in the projects of others too, whoever pushes there: what is not kept is gone for good")
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

// siteUsage is that of --site.
const siteUsage = "name of the site whose robots these are, as in its site file (default: that of the logins in STATE; without any, a name made of the site key there)"

func checkSite(name string) error {
	if name != "" && !harbor.ValidSite(name) {
		return cli.Usagef("--site %q: want lower-case letters, digits and -, at most 63", name)
	}
	return nil
}

func runHarborSetup(ctx context.Context, o harborSetupOptions, stdout io.Writer) error {
	login, err := o.harbor.login()
	if err != nil {
		return err
	}
	if err := checkSite(o.site); err != nil {
		return err
	}
	if o.every && o.keep <= 0 {
		return cli.Usagef("--keep-in-all says where --keep holds: give both")
	}
	done, err := install.SetUpHarbor(ctx, install.HarborSetup{
		Robots: install.RobotsOptions{Harbor: login, Site: o.site, State: o.state, Roles: harbor.Roles(), Days: o.days},
		GC:     o.gc, Scan: o.scan, Retention: harbor.Retention{Keep: o.keep, Days: o.unused, Cron: "0 0 3 * * 0"}, RetainAll: o.every,
	})
	if err != nil {
		return err
	}
	return o.output.Print(stdout, done, func(w io.Writer) error { return printHarborSetup(w, o.harbor.url, done) })
}

func printHarborSetup(w io.Writer, url string, done *install.HarborChanges) error {
	changed := func(b bool) string {
		if b {
			return "changed"
		}
		return "as wanted already"
	}
	rows := [][]string{{"only administrators make projects", changed(done.Restricted)}}
	rows = append(rows, robotRows(done.Robots)...)
	rows = append(rows, []string{"garbage collection", changed(done.GC)})
	if done.NoScanner {
		rows = append(rows, []string{"scans", "Harbor has no scanner"})
	} else {
		rows = append(rows, []string{"scans", changed(done.Scan)})
	}
	if len(done.Retention) > 0 {
		rows = append(rows, []string{"retention", "given to " + strings.Join(done.Retention, " ")})
	}
	return cli.Table(w, []string{"harbor", url + " " + done.Version}, rows)
}

func robotRows(list []install.RobotChange) [][]string {
	var rows [][]string
	for _, r := range list {
		text := r.Robot + ", there already"
		if r.Made {
			text = r.Robot + ", made, login in " + r.File
		}
		if len(r.Removed) > 0 {
			text += fmt.Sprintf(", removed %s", strings.Join(r.Removed, " "))
		}
		if len(r.Left) > 0 {
			text += fmt.Sprintf(", left %s", strings.Join(r.Left, " "))
		}
		if len(r.Strange) > 0 {
			text += fmt.Sprintf(", left %s whose login was not here: rotate removes it, unless another site bears this name", strings.Join(r.Strange, " "))
		}
		rows = append(rows, []string{"robot for " + string(r.Role), text})
	}
	return rows
}
