package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/progress"
)

func newBundles() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundles",
		Short: "List, add and remove bundles on a site's depots",
	}
	cmd.AddCommand(newBundlesList(), newBundlesAdd(), newBundlesPrune(), newBundlesTrust())
	return cmd
}

func newBundlesList() *cobra.Command {
	var site string
	var output cli.OutputFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bundles that the depots serve",
		Args:  cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := install.ListBundles(cmd.Context(), site)
			if err != nil {
				return err
			}
			return printBundles(cmd.OutOrStdout(), &output, list)
		},
	}
	addSite(cmd, &site)
	output.Add(cmd)
	return cmd
}

func newBundlesAdd() *cobra.Command {
	var f siteFlags
	cmd := &cobra.Command{
		Use:   "add BUNDLE...",
		Short: "Carry bundles to the depots and serve them, installing nothing",
		Args:  cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBundlesAdd(cmd.Context(), f, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	return cmd
}

func runBundlesAdd(ctx context.Context, f siteFlags, paths []string, stdout, stderr io.Writer) (err error) {
	obs := f.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	list, err := install.AddBundles(ctx, install.ApplyOptions{Intake: f.trust.Options(paths, stderr), SiteFile: f.site, AllowUnscanned: f.unscanned, StateDir: f.state, Progress: obs})
	if err != nil {
		return err
	}
	obs.Close(nil)
	return printBundles(stdout, &f.output, list)
}

func newBundlesPrune() *cobra.Command {
	var site string
	var output cli.OutputFlag
	cmd := &cobra.Command{
		Use:   "prune [DIGEST...]",
		Short: "Remove bundles from the depots: those named, else all that are not in use",
		Long: `prune frees the depots' disks. In use are the bundles that were applied last, and the
newest on each depot; naming one of them is an error. Nodes and Harbor hold copies of
what they run; what a removed bundle alone carried can no longer be pulled from the depot.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := install.PruneBundles(cmd.Context(), site, args)
			if err != nil {
				return err
			}
			return printBundles(cmd.OutOrStdout(), &output, list)
		},
	}
	addSite(cmd, &site)
	output.Add(cmd)
	return cmd
}

func printBundles(w io.Writer, output *cli.OutputFlag, list []install.DepotBundle) error {
	return output.Print(w, list, func(w io.Writer) error {
		var rows [][]string
		for _, b := range list {
			rows = append(rows, []string{b.Host, b.Bundle, progress.Bytes(b.Bytes), b.Carried, b.NotServed})
		}
		return cli.Table(w, []string{"DEPOT", "BUNDLE", "SIZE", "CARRIED", "NOT SERVED"}, rows)
	})
}
