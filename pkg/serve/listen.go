package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Timeouts of connections. There is none for whole responses: a layer may be
// gigabytes, and clients that stop reading are cut by the buffer.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 90 * time.Second
	maxHeader     = 64 << 10
	// maxStreams bounds the requests of one HTTP/2 connection.
	maxStreams = 64
	// shutdownGrace is how long requests may go on once the context ends.
	shutdownGrace = 20 * time.Second
	// certificateCheck is how often a running server looks whether its own
	// certificate is due for renewal.
	certificateCheck = time.Hour
)

// PlainHTTP says where content may be served without TLS.
type PlainHTTP int

const (
	// PlainNever is TLS alone.
	PlainNever PlainHTTP = iota
	// PlainLoopback serves without TLS, on loopback addresses only.
	PlainLoopback
	// PlainAnywhereUnsafe serves without TLS on any address: whoever is on the
	// network can change what clients by tag receive.
	PlainAnywhereUnsafe
)

// ErrPlainHTTP is returned by Serve when asked for plain HTTP on an address that
// others can reach.
var ErrPlainHTTP = errors.New("plain HTTP is served on loopback addresses only")

// TLSOptions says how connections are secured: by given files, by an authority of
// the server's own, or not.
type TLSOptions struct {
	// CertFile and KeyFile are PEM files: the certificate with its chain, and its
	// key. They are read anew every hour; a failure leaves those in use and is told
	// to OnError.
	CertFile, KeyFile string
	// StateDir, when no files are given, is the folder where an authority
	// (ca.crt, what clients are to trust) and a server certificate are made at
	// first use and renewed before they end. Keys in it have mode 0600.
	StateDir string
	// Names are the DNS names and IP addresses that the certificate is for. The
	// authority is constrained to those of its first use. Localhost is not
	// implied.
	Names []string
	// Plain, when not PlainNever, replaces TLS.
	Plain PlainHTTP
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Serve answers connections of ln until ctx ends, then lets running requests
// finish for a short while. It closes ln, and ends what goes on without a request,
// so that contents may be closed then: a server serves once. It returns nil when it ended because of
// ctx, ErrPlainHTTP or a *NameError as documented there. HTTP/2 is spoken over
// TLS.
func (s *Server) Serve(ctx context.Context, ln net.Listener, opts TLSOptions) error {
	config, err := opts.config(ln.Addr(), s.opts.OnError)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	srv := &http.Server{
		Handler:           s,
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          log.New(errorWriter(s.opts.OnError), "", 0),
	}
	if s.opts.OnReady != nil {
		s.opts.OnReady(ln.Addr())
	}
	defer s.verifier.stop()
	done := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer close(done)
		if config == nil {
			return srv.Serve(ln)
		}
		return srv.ServeTLS(ln, "", "")
	})
	g.Go(func() error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			return srv.Close()
		}
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	}
	return nil
}

// config is nil for plain HTTP.
func (o TLSOptions) config(addr net.Addr, onError func(error)) (*tls.Config, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	switch {
	case o.Plain != PlainNever:
		if o.Plain != PlainAnywhereUnsafe && !isLoopback(addr) {
			return nil, fmt.Errorf("listening on %s: %w", addr, ErrPlainHTTP)
		}
		return nil, nil
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, errors.New("setting up TLS: certificate and key are given together or not at all")
	case o.CertFile != "":
		return o.renewing(config, onError, func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("loading certificate %q: %w", o.CertFile, err)
			}
			return &pair, nil
		})
	case o.StateDir == "":
		return nil, errors.New("setting up TLS: neither a certificate nor a folder for one is given")
	}
	names, err := canonicalNames(o.Names)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: o.StateDir, names: names, now: o.Now}
	return o.renewing(config, onError, a.certificate)
}

// renewing makes config ask load for the certificate, at once and then every
// certificateCheck; a later failure is told to onError, if set, and keeps the
// certificate there is.
func (o TLSOptions) renewing(config *tls.Config, onError func(error), load func() (*tls.Certificate, error)) (*tls.Config, error) {
	current, err := load()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	checked := o.Now()
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if now := o.Now(); now.Sub(checked) >= certificateCheck {
			checked = now
			fresh, err := load()
			switch {
			case err == nil:
				current = fresh
			case onError != nil:
				onError(fmt.Errorf("renewing the certificate: %w", err))
			}
		}
		return current, nil
	}
	return config, nil
}

func canonicalNames(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, errors.New("setting up TLS: no names are given for the certificate")
	}
	out := make([]string, 0, len(names))
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			out = append(out, ip.String())
			continue
		}
		name = strings.ToLower(name)
		if !hostRE.MatchString(name) || strings.ContainsAny(name, ":_[") {
			return nil, fmt.Errorf("setting up TLS: %q is neither a DNS name nor an IP address", name)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// errorWriter hands the lines of net/http's log to the callback.
type errorWriter func(error)

func (f errorWriter) Write(p []byte) (int, error) {
	if f != nil {
		f(errors.New(string(bytes.TrimSpace(p))))
	}
	return len(p), nil
}
