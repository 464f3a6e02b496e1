package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"naru/internal/atomicfile"
	"naru/internal/build"
	"naru/internal/cli"
	"naru/manifest"
)

type lockOptions struct {
	source sourceFlags
	out    string
	update []string
}

func newLock() *cobra.Command {
	var o lockOptions
	cmd := &cobra.Command{
		Use:   "lock [flags]",
		Short: "Pin every image, file and OS package of a release by digest",
		Long: `lock asks the registries and file servers for everything a release names by
version and writes the digests. What a lock pins already is kept; a tag that moved
since is an error that names both digests, unless --update says to take the new one.
A file that --out names is taken as the lock when no other is given.`,
		Example: "  bundle lock --release demo --out lock.yaml\n  bundle lock --release demo --lock lock.yaml --update registry.k8s.io/pause:3.10 --out lock.yaml",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLock(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.source.add(cmd)
	cmd.Flags().StringVar(&o.out, "out", "-", "file to write, - for standard output")
	cmd.Flags().StringArrayVar(&o.update, "update", nil, "image reference, component/file or distribution to pin anew (may be repeated)")
	return cmd
}

func runLock(ctx context.Context, o lockOptions, stdout, stderr io.Writer) (err error) {
	obs := o.source.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	opts, err := o.source.options(obs)
	if err != nil {
		return err
	}
	if _, err := os.Stat(o.out); err == nil && opts.LockFile == "" {
		opts.LockFile = o.out // what it pins stays pinned
	}
	opts.Unpin, opts.PinnedBy = o.update, manifest.PinnedBySite
	lock, err := build.Pin(ctx, opts)
	if err != nil {
		return err
	}
	data, err := lock.Encode()
	if err != nil {
		return err
	}
	if o.out == "-" {
		_, err = stdout.Write(data)
		return err
	}
	if err := atomicfile.Write(o.out, data, os.FileMode(0o644)); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	obs.Note(fmt.Sprintf("%d images, %d charts, %d files and the packages of %d distributions locked in %s", len(lock.Images), len(lock.Charts), len(lock.Files), distributionsOf(lock), o.out))
	return nil
}
