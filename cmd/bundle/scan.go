package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"naru/internal/atomicfile"
	"naru/internal/cache"
	"naru/internal/cli"
	"naru/internal/intake"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/mirror/store"
	"naru/pkg/scan"
)

type scanOptions struct {
	trust    cli.TrustFlags
	progress cli.ProgressFlags
	output   cli.OutputFlag
	scan     scanFlags
	cache    string
	report   string
	jobs     int
}

func newScan() *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan BUNDLE...",
		Short: "Scan and judge an existing bundle again",
		Long: `scan looks through what a bundle carries with a newer database, or under another
policy, on either side of the gap. It reads the volumes as they are, every byte verified on
the way, and asks no network: the database is an OCI layout in a folder or tar, or the one
that the bundle carries.

The bundle is left as it is. The verdict is that of today: exceptions that have expired
since it was built count no more.`,
		Example: `  bundle scan bundles/demo --key cosign.pub --db trivy-db.tar --policy policy.yaml
  bundle scan /media/usb --key signer.pub --output json`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runScan(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, "")
	o.progress.Add(cmd)
	o.output.Add(cmd)
	o.scan.add(cmd, "OCI layout in a folder or tar (default: what the bundle carries)")
	cmd.Flags().StringVar(&o.cache, "cache", "", "folder for what was found in layers (default: naru/scan in the user's cache folder)")
	cmd.Flags().StringVar(&o.report, "report", "", "folder to write the report and SBOMs into")
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 0, "layers looked through at once (default: one a processor)")
	_ = cmd.MarkFlagDirname("cache")
	_ = cmd.MarkFlagDirname("report")
	return cmd
}

func runScan(ctx context.Context, o scanOptions, paths []string, stdout, stderr io.Writer) (err error) {
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	flags, err := o.scan.options()
	if err != nil {
		return err
	}
	if o.cache == "" {
		dir, err := cacheDir("")
		if err != nil {
			return err
		}
		o.cache = cache.ScanDir(dir)
	}
	held, err := store.Hold(o.cache) // so that bundle cache prune leaves it alone
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	debug.SetMemoryLimit(scanMemoryLimit)
	b, err := intake.Open(ctx, o.trust.Options(paths, stderr))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	specs, err := b.Specs(ctx)
	if err != nil {
		return err
	}
	opts := survey.Options{Blobs: b, Index: b.Index(), Specs: specs, Scanner: flags.Scanner, CacheDir: o.cache, Jobs: cmp.Or(o.jobs, runtime.NumCPU()),
		OnBlob: func(_ digest.Digest, size int64) { obs.Add(size) }, Policy: flags.Policy, VEX: flags.VEX, At: time.Now(), SPDX: flags.SPDX, Name: b.Bundle().Release}
	if err := o.databases(ctx, b, &opts); err != nil {
		return err
	}
	obs.Start("scan", 0)
	s, err := survey.Run(ctx, opts)
	if err != nil {
		return err
	}
	if err := o.write(s); err != nil {
		return err
	}
	obs.Close(nil)
	if err := o.output.Print(stdout, s.Report, func(w io.Writer) error { return printScan(w, s.Report) }); err != nil {
		return err
	}
	return s.Check()
}

// databases opens those that the flags name, or that the bundle carries.
func (o *scanOptions) databases(ctx context.Context, b *intake.Bundle, opts *survey.Options) (err error) {
	if opts.Database, opts.Java, err = survey.Carried(ctx, b, b.Index(), o.cache); err != nil {
		return err
	}
	if o.scan.database != "" {
		if opts.Database, err = survey.FromLayout(ctx, o.scan.database, manifest.DatabaseVulnerability, o.cache); err != nil {
			return err
		}
	}
	switch o.scan.java {
	case "":
	case "none":
		opts.Java = nil
	default:
		if opts.Java, err = survey.FromLayout(ctx, o.scan.java, manifest.DatabaseJava, o.cache); err != nil {
			return err
		}
	}
	if opts.Database == nil {
		return &survey.NoDatabaseError{Where: "the bundle"}
	}
	return nil
}

// write puts the report and the SBOMs into the folder that was asked for.
func (o *scanOptions) write(s *survey.Survey) error {
	if o.report == "" {
		return nil
	}
	var errs []error
	for _, f := range s.Files {
		path := filepath.Join(o.report, filepath.FromSlash(f.Name))
		errs = append(errs, os.MkdirAll(filepath.Dir(path), 0o755), atomicfile.Write(path, f.Data, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func printScan(w io.Writer, r *manifest.ScanReport) error {
	t := r.Totals
	counts := func(c manifest.SeverityCounts) string {
		return fmt.Sprintf("%d critical, %d high, %d medium, %d low, %d unknown", c.Critical, c.High, c.Medium, c.Low, c.Unknown)
	}
	rows := [][]string{
		{"scanner", r.Scanner},
		{"artifacts", fmt.Sprintf("%d with %d packages", t.Artifacts, t.Packages)},
		{"open", counts(t.Open)},
		{"accepted", counts(t.Accepted)},
		{"not affected", counts(t.NotAffected)},
		{"misconfigured", counts(t.Misconfigurations)},
		{"secrets", counts(t.Secrets)},
	}
	for _, db := range r.Databases {
		rows = append(rows, []string{"database", fmt.Sprintf("%s of %s, %s", db.Name, db.Updated, db.Digest)})
	}
	for _, e := range r.Exceptions {
		rows = append(rows, []string{"exception", fmt.Sprintf("%s of %s until %s by %s: %s", e.ID, e.Artifact, e.Expires, e.Approver, e.State)})
	}
	for _, warning := range r.Warnings {
		rows = append(rows, []string{"warning", warning})
	}
	return cli.Table(w, []string{"verdict", string(r.Verdict)}, rows)
}

var _ scan.Blobs = (*intake.Bundle)(nil)
