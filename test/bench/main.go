// Bench measures naru against plain tools on the same content, in one run: packing
// and verifying against reading and hashing the same bytes, building against crane,
// pushing against skopeo and crane, reruns with nothing to do, and peak memory. It
// prints a Markdown table of ratios, absolute times, processor seconds and memory.
//
// Every measure is taken several times, its sides by turns, and reported by the
// median. Dirty pages are written out before each timed command, and inputs are in
// the page cache for all sides alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	bin, upstream, cache, work, out, only string

	bytes int64
	reps  int
	full  bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.bin, "bin", "bin", "`folder` of bundle and install")
	fs.StringVar(&o.upstream, "upstream", "", "`program` that serves the lab's content")
	fs.StringVar(&o.cache, "cache", ".cache/lab", "`folder` that keeps the lab's content")
	fs.StringVar(&o.work, "work", "", "`folder` on the disk to measure (default: beside the cache), some five times the content free")
	fs.StringVar(&o.out, "out", "", "also write the table to this `file`")
	fs.StringVar(&o.only, "only", "", "measures to take, a comma between (default: all): "+strings.Join(measureNames(), ","))
	fs.Int64Var(&o.bytes, "bytes", 2e9, "`size` of the large content")
	fs.IntVar(&o.reps, "reps", 3, "`times` that each measure is taken")
	fs.BoolVar(&o.full, "full", false, "measure memory with four times the content as well")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.work == "" {
		o.work = filepath.Dir(filepath.Clean(o.cache))
	}
	b, err := newBench(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.measure(ctx); err != nil {
		return err
	}
	table := b.report.markdown(b.describe())
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(table), 0o644); err != nil {
			return err
		}
	}
	_, err = io.WriteString(stdout, table)
	return err
}

// measures are what there is to measure, in order. Each uses what the ones before
// it left, and makes it when they were not asked for.
var measures = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"build", (*bench).measureBuild},
	{"pack", (*bench).measurePack},
	{"verify", (*bench).measureVerify},
	{"push", (*bench).measurePush},
	{"small", (*bench).measureSmall},
	{"memory", (*bench).measureMemory},
	{"scan", (*bench).measureScan},
}

func measureNames() []string {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	return names
}

func (b *bench) measure(ctx context.Context) error {
	for _, m := range measures {
		if b.only != "" && !strings.Contains(","+b.only+",", ","+m.name+",") {
			continue
		}
		if err := m.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
