package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	dialTimeout      = 20 * time.Second
	handshakeTimeout = 20 * time.Second
	keepAlive        = 30 * time.Second
	idleConnTimeout  = 90 * time.Second
	// bufferSize of connections, in bytes, each way.
	bufferSize   = 64 << 10
	maxRedirects = 10
)

// ErrNoCertificate says that a CA file holds no certificate.
var ErrNoCertificate = errors.New("no PEM certificate in it")

// errRedirects ends a chain of redirects.
var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

func newTransport(opts Options) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(opts.CAFiles) > 0 {
		pool, err := certPool(opts.CAFiles)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy: opts.Proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c, idle: opts.IdleTimeout}, nil
		},
		TLSClientConfig:       config,
		Protocols:             protocols,
		TLSHandshakeTimeout:   handshakeTimeout,
		ResponseHeaderTimeout: opts.ResponseTimeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       idleConnTimeout,
		MaxConnsPerHost:       opts.PerHost,
		MaxIdleConnsPerHost:   opts.PerHost,
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
		// Content is carried as it is; what is compressed stays so.
		DisableCompression: true,
	}, nil
}

// certPool has the system's authorities and those of the files.
func certPool(files []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading CA file: %w", err)
		}
		if !pool.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("reading CA file %q: %w", name, ErrNoCertificate)
		}
	}
	return pool, nil
}

// errSentOn says that a server wants content to be sent to another one.
var errSentOn = errors.New("content is sent to the server that was asked, and to no other")

// checkRedirect follows redirects, but to hosts that are not to be spoken to without
// TLS only with it. Headers that give credentials away are oras-go's care; Referer
// would give away signed URLs.
func (p *places) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errRedirects
	}
	first := via[0].URL
	asked := first.Scheme == req.URL.Scheme && first.Host == req.URL.Host
	if m := via[0].Method; m != http.MethodGet && m != http.MethodHead && !asked {
		// What is sent is meant for the server that was asked, and for no other.
		return fmt.Errorf("following a redirect of %s to %q: %w", m, req.URL.Host, errSentOn)
	}
	if req.URL.Scheme != "https" && !asked && !p.takesPlain(req.URL.Host) {
		return fmt.Errorf("following a redirect to %q: %w", req.URL.Host, ErrPlainHTTP)
	}
	req.Header.Del("Referer")
	return nil
}

// conn gives every write a deadline, so that a peer that takes nothing is noticed,
// except while its user has set one.
type conn struct {
	net.Conn
	idle     time.Duration
	explicit atomic.Bool
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.explicit.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}
