package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/serve"
)

// NotServedError is a depot that serves, and left out a bundle that it was given:
// nobody it trusts signed that, its key was revoked there, or its volumes are damaged.
type NotServedError struct {
	Host, Bundle string
	// Why is what the depot says of it, "" for nothing.
	Why string
}

func (e *NotServedError) Error() string {
	s := fmt.Sprintf("%s: the depot serves, but for bundle %s", e.Host, e.Bundle)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// depotState is what a depot says that it serves, and leaves out.
type depotState struct {
	Bundles []struct {
		Digest digest.Digest `json:"digest"`
	} `json:"bundles"`
	Refused []serve.Refused `json:"refused"`
}

// serves tells whether the depot serves a bundle, and if not, why, as far as it says.
func (s *depotState) serves(d digest.Digest) (served bool, why string) {
	for _, b := range s.Bundles {
		if b.Digest == d {
			return true, ""
		}
	}
	return false, s.refuses(d)
}

// refuses is why the depot leaves a bundle out that it has, or "".
func (s *depotState) refuses(d digest.Digest) string {
	for _, r := range s.Refused {
		if r.Bundle == d {
			return r.Reason
		}
	}
	return ""
}

// lacks is an error for the first of bundles that the depot does not serve, else nil.
func (s *depotState) lacks(host string, bundles []*intake.Bundle) error {
	for _, b := range bundles {
		if served, why := s.serves(b.BundleDigest()); !served {
			return &NotServedError{Host: host, Bundle: b.BundleDigest().String(), Why: why}
		}
	}
	return nil
}

// noteRefused tells of bundles that a depot leaves out though it has them: what they
// alone carry cannot be pulled.
func (c *Cluster) noteRefused(h *bootstrap.Host, s *depotState) {
	for _, r := range s.Refused {
		name := r.Bundle.String()
		if name == "" {
			name = r.Name
		}
		c.Progress.Note(fmt.Sprintf("warning: %s: the depot leaves out bundle %s: %s", h.Name, name, r.Reason))
	}
}

// depotClient speaks to a host's depot through the host's own connection.
func (c *Cluster) depotClient(h *bootstrap.Host) (*http.Client, error) {
	f, ok := h.Runner.(bootstrap.Forwarder)
	if !ok {
		return nil, errors.New("the host's connection cannot carry others")
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext:     f.Dial,
		TLSClientConfig: c.tlsConfig(),
	}}, nil
}

// askDepot asks a host's depot what it serves; nil when it does not answer, or not yet.
func (c *Cluster) askDepot(ctx context.Context, h *bootstrap.Host) (*depotState, error) {
	client, err := c.depotClient(h)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	url := "https://" + manifest.Endpoint{Host: bracket(h.Address), Port: c.Site.Depot.Port}.String() + "/bundles"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the depot: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil //nolint:nilerr // not there, or not yet
	}
	defer func() { _ = resp.Body.Close() }()
	var s depotState
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, 4<<20)).Decode(&s) != nil {
		return nil, nil
	}
	return &s, nil
}

// tellServed adds to a list of what depots hold which of it they do not serve. Depots are
// known by the site's authority: without that nobody is asked.
func (c *Cluster) tellServed(ctx context.Context, list []DepotBundle) error {
	if holds, err := c.authorityHolds(ctx); err != nil || !holds {
		return err
	}
	for _, h := range c.depots() {
		if !slices.ContainsFunc(list, func(b DepotBundle) bool { return b.Host == h.Name }) {
			continue
		}
		s, err := c.askDepot(ctx, h)
		if err != nil {
			return err
		}
		for i := range list {
			b := &list[i]
			if b.Host != h.Name {
				continue
			}
			if s == nil {
				b.NotServed = "the depot does not answer"
			} else if served, why := s.serves(digest.Digest(b.Bundle)); !served {
				b.NotServed = "the depot does not say why"
				if why != "" {
					b.NotServed = why
				}
			}
		}
	}
	return nil
}
