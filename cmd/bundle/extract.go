package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/intake"
)

type extractOptions struct {
	trust    cli.TrustFlags
	progress cli.ProgressFlags
	output   cli.OutputFlag
	to       string
	jobs     int
}

func newExtract() *cobra.Command {
	var o extractOptions
	cmd := &cobra.Command{
		Use:   "extract BUNDLE --to DIR",
		Short: "Unpack a bundle into an OCI image layout",
		Long: `extract writes everything a bundle holds into a folder: an OCI image layout, with the
bundle's documents beside it. Every byte is
verified on the way. It can be run again into the same folder, and writes over nothing
that is not the bundle's.

crane, oras and skopeo read the layout; skopeo finds images of Docker media types in it
by digest only, and pulls them by name from install serve.`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExtract(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	o.progress.Add(cmd)
	o.output.Add(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "folder to write (required)")
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 2, "blobs written at once")
	_ = cmd.MarkFlagDirname("to")
	return cmd
}

func runExtract(ctx context.Context, o extractOptions, paths []string, stdout, stderr io.Writer) (err error) {
	if o.to == "" {
		return cli.Usagef("no folder to extract to: give --to DIR")
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	b, err := intake.Open(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	var total int64
	for _, blob := range b.Contents().Blobs {
		total += blob.Size
	}
	obs.Start("extract", total)
	if err := intake.ExtractLayout(ctx, b, o.to, intake.ExtractOptions{Jobs: o.jobs, Progress: obs.Add}); err != nil {
		return err
	}
	obs.Close(nil)
	result := map[string]any{"bundle": b.BundleDigest(), "to": o.to, "blobs": len(b.Contents().Blobs), "bytes": total}
	return o.output.Print(stdout, result, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d blobs in %s\n", len(b.Contents().Blobs), o.to)
		return err
	})
}
