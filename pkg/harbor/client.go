package harbor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	rtclient "github.com/go-openapi/runtime/client"
	v2client "github.com/goharbor/go-client/pkg/sdk/v2.0/client"
)

const (
	dialTimeout   = 20 * time.Second
	answerTimeout = 5 * time.Minute
	maxIdleConns  = 8
	pageSize      = 100 // the most that Harbor gives
)

// apiPath is where Harbor's API lies, below its address.
const apiPath = "/api/v2.0"

// Options say which Harbor is spoken to, and as whom.
type Options struct {
	// URL is "https://host[:port]".
	URL string
	// User and Password are shown with every request.
	User, Password string
	// CAFiles are PEM files of authorities that are trusted beside the system's.
	CAFiles []string
	// UserAgent of requests.
	UserAgent string
	// Timeout bounds a request of the API with its whole answer; 5 min if 0.
	Timeout time.Duration
	// Transport carries requests in place of one that New makes; tests record and
	// replay with it. CAFiles are then not read.
	Transport http.RoundTripper
}

// Client speaks to one Harbor. It is safe for concurrent use.
type Client struct {
	api       *v2client.HarborAPI
	base      *url.URL
	user      string
	password  string
	transport http.RoundTripper
}

// ErrURL is returned for an address that is no https URL of a host alone.
var ErrURL = errors.New("want https://host[:port]")

// ErrNoCertificate says that a CA file holds no certificate.
var ErrNoCertificate = errors.New("no PEM certificate in it")

// New is a Client. Nothing is sent.
func New(o Options) (*Client, error) {
	base, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	transport := o.Transport
	if transport == nil {
		if transport, err = newTransport(o.CAFiles); err != nil {
			return nil, err
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = answerTimeout
	}
	transport = &header{next: transport, userAgent: o.UserAgent, timeout: o.Timeout}
	c := &Client{base: base, user: o.User, password: o.Password, transport: transport}
	api := *base
	api.Path = apiPath
	// harbor.NewClientSet of go-client skips the verification of certificates
	// whatever it is told; this constructor takes the transport it is given.
	c.api = v2client.New(v2client.Config{URL: &api, Transport: transport, AuthInfo: rtclient.BasicAuth(o.User, o.Password)})
	runtime, ok := c.api.Transport.(*rtclient.Runtime)
	if !ok {
		return nil, fmt.Errorf("making a client of Harbor: its runtime is a %T", c.api.Transport)
	}
	// By DEBUG or SWAGGER_DEBUG in the environment it would print whole requests,
	// credentials included.
	runtime.SetDebug(false)
	return c, nil
}

// ParseURL reads the address of a Harbor.
func ParseURL(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil {
		return nil, fmt.Errorf("parsing the address of Harbor: %w", ErrURL) // the text may hold a password
	}
	if u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		u.User = nil
		return nil, fmt.Errorf("parsing the address of Harbor %q: %w", u, ErrURL)
	}
	return u, nil
}

// Host is "host[:port]", what images in this Harbor are named by.
func (c *Client) Host() string { return c.base.Host }

// URL is the address.
func (c *Client) URL() string { return c.base.String() }

// newTransport verifies certificates against the system's authorities and those of
// the files.
func newTransport(caFiles []string) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(caFiles) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("reading the system's certificate authorities: %w", err)
		}
		for _, name := range caFiles {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("reading CA file: %w", err)
			}
			if !pool.AppendCertsFromPEM(data) {
				return nil, fmt.Errorf("reading CA file %q: %w", name, ErrNoCertificate)
			}
		}
		config.RootCAs = pool
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       time.Minute,
	}, nil
}

// header names the program in requests, and ends those that take too long: a server
// may stop in the middle of an answer, which no timeout of http.Transport sees.
type header struct {
	next      http.RoundTripper
	userAgent string
	timeout   time.Duration
}

// RoundTrip implements [http.RoundTripper].
func (h *header) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), h.timeout)
	named := req.Clone(ctx)
	if h.userAgent != "" {
		named.Header.Set("User-Agent", h.userAgent)
	}
	resp, err := h.next.RoundTrip(named)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &answer{ReadCloser: resp.Body, done: cancel}
	return resp, nil
}

// answer is the body of an answer; its deadline is let go of when it is closed.
type answer struct {
	io.ReadCloser
	done context.CancelFunc
}

// Close implements [io.Closer].
func (a *answer) Close() error {
	defer a.done()
	return a.ReadCloser.Close()
}

// Doer sends requests; *http.Client does, and the clients of oras-go do.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// registryClient shows the credentials with every request of the registry protocol,
// before it is asked for any. Tokens live for half an hour and a large layer may need
// longer; Basic never runs out, and Harbor takes it all over /v2/.
type registryClient struct {
	next     Doer
	host     string
	user     string
	password string
}

// Do implements Doer.
func (r *registryClient) Do(req *http.Request) (*http.Response, error) {
	if req.URL.Host == r.host && req.URL.Scheme == "https" {
		req = req.Clone(req.Context())
		req.SetBasicAuth(r.user, r.password)
	}
	return r.next.Do(req)
}

// Registry wraps a client so that requests to this Harbor carry the credentials as
// Basic authentication, which does not run out in the middle of a large layer as
// tokens do. Requests to other hosts are passed on as they are.
func (c *Client) Registry(next Doer) Doer {
	return &registryClient{next: next, host: c.base.Host, user: c.user, password: c.password}
}

// Ping asks for the registry protocol with the client's credentials: nil means that
// they are good.
func (c *Client) Ping(ctx context.Context) error {
	u := *c.base
	u.Path = "/v2/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return failure("checking credentials", "", err)
	}
	req.SetBasicAuth(c.user, c.password)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return failure("checking credentials", "", err)
	}
	if err := resp.Body.Close(); err != nil {
		return failure("checking credentials", "", err)
	}
	if resp.StatusCode != http.StatusOK {
		return &Error{Op: "checking credentials", Status: resp.StatusCode}
	}
	return nil
}
