// Package install composes the isolated side: bundles taken in, served and pushed.
package install

import (
	"context"
	"errors"
	"fmt"
	"net"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/pkg/serve"
)

// ServeOptions are those of Serve.
type ServeOptions struct {
	Intake intake.Options
	// Carried are the folders of a depot, a bundle each. One that is not to be served,
	// or cannot be, whatever the reason, is left out and told to OnRefused: it must not
	// end the service of the others.
	Carried   []string
	OnRefused func(dir string, err error)
	// AllowUnscanned takes bundles that were built without a scan.
	AllowUnscanned bool
	// Listen is the address, host:port.
	Listen string
	TLS    serve.TLSOptions
	// RecordDir keeps what was verified; empty to verify content as it is asked for.
	RecordDir string
	// OnReady is called once, with the address that connections are answered on and
	// what is served.
	OnReady func(addr string, repositories, tags int)
	// OnRequest is told of each request, from many goroutines.
	OnRequest func(serve.Request)
	Progress  progress.Observer
}

// Serve serves the union of bundles until ctx ends. Each is opened and its
// signature verified first, those of its images as well; with RecordDir its content
// too, once. Nothing left of what was carried is the error of the last bundle refused.
func Serve(ctx context.Context, o ServeOptions) error {
	list, err := openServed(ctx, o)
	if err != nil {
		return err
	}
	defer func() { list.close() }()
	server, err := list.server(ctx)
	if err != nil {
		return err
	}
	for _, c := range server.Conflicts() {
		o.Progress.Note(fmt.Sprintf("%s: served as %s, the earlier bundle's %s is hidden", c.Name, c.Served, c.Hidden))
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	if len(o.TLS.Names) == 0 {
		if o.TLS.Names, err = keptNames(o.TLS.StateDir, defaultNames(ln.Addr())); err != nil {
			return errors.Join(err, ln.Close())
		}
	}
	return server.Serve(ctx, ln, o.TLS)
}
