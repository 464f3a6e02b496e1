package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"naru/internal/cli"
	"naru/internal/install"
	"naru/pkg/serve"
)

type serveOptions struct {
	trust     cli.TrustFlags
	unscanned bool
	progress  cli.ProgressFlags
	listen    string
	cert, key string
	names     []string
	bundles   string
	state     string
	plain     bool
	register  bool
	access    bool
}

func newServe() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [BUNDLE...]",
		Short: "Serve bundles as a read-only registry and file server",
		Long: `serve answers for everything in the bundles, straight from their volumes: container
images at /v2/<registry>/<repository>, or with ?ns= as containerd's certs.d asks, and
files at /files/. Content is verified before it is handed out. It never asks another
server for anything.

A bundle named here that cannot be served ends it. Of those below --bundles such a one is
left out, and the others are served: a warning names it with the reason, and so do
/bundles and, by their number, /healthz.

Without --tls-cert an authority and a certificate are made once under --state; clients
trust its ca.crt, copied out of there (a folder with the key in it is none for clients).`,
		Example: `  install serve /media/usb --key signer.pub --listen :5000 --name depot.site
  install serve /srv/bundles/a /srv/bundles/b --register
  install serve bundles/demo --key cosign.pub --plain-http --listen 127.0.0.1:5000`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runServe(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.trust.Add(cmd, trustDir)
	o.progress.Add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&o.unscanned, "allow-unscanned", false, "take a bundle that was built without a scan")
	fl.StringVar(&o.listen, "listen", "127.0.0.1:5000", "address to listen on, host:port")
	fl.StringVar(&o.cert, "tls-cert", "", "certificate with its chain, PEM")
	fl.StringVar(&o.key, "tls-key", "", "private key of the certificate, PEM")
	fl.StringSliceVar(&o.names, "name", nil, "names and addresses the made certificate is for (default: this host's)")
	fl.StringVar(&o.bundles, "bundles", "", "folder of a depot: serve every bundle that was carried there whole")
	fl.StringVar(&o.state, "state", "/var/lib/naru/depot", "folder for the certificate authority and for what was verified")
	fl.BoolVar(&o.plain, "plain-http", false, "no TLS; on loopback addresses only")
	fl.BoolVar(&o.register, "register", false, "verify every byte before serving, once, and remember it in --state")
	fl.BoolVar(&o.access, "access-log", false, "write each request as a line of JSON to standard error")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsMutuallyExclusive("tls-cert", "plain-http")
	_ = cmd.MarkFlagDirname("state")
	return cmd
}

func runServe(ctx context.Context, o serveOptions, paths []string, stdout, stderr io.Writer) (err error) {
	var carried []string
	if o.bundles != "" {
		if carried, err = install.CarriedBundles(o.bundles); err != nil {
			return err
		}
	}
	if len(paths)+len(carried) == 0 {
		return cli.Usagef("nothing to serve: name a bundle, or a folder of bundles with --bundles")
	}
	obs := o.progress.Observer(stderr)
	defer func() { obs.Close(err) }()
	var refused []string
	opts := install.ServeOptions{
		Carried: carried,
		OnRefused: func(dir string, err error) {
			refused = append(refused, dir)
			_, _ = fmt.Fprintf(stderr, "WARNING: %s is not served: %v\n", dir, err)
		},
		AllowUnscanned: o.unscanned,
		Intake:         o.trust.Options(paths, stderr),
		Listen:         o.listen,
		TLS:            serve.TLSOptions{CertFile: o.cert, KeyFile: o.key, Names: o.names},
		Progress:       obs,
	}
	scheme := "https"
	switch {
	case o.plain:
		opts.TLS.Plain, scheme = serve.PlainLoopback, "http"
	case o.cert == "":
		opts.TLS.StateDir = filepath.Join(o.state, "tls")
	}
	if o.register {
		opts.RecordDir = filepath.Join(o.state, "bundles")
	}
	if o.access {
		opts.OnRequest = accessLog(stderr)
	}
	opts.OnReady = func(addr string, repositories, tags int) {
		if len(refused) > 0 {
			_, _ = fmt.Fprintf(stderr, "WARNING: %d of %d bundles in %s are not served, for the reasons above: %s\n", len(refused), len(carried), o.bundles, strings.Join(refused, ", "))
		}
		_, _ = fmt.Fprintf(stdout, "serving %d repositories and %d tags at %s://%s\n", repositories, tags, scheme, addr)
		if opts.TLS.StateDir != "" {
			_, _ = fmt.Fprintf(stdout, "clients trust %s\n", filepath.Join(opts.TLS.StateDir, serve.CAFile))
		}
	}
	err = install.Serve(ctx, opts)
	if errors.Is(err, context.Canceled) {
		return nil // asked to stop is how serving ends
	}
	return err
}

// accessLog writes one line of JSON a request.
func accessLog(w io.Writer) func(serve.Request) {
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	return func(r serve.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(r)
	}
}
