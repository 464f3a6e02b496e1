// Cluster proves what naru is for, on real hosts with the network cut: a bundle of
// release "lab" is built from a simulated internet, which then stops; bare hosts
// on a segment without uplink become a highly available Kubernetes cluster by one
// "install apply"; then everything that happens to clusters happens to it.
//
// It needs root and what test/cluster/run.sh installs. Nothing is skipped; -only and
// -from choose steps for those who work on one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &world{}
	var list, from, only string
	flag.StringVar(&w.bin, "bin", "bin", "`folder` of bundle, install and lab-hosts")
	flag.StringVar(&w.cache, "cache", ".cache/lab", "`folder` kept between runs")
	flag.StringVar(&w.name, "lab", "e2e", "`name` of the lab")
	flag.IntVar(&w.kills, "kills", 2, "how often the installer is killed")
	flag.Int64Var(&w.seed, "seed", time.Now().UnixNano(), "of the random moments")
	flag.StringVar(&list, "steps", "", "`names` of the steps to do, with commas between (default: all)")
	flag.StringVar(&from, "from", "", "first step to do, on the lab that an earlier run with -keep left")
	flag.StringVar(&only, "only", "", "the one step to do")
	flag.BoolVar(&w.minor, "minor", false, "upgrade to a real next minor version, which takes minutes to compile, in place of a patch release")
	flag.BoolVar(&w.keep, "keep", false, "leave the lab running at the end")
	flag.Parse()
	chosen, err := choose(list, from, only)
	if err == nil {
		err = w.run(ctx, chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		stop()
		os.Exit(1)
	}
}

// step is one part of the proof; what it returns is shown in the table.
type step struct {
	name  string
	title string
	run   func(*world, context.Context) (string, error)
}

var steps = []step{
	{"content", "lab content and simulated internet", (*world).startUpstream},
	{"build", "bundle built, signed, verified", (*world).buildBundle},
	{"cut", "simulated internet stopped", (*world).stopUpstream},
	{"hosts", "bare hosts on a segment without uplink", (*world).startHosts},
	{"refusals", "what must stop before anything is changed", (*world).refusals},
	{"apply", "install apply: 2 control planes, worker, load balancer", (*world).firstApply},
	{"works", "nodes, pods, services, names", (*world).works},
	{"egress", "nothing left the segment", (*world).egress},
	{"sealed", "install sealed, and with a foreign pod", (*world).sealed},
	{"again", "second apply changes nothing", (*world).applyAgain},
	{"harbor", "a Harbor: set up, seeded, asked by every node, and taken away again", (*world).harbor},
	{"add", "a worker and a load balancer added by editing the site file", (*world).addHosts},
	{"vip", "the VIP's holder loses power", (*world).moveVIP},
	{"remove", "a worker removed by editing the site file", (*world).removeWorker},
	{"power", "a control plane loses power and comes back", (*world).cutControlPlane},
	{"reboot", "all hosts rebooted", (*world).rebootAll},
	{"depotless", "all but the depot rebooted, the depot off", (*world).rebootWithoutDepot},
	{"upgrade", "Kubernetes upgraded by a bundle with the next release", (*world).upgrade},
	{"reset", "reset, and the installer killed while it installs again", (*world).resetAndKill},
	{"single", "one host without a site file", (*world).singleHost},
	{"egress-end", "still nothing left the segment", (*world).egress},
}

// choose are the steps that flags name, in order.
func choose(list, from, only string) ([]step, error) {
	names := strings.FieldsFunc(list+","+only, func(r rune) bool { return r == ',' })
	if from != "" {
		names = append(names, from)
	}
	for _, n := range names {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == n }) {
			return nil, fmt.Errorf("no step %q", n)
		}
	}
	switch {
	case from != "":
		return steps[slices.IndexFunc(steps, func(s step) bool { return s.name == from }):], nil
	case len(names) > 0:
		return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !slices.Contains(names, s.name) }), nil
	}
	return steps, nil
}

func (w *world) run(ctx context.Context, chosen []step) (err error) {
	if err := w.open(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			fmt.Println("   FAILED:", err)
			w.explain(ctx)
		}
		if cerr := w.close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	fmt.Printf("seed %d, files in %s\n", w.seed, w.work)
	var rows [][3]string
	begin := time.Now()
	for _, s := range chosen {
		start := time.Now()
		fmt.Printf("-- %s: %s\n", s.name, s.title)
		saw, err := s.run(w, ctx)
		took := time.Since(start).Round(100 * time.Millisecond).String()
		if err != nil {
			return fmt.Errorf("%s, after %s: %w", s.name, took, err)
		}
		fmt.Printf("   %s: %s\n", took, saw)
		rows = append(rows, [3]string{s.name, took, saw})
	}
	rows = append(rows, [3]string{"all", time.Since(begin).Round(time.Second).String(), ""})
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", r[0], r[1], r[2])
	}
	return t.Flush()
}

func abs(paths ...*string) error {
	for _, p := range paths {
		a, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = a
	}
	return nil
}
