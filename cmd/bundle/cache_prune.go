package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"naru/internal/cache"
	"naru/internal/cli"
	"naru/internal/progress"
	"naru/manifest"
)

type cachePruneOptions struct {
	dir    string
	locks  []string
	older  cli.AgeFlag
	all    bool
	dryRun bool
	output cli.OutputFlag
}

func newCachePrune() *cobra.Command {
	var o cachePruneOptions
	cmd := &cobra.Command{
		Use:   "prune (--keep-lock FILE | --older-than AGE | --all)",
		Short: "Remove from the cache what is no longer wanted",
		Long: `prune frees the disk of the build host. Say what stays: what the bundles of given locks
are built of (the lock lies beside each bundle; its folder does as well), what was fetched
or used in a given time, or both; --all keeps nothing. Of the scanner's databases those
stay that a reference named last, unless that was longer ago.

prune needs the cache for itself: while a build or a scan uses it nothing is removed and
the exit code is 23. A manifest that is to stay and is damaged is removed alone, with exit
code 5: what belongs to it is known again after the next build. No bundle is touched, and
what is removed and wanted again is fetched again.`,
		Example: `  bundle cache prune --older-than 90d --dry-run
  bundle cache prune --keep-lock bundles/2025.2/lock.yaml --keep-lock bundles/2025.1
  bundle cache prune --all`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCachePrune(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	addCache(cmd, &o.dir)
	fl := cmd.Flags()
	fl.StringArrayVar(&o.locks, "keep-lock", nil, "lock, or folder of a bundle with its lock, whose content stays (may be repeated)")
	fl.Var(&o.older, "older-than", "what was fetched or used in this time stays: days, weeks or hours, as in 30d, 2w or 36h")
	fl.BoolVar(&o.all, "all", false, "keep nothing")
	fl.BoolVar(&o.dryRun, "dry-run", false, "say what would be removed, then stop; builds may be at work")
	o.output.Add(cmd)
	cmd.MarkFlagsOneRequired("keep-lock", "older-than", "all")
	cmd.MarkFlagsMutuallyExclusive("all", "keep-lock")
	cmd.MarkFlagsMutuallyExclusive("all", "older-than")
	_ = cmd.MarkFlagFilename("keep-lock", "yaml", "yml")
	_ = cmd.RegisterFlagCompletionFunc("older-than", cobra.FixedCompletions([]string{"30d", "90d", "180d", "365d"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runCachePrune(ctx context.Context, o cachePruneOptions, stdout io.Writer) error {
	dir, err := cacheDir(o.dir)
	if err != nil {
		return err
	}
	if !o.all && len(o.locks) == 0 && o.older.Duration == 0 {
		return cli.Usagef("nothing says what stays: give --keep-lock or --older-than, or --all")
	}
	opts := cache.PruneOptions{Dir: dir, OlderThan: o.older.Duration, Now: time.Now(), All: o.all}
	for _, path := range o.locks {
		lock, err := readKept(path)
		if err != nil {
			return err
		}
		opts.Locks = append(opts.Locks, lock)
	}
	result, err := cache.Prune(ctx, opts, o.dryRun)
	if err != nil {
		return err
	}
	return o.output.Print(stdout, result, func(w io.Writer) error { return printCachePrune(w, result) })
}

// readKept reads a lock, or the one in the folder of a bundle.
func readKept(path string) (*manifest.Lock, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "lock.yaml")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the lock to keep: %w", err)
	}
	return manifest.DecodeLock(path, data)
}

func printCachePrune(w io.Writer, r *cache.PruneResult) error {
	removed, freed := "removed", "freed"
	if r.DryRun {
		removed, freed = "would be removed", "would be freed"
	}
	rows := contentRows(r.Removed)
	for i, kept := range contentRows(r.Kept) {
		rows[i] = append(rows[i], kept[1:]...)
	}
	rows = append(rows, []string{freed, progress.Bytes(r.Freed), "", "of " + progress.Bytes(r.Freed+r.Kept.Bytes())})
	return cli.Table(w, []string{r.Cache, removed, "", "kept"}, rows)
}
