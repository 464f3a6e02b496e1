package harbor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/registry"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Kinds of registries that Harbor replicates with.
const (
	KindHarbor   = "harbor"
	KindRegistry = "docker-registry"
)

// Endpoint is another registry that a Harbor replicates with.
type Endpoint struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	// URL is "https://host[:port]".
	URL string `json:"url"`
	// Kind is KindHarbor or KindRegistry.
	Kind string `json:"kind"`
	// User that Harbor logs in as there.
	User   string `json:"user,omitempty"`
	Status string `json:"status,omitempty"`
}

// EndpointError says that Harbor could not be told of another registry, and why as far
// as that is known.
type EndpointError struct {
	Endpoint
	// Unexplained says that Harbor gave no reason, as it does for certificates that
	// it does not trust. Harbor 2.14 has no field for the authority of an endpoint.
	Unexplained bool
	Err         error
}

func (e *EndpointError) Error() string {
	return fmt.Sprintf("telling Harbor of %q at %s: %v", e.Name, e.URL, e.Err)
}

func (e *EndpointError) Unwrap() error { return e.Err }

// Endpoints lists the registries that the Harbor knows.
func (c *Client) Endpoints(ctx context.Context) ([]Endpoint, error) {
	var out []Endpoint
	err := paged(func(page, size int64) (int, error) {
		params := registry.NewListRegistriesParamsWithContext(ctx)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Registry.ListRegistries(ctx, params)
		if err != nil {
			return 0, failure("listing registries", "", err)
		}
		for _, r := range resp.Payload {
			e := Endpoint{ID: r.ID, Name: r.Name, URL: r.URL, Kind: r.Type, Status: r.Status}
			if r.Credential != nil {
				e.User = r.Credential.AccessKey
			}
			out = append(out, e)
		}
		return len(resp.Payload), nil
	})
	return out, err
}

// EnsureEndpoint tells Harbor of a registry, or of new credentials for one that it
// knows by this name. Harbor verifies its certificate, and logs in there before it
// answers. An error that has to do with the other registry is an *EndpointError.
func (c *Client) EnsureEndpoint(ctx context.Context, want Endpoint, password string) (*Endpoint, error) {
	if _, err := ParseURL(want.URL); err != nil {
		return nil, err
	}
	have, err := c.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range have {
		if e.Name != want.Name {
			continue
		}
		if !sameURL(e.URL, want.URL) || e.Kind != want.Kind {
			return nil, &EndpointError{Endpoint: want, Err: fmt.Errorf("%w: under this name it knows %s of kind %q", ErrOtherEndpoint, e.URL, e.Kind)}
		}
		return c.updateEndpoint(ctx, e, want.User, password)
	}
	req := &models.Registry{
		Name: want.Name, URL: want.URL, Type: want.Kind, Description: "made by naru install",
		Credential: &models.RegistryCredential{Type: "basic", AccessKey: want.User, AccessSecret: password},
	}
	_, err = c.api.Registry.CreateRegistry(ctx, registry.NewCreateRegistryParamsWithContext(ctx).WithRegistry(req))
	if err != nil {
		return nil, endpointFailure(want, err)
	}
	if have, err = c.Endpoints(ctx); err != nil {
		return nil, err
	}
	for _, e := range have {
		if e.Name == want.Name {
			return &e, nil
		}
	}
	return nil, &EndpointError{Endpoint: want, Err: ErrNotFound}
}

// ErrOtherEndpoint is wrapped in an *EndpointError for a name that stands for another
// registry already.
var ErrOtherEndpoint = errors.New("the name is taken")

func (c *Client) updateEndpoint(ctx context.Context, e Endpoint, user, password string) (*Endpoint, error) {
	kind, secure := "basic", false
	update := &models.RegistryUpdate{AccessKey: &user, AccessSecret: &password, CredentialType: &kind, Insecure: &secure}
	params := registry.NewUpdateRegistryParamsWithContext(ctx).WithID(e.ID).WithRegistry(update)
	if _, err := c.api.Registry.UpdateRegistry(ctx, params); err != nil {
		return nil, endpointFailure(e, err)
	}
	e.User = user
	return &e, nil
}

// endpointFailure explains what Harbor answers about another registry. It says
// nothing more than 500 when it does not trust the certificate there.
func endpointFailure(e Endpoint, err error) error {
	err = failure("adding registry", e.Name, err)
	var answer *Error
	unexplained := errors.As(err, &answer) && answer.Status == http.StatusInternalServerError
	return &EndpointError{Endpoint: e, Unexplained: unexplained, Err: err}
}

func sameURL(a, b string) bool {
	ua, errA := url.Parse(strings.TrimSuffix(a, "/"))
	ub, errB := url.Parse(strings.TrimSuffix(b, "/"))
	return errA == nil && errB == nil && ua.Scheme == ub.Scheme && strings.EqualFold(ua.Host, ub.Host)
}

// DeleteEndpoint makes Harbor forget a registry that no policy names. One that is gone
// is no error.
func (c *Client) DeleteEndpoint(ctx context.Context, e Endpoint) error {
	_, err := c.api.Registry.DeleteRegistry(ctx, registry.NewDeleteRegistryParamsWithContext(ctx).WithID(e.ID))
	if err = failure("removing registry", e.Name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
