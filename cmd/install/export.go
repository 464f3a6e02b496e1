package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"naru/internal/atomicfile"
	"naru/internal/cli"
	"naru/internal/install"
	"naru/internal/intake"
	"naru/manifest"
)

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write what other tools need to use a bundle",
		Args:  cli.Args(cobra.NoArgs),
	}
	cmd.AddCommand(newExportKubespray())
	return cmd
}

type exportOptions struct {
	trust cli.TrustFlags
	site  string
	out   string
}

func newExportKubespray() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "kubespray BUNDLE...",
		Short: "Write kubespray's offline variables for a site",
		Long: `kubespray writes the variables that make kubespray take every file from the site's depot
and every image from its Harbor (from the depot where the site has none): addresses,
versions and checksums, as a file for group_vars/all of an inventory. Kubespray itself,
its image and the archives it unpacks come with the component kubespray.`,
		Example: `  install export kubespray /media/usb --key signer.pub -f site.yaml --out inventory/site/group_vars/all/naru.yml`,
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExportKubespray(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	fl := cmd.Flags()
	fl.StringVarP(&o.site, "file", "f", "", "site file")
	fl.StringVar(&o.out, "out", "", "file to write (default: standard output)")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.MarkFlagFilename("out", "yaml", "yml")
	return cmd
}

func runExportKubespray(ctx context.Context, o exportOptions, paths []string, stdout, stderr io.Writer) error {
	data, err := os.ReadFile(o.site)
	if err != nil {
		return fmt.Errorf("reading the site file: %w", err)
	}
	in := install.KubesprayInput{}
	if in.Site, err = manifest.DecodeSite(o.site, data); err != nil {
		return err
	}
	bundles, err := intake.OpenAll(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	defer intake.CloseAll(bundles)
	for _, b := range bundles {
		if err := in.Add(ctx, b); err != nil {
			return err
		}
	}
	text, err := install.Kubespray(in)
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err = stdout.Write(text)
		return err
	}
	return atomicfile.Write(o.out, text, 0o644)
}
