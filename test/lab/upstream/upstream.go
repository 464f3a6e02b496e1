// Package upstream is the lab's internet: one HTTPS server on loopback that
// answers for every upstream registry and download site, breaks on demand, and
// remembers what it was asked.
//
// A registry host is the first element of a repository (/v2/registry.k8s.io/pause/...),
// a download site the first element below /files/; see Upstream.RegistryMap. A
// request whose Host header is one of Options.Hosts is answered without the prefix,
// for labs that give the server those names.
//
// Content comes from layouts on disk (Add) and is served from where it lies;
// registry clients may push more. Faults (Inject) are applied to requests in the
// order they were injected, the first that fires wins.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"naru/test/lab/layout"
)

// DefaultHosts are the upstream names that the server answers for if
// Options.Hosts is empty.
func DefaultHosts() []string {
	return []string{"docker.io", "ghcr.io", "quay.io", "registry.k8s.io", "dl.lab.test", "deb.lab.test"}
}

// Scheme is how a client must authenticate.
type Scheme string

// The schemes of registries: Bearer sends the client to a token service first.
const (
	Basic  Scheme = "basic"
	Bearer Scheme = "bearer"
)

// Credential guards what it is set for.
type Credential struct {
	Scheme             Scheme
	Username, Password string
}

// Transport is what the server speaks.
type Transport string

// TransportTLS is the default.
const (
	TransportTLS   Transport = "https"
	TransportPlain Transport = "http"
)

// BlobDelivery is how blobs are handed out.
type BlobDelivery string

// DeliverInline is the default; DeliverRedirect answers with a 307 to a path
// outside the registry, as registries in front of object stores do.
const (
	DeliverInline   BlobDelivery = "inline"
	DeliverRedirect BlobDelivery = "redirect"
)

// Options configure Start. The zero value is usable.
type Options struct {
	// Addr to listen on, 127.0.0.1 and a free port if empty.
	Addr string
	// Dir holds ca.crt and what is pushed, and is made if missing; a temporary
	// folder, removed by Close, if empty.
	Dir       string
	Hosts     []string
	Transport Transport
	Blobs     BlobDelivery
	// Credentials by host; the key "" guards every host and the /v2/ ping.
	Credentials map[string]Credential
}

// Upstream is a running server. It is safe for concurrent use.
type Upstream struct {
	opts   Options
	addr   string
	caFile string
	caPEM  []byte

	registry *registry
	files    *fileTree
	faults   *faultTable
	log      *requestLog
	auth     *guard

	server  *http.Server
	group   errgroup.Group
	cleanup func() error
}

// Start listens and serves until ctx ends or Close is called. With TLS the
// certificate is signed by a CA made for this server alone.
func Start(ctx context.Context, opts Options) (*Upstream, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if len(opts.Hosts) == 0 {
		opts.Hosts = DefaultHosts()
	}
	if opts.Transport == "" {
		opts.Transport = TransportTLS
	}
	u := &Upstream{opts: opts, cleanup: func() error { return nil }}
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "naru-upstream-")
		if err != nil {
			return nil, fmt.Errorf("starting upstream: %w", err)
		}
		u.opts.Dir = dir
		u.cleanup = func() error { return os.RemoveAll(dir) }
	}
	dir, err := filepath.Abs(u.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("starting upstream: %w", err)
	}
	u.opts.Dir = dir
	if err := u.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting upstream: %w", err), u.cleanup())
	}
	return u, nil
}

func (u *Upstream) start(ctx context.Context) error {
	reg, err := newRegistry(filepath.Join(u.opts.Dir, "pushed"), u.opts.Blobs)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", u.opts.Addr)
	if err != nil {
		return err
	}
	u.addr = ln.Addr().String()
	u.registry, u.files = reg, &fileTree{}
	u.faults, u.log = &faultTable{}, &requestLog{}
	u.auth = newGuard(u.opts.Credentials, u.URL()+tokenPath)
	var protocols http.Protocols
	protocols.SetHTTP1(true) // resets and truncations are about connections
	u.server = &http.Server{
		Handler:           u.handler(),
		ReadHeaderTimeout: time.Minute,
		Protocols:         &protocols,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	if u.opts.Transport == TransportTLS {
		cfg, err := u.makeTLS()
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		ln = tls.NewListener(ln, cfg)
	}
	u.group.Go(func() error {
		if err := u.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving: %w", err)
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = u.server.Close() })
	return nil
}

func (u *Upstream) makeTLS() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(u.addr)
	if err != nil {
		return nil, err
	}
	pair, err := newAuthority(append([]string{host, "127.0.0.1", "localhost"}, u.opts.Hosts...))
	if err != nil {
		return nil, err
	}
	u.caPEM = pair.caPEM
	u.caFile = filepath.Join(u.opts.Dir, "ca.crt")
	if err := os.WriteFile(u.caFile, pair.caPEM, 0o644); err != nil {
		return nil, fmt.Errorf("writing CA: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair.server}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// Wait returns when the server has stopped: nil if it was told to.
func (u *Upstream) Wait() error { return u.group.Wait() }

// Close cuts every connection and stops. Requests and faults can still be read.
func (u *Upstream) Close() error {
	return errors.Join(u.server.Close(), u.group.Wait(), u.cleanup())
}

// Addr is the address the server listens on, "127.0.0.1:PORT".
func (u *Upstream) Addr() string { return u.addr }

// URL is the server's root, "https://127.0.0.1:PORT".
func (u *Upstream) URL() string { return string(u.opts.Transport) + "://" + u.addr }

// CAFile is the PEM file of the CA that signed the server's certificate, empty
// without TLS.
func (u *Upstream) CAFile() string { return u.caFile }

// CAPEM is what CAFile holds.
func (u *Upstream) CAPEM() []byte { return slices.Clone(u.caPEM) }

// RegistryMap returns the host=mirror pairs that send every upstream name to this
// server: registries to a repository prefix, download sites to a path prefix. A
// name is a download site once a layout with files of that host was added.
func (u *Upstream) RegistryMap() []string {
	var out []string
	for _, h := range u.opts.Hosts {
		if u.files.has(h) {
			out = append(out, h+"="+u.addr+filesPath+h)
		} else {
			out = append(out, h+"="+u.addr+"/"+h)
		}
	}
	return out
}

// Client returns an HTTP client that trusts the server's CA and nothing else.
func (u *Upstream) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(u.caPEM)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

// Add serves the content of l from where it lies. Adding another layout adds to
// what is there; a tag in both points to what was added last.
func (u *Upstream) Add(ctx context.Context, l *layout.Layout) error {
	u.registry.blobs.addRoot(l.BlobDir())
	u.files.addRoot(l.FileDir())
	for _, desc := range l.Index.Manifests {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("adding layout: %w", err)
		}
		if err := u.registry.load(l, desc); err != nil {
			return fmt.Errorf("adding layout %q: %w", l.Dir, err)
		}
	}
	return nil
}

// SetTag points repo:tag at a manifest that the repository has, as an upstream
// that moves its tags does. repo starts with the upstream host.
func (u *Upstream) SetTag(repo, tag, digest string) error {
	return u.registry.setTag(repo, tag, digest)
}

// Inject adds a fault.
func (u *Upstream) Inject(f Fault) error { return u.faults.add(f) }

// ClearFaults removes all faults.
func (u *Upstream) ClearFaults() { u.faults.clear() }

// Faults returns the faults with how often each was seen and fired.
func (u *Upstream) Faults() []FaultStatus { return u.faults.status() }

// Requests returns the finished requests, in the order they ended. The list grows
// for as long as the server runs.
func (u *Upstream) Requests() []Request { return u.log.all() }

// ResetRequests forgets the requests so far.
func (u *Upstream) ResetRequests() { u.log.reset() }

// Totals sums the GET requests so far by object.
func (u *Upstream) Totals() map[string]Total { return totals(u.log.all()) }
