package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"naru/internal/cache"
	"naru/internal/cli"
	"naru/internal/progress"
	"naru/pkg/mirror/store"
)

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look at, prune and verify the cache of builds",
		Long: `The cache holds everything that builds fetched, under its digest, what it is packed as,
and what scans found in it. It grows with every release: nothing leaves it by itself.
No bundle needs it; what is missing from it is fetched again.`,
		Args: cli.Args(cobra.NoArgs),
	}
	cmd.AddCommand(newCacheInfo(), newCachePrune(), newCacheVerify())
	return cmd
}

// addCache adds the flag that names the cache.
func addCache(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "cache", "", "folder for fetched content (default: naru in the user's cache folder)")
	_ = cmd.MarkFlagDirname("cache")
}

func newCacheInfo() *cobra.Command {
	var dir string
	var output cli.OutputFlag
	cmd := &cobra.Command{
		Use:     "info",
		Short:   "Say what the cache holds and what space it takes",
		Example: `  bundle cache info --output json`,
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCacheInfo(cmd.Context(), dir, output, cmd.OutOrStdout())
		},
	}
	addCache(cmd, &dir)
	output.Add(cmd)
	return cmd
}

func runCacheInfo(ctx context.Context, given string, output cli.OutputFlag, stdout io.Writer) error {
	dir, err := cacheDir(given)
	if err != nil {
		return err
	}
	info, err := cache.Look(ctx, dir)
	if err != nil {
		return err
	}
	return output.Print(stdout, info, func(w io.Writer) error {
		rows := append(contentRows(info.Contents), []string{"total", progress.Bytes(info.Total)}, []string{"free on the disk", progress.Bytes(info.Free)})
		return cli.Table(w, []string{info.Cache}, rows)
	})
}

// contentRows are what a cache holds, a row a kind.
func contentRows(c cache.Contents) [][]string {
	row := func(name string, t store.Tally) []string {
		return []string{name, progress.Bytes(t.Bytes), fmt.Sprintf("%d files", t.Files)}
	}
	return [][]string{
		row("blobs", c.Blobs), row("packed forms", c.Packed), row("partial blobs", c.Partial), row("scan databases", c.Databases),
		row("scan findings", c.Findings), row("pins", c.Pins), row("signatures", c.Signatures), row("notes", c.Notes),
	}
}

type cacheVerifyOptions struct {
	dir      string
	jobs     int
	progress cli.ProgressFlags
	output   cli.OutputFlag
}

func newCacheVerify() *cobra.Command {
	var o cacheVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Hash everything in the cache and remove what is damaged",
		Long: `verify reads every blob and compares it with its digest. A damaged one is removed, so
that the next build fetches it, and the exit code is 5. Builds may be at work. Packed
forms are not looked at: a build hashes what they decode to.`,
		Example: `  bundle cache verify --progress none`,
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCacheVerify(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addCache(cmd, &o.dir)
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 0, "blobs read at once (default: one a processor)")
	o.progress.Add(cmd)
	o.output.Add(cmd)
	return cmd
}

func runCacheVerify(ctx context.Context, o cacheVerifyOptions, stdout, stderr io.Writer) (err error) {
	dir, err := cacheDir(o.dir)
	if err != nil {
		return err
	}
	if o.jobs <= 0 {
		o.jobs = runtime.NumCPU()
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	v, err := cache.Verify(ctx, cache.VerifyOptions{Dir: dir, Jobs: o.jobs, Progress: obs})
	if err != nil {
		return err
	}
	obs.Close(nil)
	err = o.output.Print(stdout, v, func(w io.Writer) error {
		rows := [][]string{{"blobs", fmt.Sprintf("%d, %s", v.Blobs, progress.Bytes(v.Bytes))}}
		for _, d := range v.Damaged {
			rows = append(rows, []string{"damaged, removed", d.String()})
		}
		return cli.Table(w, []string{v.Cache}, rows)
	})
	if err != nil {
		return err
	}
	return v.Check()
}
