package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/lint"
)

type lintOptions struct {
	release, charts string
	out             cli.OutputFlag
}

func newLint() *cobra.Command {
	var o lintOptions
	cmd := &cobra.Command{
		Use:   "lint --release RELEASE",
		Short: "Look a release over without the network",
		Long: `lint looks a release over without the network: its documents, references, tags that
float, platforms, licences, what components pull and call at run time, templates of
steps, the order of components. With --charts it also renders every step out of a
folder of charts and manifests, and tells images that nobody lists, images listed that
nothing names, and custom resources that come before their kind. docs/lint.md lists the rules.

All findings come at once, each with its place. Exit code 3 says that some are errors.`,
		Example: `  bundle lint --release 2025.1
  bundle lint --release ./my-release --charts ./charts --output json`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLint(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.release, "release", "", "release to look at: an embedded one (see bundle releases list) or a folder")
	cmd.Flags().StringVar(&o.charts, "charts", "", "folder of charts and manifests to render: NAME-VERSION.tgz or NAME/, in a folder of the component's or not")
	_ = cmd.MarkFlagRequired("release")
	_ = cmd.MarkFlagDirname("charts")
	_ = cmd.RegisterFlagCompletionFunc("release", completeReleases)
	o.out.Add(cmd)
	return cmd
}

func runLint(ctx context.Context, o lintOptions, stdout io.Writer) error {
	fsys, name := releaseFS(o.release)
	report, err := lint.Run(ctx, lint.Options{Releases: fsys, Release: name, Charts: o.charts})
	if err != nil {
		return err
	}
	err = o.out.Print(stdout, report, func(w io.Writer) error {
		for _, f := range report.Findings {
			if _, err := fmt.Fprintln(w, f); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(w, "%d components: %d errors, %d warnings, %d notes", report.Components,
			report.Count(lint.Error), report.Count(lint.Warning), report.Count(lint.Note))
		if err == nil && o.charts != "" {
			_, err = fmt.Fprintf(w, "; %d steps and charts rendered with %d images, %d not in the folder", report.Rendered, report.Images, report.Missing)
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		return err
	})
	if n := report.Count(lint.Error); n > 0 && err == nil {
		return &lint.FailedError{Release: name, Errors: n}
	}
	return err
}
