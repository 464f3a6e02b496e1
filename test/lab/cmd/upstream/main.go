// Command upstream runs the lab's internet until it is interrupted: registries
// and download sites with the content of the layouts given. See package upstream
// for its administration over HTTP.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"naru/test/lab/layout"
	"naru/test/lab/upstream"
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

// ready is what the command prints, and writes to -ready, once it serves.
type ready struct {
	Addr        string   `json:"addr"`
	URL         string   `json:"url"`
	CAFile      string   `json:"caFile,omitempty"`
	RegistryMap []string `json:"registryMap"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("upstream", flag.ContinueOnError)
	fs.SetOutput(stderr)
	addr := fs.String("addr", "127.0.0.1:0", "`address` to listen on")
	dir := fs.String("dir", "", "`folder` for ca.crt and pushed content (default: a temporary one)")
	plain := fs.Bool("plain", false, "serve HTTP without TLS")
	redirect := fs.Bool("redirect-blobs", false, "hand out blobs by redirect")
	hosts := fs.String("hosts", strings.Join(upstream.DefaultHosts(), ","), "upstream `names` to answer for")
	readyFile := fs.String("ready", "", "`file` to write address, CA and registry map to, as JSON, once ready")
	fs.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: upstream [flags] LAYOUT...")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	opts := upstream.Options{Addr: *addr, Dir: *dir, Hosts: strings.Split(*hosts, ",")}
	if *plain {
		opts.Transport = upstream.TransportPlain
	}
	if *redirect {
		opts.Blobs = upstream.DeliverRedirect
	}
	return serve(ctx, opts, fs.Args(), *readyFile, stdout)
}

func serve(ctx context.Context, opts upstream.Options, layouts []string, readyFile string, stdout io.Writer) (err error) {
	u, err := upstream.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := u.Close(); err == nil {
			err = cerr
		}
	}()
	for _, dir := range layouts {
		l, err := layout.Open(dir)
		if err != nil {
			return err
		}
		if err := u.Add(ctx, l); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(ready{Addr: u.Addr(), URL: u.URL(), CAFile: u.CAFile(), RegistryMap: u.RegistryMap()})
	if err != nil {
		return err
	}
	doc = append(doc, '\n')
	if readyFile != "" {
		if err := writeWhole(readyFile, doc); err != nil {
			return err
		}
	}
	if _, err := stdout.Write(doc); err != nil {
		return err
	}
	return u.Wait()
}

// writeWhole writes file so that a script that waits for it never reads half.
func writeWhole(file string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".new")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
