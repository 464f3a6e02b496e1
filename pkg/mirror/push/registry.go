package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxBackoff bounds the wait between two attempts.
const maxBackoff = 10 * time.Second

const acceptManifests = ocispec.MediaTypeImageManifest + ", " + ocispec.MediaTypeImageIndex + ", " +
	mediaTypeDockerManifest + ", " + mediaTypeDockerList + ", */*"

// endpoint speaks to one registry, below any knowledge of plans.
type endpoint struct {
	host     string
	base     *url.URL // of the host
	plain    bool
	client   *gate
	attempts int
	onRetry  func(RetryEvent)

	mu    sync.Mutex
	repos map[string]*remote.Repository
}

func newEndpoint(host string, target Target, opts Options) *endpoint {
	scheme := "https"
	if target.PlainHTTP {
		scheme = "http"
	}
	ref := registry.Reference{Registry: host}
	return &endpoint{
		host: host, base: &url.URL{Scheme: scheme, Host: ref.Host()}, plain: target.PlainHTTP,
		client:   &gate{inner: target.Client, limiter: newLimiter(opts.Jobs)},
		attempts: opts.Attempts, onRetry: opts.OnRetry, repos: map[string]*remote.Repository{},
	}
}

// repository is the oras client of one repository: it keeps the referrers tag
// schema up where the registry lacks the referrers API.
func (e *endpoint) repository(name string) *remote.Repository {
	e.mu.Lock()
	defer e.mu.Unlock()
	repo := e.repos[name]
	if repo == nil {
		repo = &remote.Repository{
			Client: e.client, PlainHTTP: e.plain,
			Reference: registry.Reference{Registry: e.host, Repository: name},
			// A registry that cannot delete is no reason to fail, and what an
			// older index listed may still be wanted by digest.
			SkipReferrersGC: true,
		}
		e.repos[name] = repo
	}
	return repo
}

// url of a path below a repository.
func (e *endpoint) url(repository string, elements ...string) *url.URL {
	u := *e.base
	u.Path = "/v2/" + repository + "/" + strings.Join(elements, "/")
	return &u
}

// scoped asks for the rights to push to a repository, and to read from others.
func (e *endpoint) scoped(ctx context.Context, repository string, from ...string) context.Context {
	ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: e.host, Repository: repository}, auth.ActionPull, auth.ActionPush)
	for _, name := range from {
		ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: e.host, Repository: name}, auth.ActionPull)
	}
	return ctx
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body []byte
}

// err is what the answer means when its status is not a wanted one.
func (a *answer) err() error { return responseError(a.Response, a.body) }

// do sends a request and reads the short answer, so that its connection is free
// for the next.
func (e *endpoint) do(req *http.Request) (*answer, error) {
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, redactError(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil && resp.StatusCode < 300 && req.Method != http.MethodHead {
		return nil, &url.Error{Op: req.Method, URL: redact(req.URL).String(), Err: err}
	}
	return &answer{Response: resp, body: body}, nil
}

// redactError drops the query from the URL that net/http puts into errors.
func redactError(err error) error {
	var ue *url.Error
	if !errors.As(err, &ue) {
		return err
	}
	plain := *ue
	plain.URL, _, _ = strings.Cut(plain.URL, "?")
	return &plain
}

// request sends one without a body.
func (e *endpoint) request(ctx context.Context, method string, u *url.URL) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return e.do(req)
}

// ping asks once whether anybody answers, so that a registry that is down is told
// of once and not for every artifact. What it answers, rights included, is for
// the questions that follow.
func (e *endpoint) ping(ctx context.Context) error {
	return e.retry(ctx, "contacting the registry", "", "", func() error {
		u := *e.base
		u.Path = "/v2/"
		resp, err := e.request(ctx, http.MethodGet, &u)
		if err != nil {
			return err
		}
		if err := resp.err(); resp.StatusCode >= http.StatusBadRequest && retryable(err) {
			return err
		}
		return nil
	})
}

// headBlob tells whether a repository holds a blob.
func (e *endpoint) headBlob(ctx context.Context, repository string, d digest.Digest) (held bool, err error) {
	ctx = e.scoped(ctx, repository)
	err = e.retry(ctx, "asking for blob", repository, d, func() error {
		resp, err := e.request(ctx, http.MethodHead, e.url(repository, "blobs", d.String()))
		if err != nil {
			return err
		}
		held = resp.StatusCode == http.StatusOK
		if !held && resp.StatusCode != http.StatusNotFound {
			return resp.err()
		}
		return nil
	})
	return held, err
}

// headManifest is the digest that a tag or digest stands for, "" when there is
// none.
func (e *endpoint) headManifest(ctx context.Context, repository, reference string) (d digest.Digest, err error) {
	ctx = e.scoped(ctx, repository)
	op, about := "asking for manifest", digest.Digest(reference)
	if about.Validate() != nil {
		op, about = fmt.Sprintf("asking for tag %q", reference), ""
	}
	err = e.retry(ctx, op, repository, about, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, e.url(repository, "manifests", reference).String(), nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", acceptManifests)
		resp, err := e.do(req)
		if err != nil {
			return err
		}
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusNotFound:
			d = ""
			return nil
		default:
			return resp.err()
		}
		if d = digest.Digest(resp.Header.Get("Docker-Content-Digest")); d == "" {
			d, err = e.getManifest(ctx, repository, reference)
		}
		return err
	})
	return d, err
}

// getManifest computes the digest of a manifest, for registries that do not say.
func (e *endpoint) getManifest(ctx context.Context, repository, reference string) (digest.Digest, error) {
	data, err := e.readManifest(ctx, repository, reference)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), nil
}

// fetchManifest is the manifest of a digest, whose bytes are compared with it.
func (e *endpoint) fetchManifest(ctx context.Context, repository string, d digest.Digest) (data []byte, err error) {
	ctx = e.scoped(ctx, repository)
	err = e.retry(ctx, "reading manifest", repository, d, func() (err error) {
		if data, err = e.readManifest(ctx, repository, d.String()); err != nil {
			return err
		}
		if got := digest.FromBytes(data); got != d {
			return fmt.Errorf("reading manifest %s: its bytes are %s", d, got)
		}
		return nil
	})
	return data, err
}

func (e *endpoint) readManifest(ctx context.Context, repository, reference string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url(repository, "manifests", reference).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, redactError(err)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading manifest %q: %w", reference, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, responseError(resp, data)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("reading manifest %q: it is over the bound of %d bytes", reference, maxManifest)
	}
	return data, nil
}

// retry calls f until it succeeds, fails for good, or has been tried enough. The
// error is an *Error.
func (e *endpoint) retry(ctx context.Context, op, repository string, d digest.Digest, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil {
			return nil
		}
		if attempt >= e.attempts || !retryable(err) {
			return destinationError(op, repository, d, err)
		}
		e.onRetry(RetryEvent{Op: op, Repository: repository, Digest: d, Attempt: attempt, Err: err})
		if perr := pause(ctx, backoff(attempt)); perr != nil {
			return destinationError(op, repository, d, perr)
		}
	}
}

// destinationError makes err an *Error unless it is one.
func destinationError(op, repository string, d digest.Digest, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Repository: repository, Digest: d, Side: SideDestination, Err: err}
}

// backoff doubles from 200 ms, with jitter of half.
func backoff(attempt int) time.Duration {
	d := min(200*time.Millisecond<<min(attempt-1, 10), maxBackoff)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}
