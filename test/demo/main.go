// Demo runs naru's main job once, for real: it builds the demo release from a
// simulated internet, signs and verifies it, stops the internet, serves the
// bundle, pulls everything back and compares digests, and pushes all of it into
// a plain registry. It ends with a table of what it saw.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d := &demo{}
	flag.StringVar(&d.bin, "bin", "bin", "folder of bundle and install")
	flag.StringVar(&d.cache, "cache", ".cache/lab", "folder for the lab's content")
	flag.StringVar(&d.out, "out", "bundles/demo", "folder to build into")
	flag.Parse()
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the state of one run; each step reads what the ones before it set.
type demo struct {
	bin, cache, out string

	work     string // temporary
	lab      *lab
	bundle   string // its digest
	list     []artifact
	depot    *process
	depotURL string
	// upstreamDigests are the digests of the tags as the internet had them.
	upstreamDigests map[string]string
	registry        *process
	registryAddr    string
	rows            [][3]string
}

// step is one part of the demo; what it returns is shown in the table.
type step struct {
	title string
	run   func(*demo, context.Context) (string, error)
}

var steps = []step{
	{"simulated internet", (*demo).startLab},
	{"bundle keygen", (*demo).keygen},
	{"bundle build", (*demo).build},
	{"bundle build again", (*demo).rebuild},
	{"bundle verify", (*demo).verify},
	{"internet stopped", (*demo).stopLab},
	{"bundle dossier", (*demo).dossierAgain},
	{"install verify", (*demo).installVerify},
	{"install serve", (*demo).serve},
	{"pull every image back", (*demo).pullImages},
	{"fetch every file back", (*demo).pullFiles},
	{"helm pulls every chart", (*demo).pullCharts},
	{"fetch every OS package back", (*demo).pullPackages},
	{"install push", (*demo).push},
	{"install push again", (*demo).pushAgain},
}

func (d *demo) run(ctx context.Context) error {
	work, err := os.MkdirTemp("", "naru-demo-")
	if err != nil {
		return err
	}
	d.work = work
	defer func() { _ = os.RemoveAll(work) }()
	defer d.stop()
	if err := os.RemoveAll(d.out); err != nil {
		return err
	}
	for _, s := range steps {
		start := time.Now()
		fmt.Printf("-- %s\n", s.title)
		saw, err := s.run(d, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		d.rows = append(d.rows, [3]string{s.title, time.Since(start).Round(10 * time.Millisecond).String(), saw})
	}
	return d.table()
}

func (d *demo) table() error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, r := range d.rows {
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", r[0], r[1], r[2]); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nThe bundle is in %s.\n", filepath.Clean(d.out))
	return nil
}

func (d *demo) stop() {
	if d.depot != nil {
		d.depot.stop()
	}
	if d.registry != nil {
		d.registry.stop()
	}
	if d.lab != nil {
		d.lab.stop()
	}
}
