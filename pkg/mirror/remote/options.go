package remote

import (
	"net/http"
	"net/url"
	"time"

	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Defaults of Options.
const (
	DefaultPerHost         = 8
	DefaultMaxAttempts     = 6
	DefaultMaxWait         = time.Minute
	DefaultIdleTimeout     = time.Minute
	DefaultResponseTimeout = 2 * time.Minute
)

// Options tune a Client. The zero value is usable. Hosts are "host" or "host:port"
// throughout, compared without regard to case; docker.io and the names it is
// served under are one.
type Options struct {
	// Map says where else the content of hosts is to be had; a host at most once.
	Map []Mapping
	// CAFiles are PEM files of authorities that are trusted beside the system's.
	CAFiles []string
	// PlainHTTP are hosts to speak to without TLS: where Repository, Blob and Get
	// lead to them, and for redirects. All else needs a certificate that verifies.
	PlainHTTP []string
	// PlainFiles are hosts from which Get takes files at http URLs, and to which
	// redirects may lead without TLS. They are shown no credentials, and a registry
	// at the same host is still spoken to with TLS.
	PlainFiles []string
	// PerHost bounds the connections, and so the concurrent requests, to a host.
	PerHost int
	// Login, when not nil, is shown to one host instead of what Credentials has.
	Login *Login
	// Credentials for hosts that ask for some; nil means the Docker config and
	// its helpers.
	Credentials credentials.Store
	// MaxAttempts is how often a request is sent at most. 1 is for callers that
	// repeat requests themselves.
	MaxAttempts int
	// MaxWait bounds the wait between two attempts, also where a server asks for
	// more by Retry-After.
	MaxWait time.Duration
	// IdleTimeout is how long a body may not move.
	IdleTimeout time.Duration
	// ResponseTimeout is how long an answer may not begin.
	ResponseTimeout time.Duration
	// OnRetry is told before each wait; many goroutines call it.
	OnRetry func(Retry)
	// UserAgent of requests that have none.
	UserAgent string
	// Proxy for a request, as in [http.Transport]; nil means HTTPS_PROXY,
	// HTTP_PROXY and NO_PROXY of the environment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Login is what to show to one host.
type Login struct{ Host, User, Password string }

// Retry is a request that is about to be sent again.
type Retry struct {
	Host string
	// Attempt that failed, from 1.
	Attempt int
	// Wait before the next.
	Wait time.Duration
	// Err is why: a *StatusError or an error of the network.
	Err error
}

func (o Options) withDefaults() Options {
	if o.PerHost <= 0 {
		o.PerHost = DefaultPerHost
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = DefaultMaxAttempts
	}
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.ResponseTimeout <= 0 {
		o.ResponseTimeout = DefaultResponseTimeout
	}
	if o.OnRetry == nil {
		o.OnRetry = func(Retry) {}
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return o
}
