package install

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"naru/internal/journal"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/pkg/harbor"
)

// pollInterval is how often tasks of a replication are looked at.
const pollInterval = 2 * time.Second

// ReplicateOptions are those of Replicate.
type ReplicateOptions struct {
	// Harbor runs the replication.
	Harbor HarborLogin
	// State is the folder of site key and journal; empty for DefaultState.
	State string
	// Sites are the names of those to replicate to, or from.
	Sites []string
	// Target tells of a site that Harbor does not know yet, or anew; then Sites has
	// one name. Without it the sites have to be known.
	Target *TargetSite
	// Policy is what and when: Name, Endpoint and Enabled are set here. It is taken
	// with Target only; a site that is known keeps what it has.
	Policy harbor.Policy
	// SetUpOnly makes endpoint and policy and runs nothing.
	SetUpOnly bool
	Progress  progress.Observer
	// Every is how often to look at a run; 0 for a sensible time.
	Every time.Duration
}

// TargetSite is the Harbor of another site, or a plain registry.
type TargetSite struct {
	URL, User, Password string
	// Kind is harbor.KindHarbor or harbor.KindRegistry.
	Kind string
}

// Replicated is what was done for one site.
type Replicated struct {
	Site   string        `json:"site"`
	Policy harbor.Policy `json:"policy"`
	// Changed says that endpoint or policy were made or changed.
	Changed bool              `json:"changed"`
	Run     *harbor.Execution `json:"run,omitempty"`
}

// ErrNoSite says that a site is not known to Harbor.
var ErrNoSite = errors.New("no policy of naru's for it")

// policyName is the name of naru's policy for a site.
func policyName(site string, d harbor.Direction) string {
	if d == harbor.Pull {
		return "naru-from-" + site
	}
	return "naru-to-" + site
}

// Replicate makes the policies for sites, where it is told of them, runs them, and waits
// until every task has ended. What it finds is noted in the site's journal. A failure at
// one site does not keep the others from being replicated to; all are reported.
func Replicate(ctx context.Context, o ReplicateOptions) ([]Replicated, error) {
	if o.State == "" {
		o.State = DefaultState
	}
	if o.Every <= 0 {
		o.Every = pollInterval
	}
	for _, site := range o.Sites {
		if err := checkSite(site); err != nil {
			return nil, err
		}
	}
	c, err := o.Harbor.Client()
	if err != nil {
		return nil, err
	}
	if _, err := c.Check(ctx); err != nil {
		return nil, err
	}
	out, err := o.policies(ctx, c)
	if err != nil || o.SetUpOnly {
		return out, err
	}
	var errs []error
	for i := range out {
		errs = append(errs, o.run(ctx, c, &out[i]))
		if ctx.Err() != nil {
			break
		}
	}
	err = errors.Join(errs...)
	return out, errors.Join(err, o.note(c, out, err))
}

// policies makes or finds the policy of each site.
func (o ReplicateOptions) policies(ctx context.Context, c *harbor.Client) ([]Replicated, error) {
	if o.Target != nil {
		r, err := o.setUp(ctx, c)
		if err != nil {
			return nil, err
		}
		return []Replicated{*r}, nil
	}
	have, err := c.Policies(ctx)
	if err != nil {
		return nil, err
	}
	var out []Replicated
	for _, site := range o.Sites {
		i := slices.IndexFunc(have, func(p harbor.Policy) bool {
			return p.Name == policyName(site, harbor.Push) || p.Name == policyName(site, harbor.Pull)
		})
		if i < 0 {
			return nil, fmt.Errorf("looking for site %q: %w", site, ErrNoSite)
		}
		out = append(out, Replicated{Site: site, Policy: have[i]})
	}
	return out, nil
}

func (o ReplicateOptions) setUp(ctx context.Context, c *harbor.Client) (*Replicated, error) {
	site := o.Sites[0]
	wanted := harbor.Endpoint{Name: "naru-" + site, URL: o.Target.URL, Kind: o.Target.Kind, User: o.Target.User}
	endpoint, err := c.EnsureEndpoint(ctx, wanted, o.Target.Password)
	if err != nil {
		return nil, explainEndpoint(ctx, err)
	}
	policy := o.Policy
	policy.Name, policy.Endpoint, policy.Enabled = policyName(site, policy.Direction), *endpoint, true
	p, changed, err := c.EnsurePolicy(ctx, policy)
	if err != nil {
		return nil, err
	}
	return &Replicated{Site: site, Policy: *p, Changed: changed}, nil
}

// TargetCAError says that the certificate of another site is signed by an authority that
// this host does not trust either: most likely that is what Harbor gives no reason for.
type TargetCAError struct {
	*harbor.EndpointError
	// Authority is the name of who signed the certificate.
	Authority string
}

func (e *TargetCAError) Error() string {
	return fmt.Sprintf("%v (its certificate is signed by %q, a private authority)", e.EndpointError, e.Authority)
}

func (e *TargetCAError) Unwrap() error { return e.EndpointError }

// explainEndpoint looks at the certificate of a site about which Harbor gives no reason.
func explainEndpoint(ctx context.Context, err error) error {
	var endpoint *harbor.EndpointError
	if !errors.As(err, &endpoint) || !endpoint.Unexplained {
		return err
	}
	u, uerr := harbor.ParseURL(endpoint.URL)
	if uerr != nil {
		return err
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, derr := (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
	if derr == nil {
		_ = conn.Close() // nothing was said
		return err
	}
	var untrusted *tls.CertificateVerificationError
	if !errors.As(derr, &untrusted) || len(untrusted.UnverifiedCertificates) == 0 {
		return err
	}
	return &TargetCAError{EndpointError: endpoint, Authority: untrusted.UnverifiedCertificates[0].Issuer.String()}
}

// run runs one policy and waits for it.
func (o ReplicateOptions) run(ctx context.Context, c *harbor.Client, r *Replicated) error {
	o.Progress.Start("replicate "+r.Site, 0)
	id, err := c.StartReplication(ctx, r.Policy)
	if err != nil {
		return err
	}
	last := ""
	run, err := c.WaitReplication(ctx, r.Policy, id, harbor.WaitOptions{Every: o.Every, OnState: func(e harbor.Execution) {
		line := fmt.Sprintf("%s: %d of %d done, %d failed", r.Site, e.Succeed, e.Tasks, len(e.Failures))
		if line != last {
			o.Progress.Note(line)
			last = line
		}
	}})
	r.Run = run
	return err
}

// note writes into the journal what was replicated.
func (o ReplicateOptions) note(c *harbor.Client, list []Replicated, outcome error) error {
	key, err := sitekey.Load(filepath.Join(o.State, "site"))
	if err != nil {
		return err
	}
	result := "complete"
	if outcome != nil {
		result = "failed"
	}
	var sites []string
	for _, r := range list {
		tasks := 0
		if r.Run != nil {
			tasks = r.Run.Succeed
		}
		sites = append(sites, fmt.Sprintf("%s by %s: %d", r.Site, r.Policy.Name, tasks))
	}
	data := map[string]any{"harbor": c.URL(), "user": o.Harbor.User, "sites": sites, "outcome": result}
	_, err = journal.Append(filepath.Join(o.State, "journal.jsonl"), key, "harbor-replicated", data)
	return err
}

// checkSite refuses names that could not be part of names in Harbor.
func checkSite(name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}) {
		return fmt.Errorf("naming site %q: %w", name, ErrSiteName)
	}
	return nil
}

// ErrSiteName is returned for a site's name that Harbor could not keep.
var ErrSiteName = errors.New("want lower-case letters, digits, dashes and dots")
