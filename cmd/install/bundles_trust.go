package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
)

type trustOptions struct {
	trust    cli.TrustFlags
	progress cli.ProgressFlags
	output   cli.OutputFlag
	site     string
}

func newBundlesTrust() *cobra.Command {
	var o trustOptions
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Carry trusted and revoked keys to the depots",
		Long: `trust brings the keys of --key and of the trust folder to the depots, those in revoked/ as
well, and restarts the depots that did not have them: they leave out the bundles that a
revoked key signed. apply and bundles add do the same; this needs no bundle.`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runBundlesTrust(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	o.progress.Add(cmd)
	o.output.Add(cmd)
	addSite(cmd, &o.site)
	return cmd
}

func runBundlesTrust(ctx context.Context, o trustOptions, stdout, stderr io.Writer) (err error) {
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	changed, err := install.CarryTrust(ctx, o.site, o.trust.Options(nil, stderr), obs)
	if err != nil {
		return err
	}
	obs.Close(nil)
	return o.output.Print(stdout, struct {
		Depots []string `json:"changed"`
	}{changed}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "depots that got keys: %d %v\n", len(changed), changed)
		return err
	})
}
