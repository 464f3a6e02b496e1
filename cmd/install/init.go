package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
)

type initOptions struct {
	trust cli.TrustFlags
	out   string
}

func newInit() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init BUNDLE...",
		Short: "Write an annotated site file for a bundle",
		Long: `init writes a site file to edit: every field with what it means and its default, and
the components that the bundle carries. It is written to standard output, or to a file
that must not be there yet.`,
		Example: "  install init /media/usb --key signer.pub -o site.yaml",
		Args:    cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInit(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "file to write (default: standard output)")
	return cmd
}

func runInit(ctx context.Context, o initOptions, paths []string, stdout, stderr io.Writer) error {
	data, err := install.InitSite(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err := stdout.Write(data)
		return err
	}
	f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the site file: %w", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
