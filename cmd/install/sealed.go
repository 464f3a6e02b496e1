package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
)

func newSealed() *cobra.Command {
	var f siteFlags
	cmd := &cobra.Command{
		Use:   "sealed BUNDLE...",
		Short: "Check that nothing of a running cluster leads out of the site",
		Long: `sealed looks at every object of the cluster: each image must be in a bundle, and each
other address must be the site's, the cluster's, or on the list of a component. On every
node it tries a pull of something that is not carried, which has to fail at once.`,
		Example: "  install sealed /media/usb --key signer.pub -f site.yaml",
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSealed(cmd.Context(), f, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	return cmd
}

func runSealed(ctx context.Context, f siteFlags, paths []string, stdout, stderr io.Writer) (err error) {
	obs := f.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	r, err := install.Sealed(ctx, install.ApplyOptions{Intake: f.trust.Options(paths, stderr), SiteFile: f.site, AllowUnscanned: f.unscanned, StateDir: f.state, Progress: obs})
	if err != nil {
		return err
	}
	obs.Close(nil)
	return f.output.Print(stdout, r, func(w io.Writer) error {
		return cli.Table(w, []string{"sealed", "nothing leads out of the site"}, [][]string{
			{"looked at", fmt.Sprintf("%d objects, %d images, %d addresses", r.Objects, r.Images, r.URLs)},
			{"pulls", fmt.Sprintf("refused at once on %d nodes", len(r.Pulls))},
		})
	})
}
