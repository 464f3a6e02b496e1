// Torture does to naru what an unlucky year would: it kills builds and pushes at
// random moments, changes bytes of volumes, cuts them, mixes them up, and looks
// whether a wrong byte is ever believed, handed out, or fetched a second time.
//
// It ends with a table of counts, and fails when anything was not as it should be.
// Everything random follows from the seed, which is printed; NARU_TORTURE_SEED
// sets it ("random" draws one).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"
)

// defaultSeed is that of CI, so that a failure there can be looked at anywhere.
const defaultSeed = 20250101

func main() {
	log.SetOutput(io.Discard) // the lab's servers log every connection that a kill cuts
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		stop()
		os.Exit(1)
	}
}

// suite is the state of one run; each part reads what the ones before it set.
type suite struct {
	bin, tools, work string
	seed             uint64
	kills            int // in all, half of them of builds, half of pushes
	flips, cuts      int
	out              io.Writer

	key  string // prefix of the key pair
	rows []row
}

// row is one line of the table.
type row struct {
	What   string
	Count  int
	Time   time.Duration
	Result string
}

// part is one kind of torment. It adds rows as it goes.
type part struct {
	name string
	run  func(*suite, context.Context) error
}

var parts = []part{
	{"prepare", (*suite).prepare},
	{"damage", (*suite).damage},
	{"kill-build", (*suite).killBuilds},
	{"kill-push", (*suite).killPushes},
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s := &suite{out: out}
	fs := flag.NewFlagSet("torture", flag.ContinueOnError)
	fs.StringVar(&s.bin, "bin", "bin", "`folder` of bundle and install")
	fs.StringVar(&s.tools, "tools", "", "`folder` of docker-registry, if it is not on the PATH")
	fs.IntVar(&s.kills, "kills", 20, "`number` of kills, split between builds and pushes")
	fs.IntVar(&s.flips, "flips", 200, "`number` of random byte changes")
	fs.IntVar(&s.cuts, "truncations", 40, "`number` of random truncations")
	only := fs.String("only", "", "run one `part` alone: damage, kill-build or kill-push")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if s.seed, err = seedFrom(os.Getenv("NARU_TORTURE_SEED")); err != nil {
		return err
	}
	if s.work, err = os.MkdirTemp("", "naru-torture-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.work) }()
	s.printf("seed %d: %d kills, %d byte changes, %d truncations", s.seed, s.kills, s.flips, s.cuts)
	for _, p := range parts {
		if *only != "" && p.name != *only && p.name != "prepare" {
			continue
		}
		s.printf("-- %s", p.name)
		if err := p.run(s, ctx); err != nil {
			return errors.Join(fmt.Errorf("%s (seed %d): %w", p.name, s.seed, err), s.table())
		}
	}
	return s.table()
}

// seedFrom reads the seed that was asked for.
func seedFrom(text string) (uint64, error) {
	switch text {
	case "":
		return defaultSeed, nil
	case "random":
		return rand.Uint64(), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("NARU_TORTURE_SEED: %w", err)
	}
	return seed, nil
}

// random is a sequence of the suite's seed; each use has a stream of its own, so
// that one can be repeated without the others.
func (s *suite) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, stream)) }

// Streams of random numbers. The damages count up from streamDamage.
const (
	streamMaterial = iota + 1
	streamBuilds
	streamPushes
	streamDamage = 1 << 32
)

func (s *suite) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

func (s *suite) add(what string, count int, since time.Time, format string, args ...any) {
	s.rows = append(s.rows, row{what, count, time.Since(since).Round(100 * time.Millisecond), fmt.Sprintf(format, args...)})
}

func (s *suite) table() error {
	if len(s.rows) == 0 {
		return nil
	}
	s.printf("")
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "TORMENT\tCOUNT\tTIME\tRESULT")
	for _, r := range s.rows {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", r.What, r.Count, r.Time, r.Result)
	}
	return w.Flush()
}

// prepare copies the programs, so that a build meanwhile does not change them, and
// makes a key.
func (s *suite) prepare(ctx context.Context) error {
	bin := filepath.Join(s.work, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"bundle", "install", "install-linux-amd64"} {
		data, err := os.ReadFile(filepath.Join(s.bin, name))
		if err != nil {
			return fmt.Errorf("taking the programs: %w (make build makes them)", err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), data, 0o755); err != nil {
			return err
		}
	}
	s.bin, s.key = bin, filepath.Join(s.work, "cosign")
	return s.program(ctx, nil, "bundle", "keygen", "--out-prefix", s.key)
}
