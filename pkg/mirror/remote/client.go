package remote

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"oras.land/oras-go/v2/registry"
	oras "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Client speaks to registries and file servers. It is safe for concurrent use.
type Client struct {
	places *places
	auth   *auth.Client
}

// New is a Client. It reads the CA files and the Docker config.
func New(opts Options) (*Client, error) {
	opts = opts.withDefaults()
	places, err := newPlaces(opts)
	if err != nil {
		return nil, fmt.Errorf("mapping registries: %w", err)
	}
	credential, err := credentialFunc(opts)
	if err != nil {
		return nil, err
	}
	base, err := newTransport(opts)
	if err != nil {
		return nil, err
	}
	guarded := &guard{next: base, idle: opts.IdleTimeout, userAgent: opts.UserAgent}
	sender := &http.Client{
		Transport:     &retrier{next: guarded, attempts: opts.MaxAttempts, maxWait: opts.MaxWait, onRetry: opts.OnRetry},
		CheckRedirect: places.checkRedirect,
	}
	return &Client{
		places: places,
		auth:   &auth.Client{Client: sender, Cache: auth.NewCache(), Credential: credential, ClientID: "naru"},
	}, nil
}

// CloseIdle closes connections that nothing uses now. The Client stays usable.
func (c *Client) CloseIdle() { c.auth.Client.CloseIdleConnections() }

// Do sends a request to where its URL says, whatever is mapped, and authenticates
// with the scopes that oras-go left in its context. It implements oras-go's
// remote.Client: an answer of any status is no error.
//
// Errors are a *url.Error where the network failed and an *AuthError where
// credentials could not be had.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.auth.Do(req)
	return answered(req, resp, err)
}

// anonymous is Do without credentials.
func (c *Client) anonymous(req *http.Request) (*http.Response, error) {
	resp, err := c.auth.Client.Do(req)
	return answered(req, resp, err)
}

// answered takes secrets out of what came of a request.
func answered(req *http.Request, resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, redactError(req.URL.Host, err)
	}
	if resp.StatusCode >= http.StatusBadRequest && resp.Request != nil {
		// oras-go puts this URL into its errors. It may be the signed one of an
		// object store that the request was sent on to.
		plain := *resp.Request
		plain.URL = redact(plain.URL)
		resp.Request = &plain
	}
	return resp, nil
}

// Locate says where a repository of an upstream host is to be found at this site:
// the host to speak to, the repository there, and whether to do without TLS.
func (c *Client) Locate(upstreamHost, repository string) (registryHost, mappedRepository string, plainHTTP bool) {
	return c.places.registry(upstreamHost, repository)
}

// Repository is oras-go's client of a repository, named host/repository as upstream
// has it, without tag. It speaks to the mirror where one is mapped, through c.
func (c *Client) Repository(name string) (*oras.Repository, error) {
	ref, plain, err := c.reference(name)
	if err != nil {
		return nil, err
	}
	return &oras.Repository{Client: c, Reference: ref, PlainHTTP: plain, SkipReferrersGC: true}, nil
}

func (c *Client) reference(name string) (ref registry.Reference, plain bool, err error) {
	host, repository, ok := strings.Cut(name, "/")
	if !ok || !isHost(host) {
		return ref, false, fmt.Errorf("naming repository %q: %w", name, ErrName)
	}
	ref.Registry, ref.Repository, plain = c.places.registry(host, repository)
	if err := ref.ValidateRepository(); err != nil {
		return ref, false, fmt.Errorf("naming repository %q: %w: %w", name, ErrName, err)
	}
	return ref, plain, nil
}

// credentialFunc finds credentials for a host.
func credentialFunc(opts Options) (auth.CredentialFunc, error) {
	store := opts.Credentials
	if store == nil {
		var err error
		if store, err = dockerConfig(); err != nil {
			return nil, err
		}
	}
	stored, login := credentials.Credential(store), opts.Login
	return func(ctx context.Context, host string) (auth.Credential, error) {
		if login != nil && normalHost(host) == normalHost(login.Host) {
			return auth.Credential{Username: login.User, Password: login.Password}, nil
		}
		return stored(ctx, host)
	}, nil
}

// dockerConfig is the user's Docker config. Services may have no home and so none.
func dockerConfig() (credentials.Store, error) {
	if os.Getenv("DOCKER_CONFIG") == "" {
		if _, err := os.UserHomeDir(); err != nil {
			return credentials.NewMemoryStore(), nil
		}
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading the Docker config: %w", err)
	}
	return store, nil
}
