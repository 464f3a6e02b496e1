// Command workload generates content for benchmarks, or finds it in the cache, and
// prints where its layout lies, with content.yaml (for bundle build -f) in it.
//
//	workload                      40 images and 8 files, 2 GB
//	workload -bytes 8000000000    the same in 8 GB
//	workload -shape small         300 small images
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"naru/test/lab/content"
	"naru/test/lab/workload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("workload", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cache := fs.String("cache", "", "`folder` kept between runs (default: naru-lab in the user's cache)")
	shape := fs.String("shape", "large", "large or small")
	bytes := fs.Int64("bytes", 0, "total `size` (default: 2 GB large, 150 MB small)")
	images := fs.Int("images", 0, "`number` of images (default: 40 large, 300 small)")
	seed := fs.Uint64("seed", 1, "`seed` of everything random")
	if err := fs.Parse(args); err != nil {
		return err
	}
	opts := workload.Options{CacheDir: *cache, Seed: *seed}
	switch *shape {
	case "large":
		opts.Shape = workload.Large(2e9)
	case "small":
		opts.Shape = workload.Small()
	default:
		return fmt.Errorf("unknown shape %q", *shape)
	}
	if *bytes > 0 {
		opts.Shape.Bytes = *bytes
	}
	if *images > 0 {
		opts.Shape.Images = *images
	}
	if opts.CacheDir == "" {
		dir, err := content.DefaultCacheDir()
		if err != nil {
			return err
		}
		opts.CacheDir = dir
	}
	return generate(ctx, opts, stdout, stderr)
}

func generate(ctx context.Context, opts workload.Options, stdout, stderr io.Writer) error {
	l, err := content.Build(ctx, content.Options{
		CacheDir: opts.CacheDir,
		OnStep:   func(step string) { _, _ = fmt.Fprintln(stderr, step) },
	})
	if err != nil {
		return err
	}
	opts.Material = workload.Material(l)
	w, err := workload.Generate(ctx, opts)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, w.Dir)
	return err
}
