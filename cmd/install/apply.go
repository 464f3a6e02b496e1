package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/phase"
)

// siteFlags are those of commands that work on a site with bundles.
type siteFlags struct {
	trust     cli.TrustFlags
	progress  cli.ProgressFlags
	output    cli.OutputFlag
	site      string
	state     string
	sel       phase.Selection
	unscanned bool
	jobs      int
}

func (f *siteFlags) add(cmd *cobra.Command) {
	f.trust.Add(cmd, trustDir)
	f.progress.Add(cmd)
	f.output.Add(cmd)
	addSite(cmd, &f.site)
	fl := cmd.Flags()
	fl.StringVar(&f.state, "state", install.DefaultState, "folder of this machine for the site key, the journal, reports and what was verified")
	fl.BoolVar(&f.unscanned, "allow-unscanned", false, "take a bundle that was built without a scan, as allowUnscanned of the site file")
	fl.IntVarP(&f.jobs, "jobs", "j", 16, "hosts that a phase works on at a time; with 1 phases follow each other as well")
	_ = cmd.MarkFlagDirname("state")
}

func (f *siteFlags) addPhases(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.sel.From, "from", "", "start at this phase")
	fl.StringSliceVar(&f.sel.Only, "only", nil, "only these phases")
	fl.StringSliceVar(&f.sel.Skip, "skip", nil, "leave these phases out")
	for _, name := range []string{"from", "only", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(phaseNames(), cobra.ShellCompDirectiveNoFileComp))
	}
}

func addSite(cmd *cobra.Command, site *string) {
	cmd.Flags().StringVarP(site, "file", "f", "", "site file; without one this host alone is the site")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
}

func phaseNames() []string {
	var names []string
	for _, p := range install.Phases() {
		names = append(names, p.Name)
	}
	return names
}

func newApply() *cobra.Command {
	var f siteFlags
	cmd := &cobra.Command{
		Use:   "apply BUNDLE...",
		Short: "Bring the site's hosts to what the site file and the bundles say",
		Long: `apply takes bare hosts to a working cluster, from the bundles alone, and can be run
again at any time: after it was interrupted, after the site file was edited (hosts
added or removed), or with a newer bundle. What holds already is left alone.

Nothing on any host is changed before the bundles were verified and preflight found
nothing that stands in the way. Without a site file this host alone becomes a cluster
of one node. install init writes a site file; docs/site.md describes it.

The phases, in order:

` + phaseList(),
		Example: `  install apply /media/usb --key signer.pub -f site.yaml
  install apply /media/usb --key signer.pub
  install apply /media/usb -f site.yaml --from containerd`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runApply(cmd.Context(), f, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	f.addPhases(cmd)
	return cmd
}

func phaseList() string {
	out := ""
	for _, p := range install.Phases() {
		out += fmt.Sprintf("  %-18s %s\n", p.Name, p.Title)
	}
	return out
}

func runApply(ctx context.Context, f siteFlags, paths []string, stdout, stderr io.Writer) (err error) {
	obs := f.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	r, err := install.Apply(ctx, install.ApplyOptions{Intake: f.trust.Options(paths, stderr), SiteFile: f.site, Select: f.sel, AllowUnscanned: f.unscanned, StateDir: f.state, Jobs: f.jobs, Progress: obs})
	if err != nil {
		return err
	}
	obs.Close(nil)
	return f.output.Print(stdout, r, func(w io.Writer) error { return printApply(w, r) })
}

func printApply(w io.Writer, r *install.ApplyResult) error {
	verdict := fmt.Sprintf("%d changes, after %d checks", r.Changed, r.Checks)
	if r.Changed == 0 {
		verdict = fmt.Sprintf("nothing to do: all %d checks hold", r.Checks)
	}
	rows := [][]string{{"result", verdict}, {"time", fmt.Sprintf("%.1f s", r.Seconds)}}
	for _, p := range r.Phases {
		rows = append(rows, []string{"  " + p.Name, fmt.Sprintf("%.1f s, %d changes", p.Seconds, p.Changed)})
	}
	return cli.Table(w, []string{"cluster", r.Cluster}, rows)
}

// siteCommands are the commands that work on the hosts of a site.
func siteCommands() []*cobra.Command {
	return []*cobra.Command{newInit(), newPlan(), newApply(), newStatus(), newReset(), newLogs(), newBundles(), newSealed()}
}
