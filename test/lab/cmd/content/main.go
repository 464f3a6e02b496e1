// Command content builds the lab's content, or finds it in the cache, and prints
// where its layout lies. Its content.json lists every reference and URL.
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
	fs := flag.NewFlagSet("content", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cache := fs.String("cache", "", "`folder` kept between runs (default: naru-lab in the user's cache)")
	cluster := fs.Bool("cluster", false, "the content of release lab instead of the demo's")
	key := fs.String("public-key", "", "also write the key that images are signed with to this `file`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *cache == "" {
		dir, err := content.DefaultCacheDir()
		if err != nil {
			return err
		}
		*cache = dir
	}
	if *key != "" {
		pem, err := content.PublicKey()
		if err != nil {
			return err
		}
		if err := os.WriteFile(*key, pem, 0o644); err != nil {
			return err
		}
	}
	recipe := content.Default()
	if *cluster {
		recipe = content.ClusterRecipe()
	}
	l, err := content.Build(ctx, content.Options{
		CacheDir: *cache,
		Recipe:   &recipe,
		OnStep:   func(step string) { _, _ = fmt.Fprintln(stderr, step) },
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, l.Dir)
	return err
}
