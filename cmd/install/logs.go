package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
)

type logsOptions struct {
	progress cli.ProgressFlags
	site     string
	out      string
	lines    int
	pods     bool
}

func newLogs() *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Gather what explains a site's state into an archive",
		Long: `logs writes an archive of journals, containers, events and configuration of every
host, to be carried out. Keys and tokens are not in it. What pods printed may hold
anything, so it is left out unless --pods asks for the ends of it: read it first then.`,
		Example: "  install logs -f site.yaml -o support.tar.gz",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLogs(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.progress.Add(cmd)
	addSite(cmd, &o.site)
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "file to write (default: naru-logs-<date>.tar.gz)")
	cmd.Flags().IntVar(&o.lines, "lines", 2000, "lines of each journal")
	cmd.Flags().BoolVar(&o.pods, "pods", false, "with the last lines that pods printed, whatever is in them")
	return cmd
}

func runLogs(ctx context.Context, o logsOptions, stdout, stderr io.Writer) (err error) {
	if o.out == "" {
		o.out = "naru-logs-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	err = install.CollectLogs(ctx, f, install.LogsOptions{SiteFile: o.site, Lines: o.lines, Pods: o.pods, Progress: obs})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	obs.Close(nil)
	_, err = fmt.Fprintln(stdout, o.out)
	return err
}
