package install

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	oras "oras.land/oras-go/v2/registry/remote"

	"naru/internal/intake"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/harbor"
	"naru/pkg/mirror/push"
	"naru/pkg/mirror/remote"
)

// DefaultState is the folder of what the isolated side keeps: the site key, the
// journal, reports.
const DefaultState = "/var/lib/naru"

// Immutability says whether seeding makes tags immutable.
type Immutability string

// What can be wanted. The zero value is Immutable.
const (
	Immutable Immutability = ""
	Mutable   Immutability = "mutable"
)

// Packages says whether OS packages are pushed too. They live in the depot, which serves
// them to apt and dnf; a registry cannot, and is slow to take so many layers.
type Packages string

// What can be wanted. The zero value leaves them out.
const (
	WithoutPackages Packages = ""
	WithPackages    Packages = "with"
)

// HarborLogin says which Harbor is spoken to, and as whom.
type HarborLogin struct {
	// URL is "https://host[:port]".
	URL            string
	User, Password string
	CAFiles        []string
	UserAgent      string
	// Transport carries all requests in place of one made here, through a host or in
	// tests. It has to end requests that stand still.
	Transport http.RoundTripper
}

// Client is a client of the Harbor's API.
func (l HarborLogin) Client() (*harbor.Client, error) {
	return harbor.New(harbor.Options{
		URL: l.URL, User: l.User, Password: l.Password, CAFiles: l.CAFiles, UserAgent: l.UserAgent, Transport: l.Transport,
	})
}

// registry is a client of the Harbor's registry.
func (l HarborLogin) registry(c *harbor.Client, jobs int) (oras.Client, error) {
	if l.Transport != nil {
		// What is sent is meant for this Harbor, and for no other server.
		stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return c.Registry(&http.Client{Transport: l.Transport, CheckRedirect: stay}), nil
	}
	// The push retries by itself, and goes slower when Harbor says so.
	inner, err := remote.New(remote.Options{CAFiles: l.CAFiles, PerHost: jobs, MaxAttempts: 1, UserAgent: l.UserAgent})
	if err != nil {
		return nil, err
	}
	return c.Registry(inner), nil
}

// SeedOptions are those of Seed.
type SeedOptions struct {
	Intake intake.Options
	// AllowUnscanned takes bundles that were built without a scan.
	AllowUnscanned bool
	Harbor         HarborLogin
	// Admin speaks to Harbor's API where that needs more rights than the robot that
	// pushes has: quotas, immutability, replication policies. Nil for Harbor's login.
	Admin *HarborLogin
	// State is the folder of site key, journal and reports; empty for DefaultState.
	State string
	// Jobs bounds concurrent uploads; 0 is the default of package push.
	Jobs int
	// ChunkSize of uploads in bytes; 0 is the default of package push.
	ChunkSize int64
	// Only keeps the artifacts of these references, as in PushOptions.
	Only     []string
	Packages Packages
	Tags     Immutability
	// DryRun returns the plan alone; Harbor is not spoken to.
	DryRun   bool
	Progress progress.Observer
	// Now is the time of the report; nil for that of the host.
	Now func() time.Time
}

// SeedResult is what a seeding did.
type SeedResult struct {
	Plan *push.Plan `json:"-"`
	// Report is what was written and signed; nil for a dry run.
	Report *SeedReport `json:"report,omitempty"`
	// Path is where the report lies, with its signature beside it.
	Path string `json:"path,omitempty"`
	// NewKey says that the site key was made by this run.
	NewKey bool         `json:"newKey,omitempty"`
	Pushed *push.Result `json:"push,omitempty"`
}

// ImmutableError lists the tags that Harbor holds immutable with something else under
// them. It is found out before anything is pushed.
type ImmutableError struct{ Tags []push.Pending }

func (e *ImmutableError) Error() string {
	lines := make([]string, len(e.Tags))
	for i, p := range e.Tags {
		lines[i] = fmt.Sprintf("comparing immutable tags: %s:%s is %s in Harbor and %s in the bundle", p.Repository, p.Tag, p.Got, p.Descriptor.Digest)
	}
	return strings.Join(lines, "\n")
}

// Seed brings bundles into a Harbor: the projects first, then what Harbor does not have,
// and compares every digest of the locks afterwards. What it found is written down,
// signed with the site key. It is safe to run again at any time, and after a run that
// was cut short: what Harbor has is not sent twice.
//
// Errors: *harbor.NameError, *harbor.QuotaError, *ImmutableError and *harbor.ProjectError
// before anything is pushed; *harbor.Error and *push.Error; *DifferenceError when the
// comparison does not come out even, with the result beside it.
func Seed(ctx context.Context, o SeedOptions) (*SeedResult, error) {
	bundles, err := intake.OpenAll(ctx, o.Intake)
	if err != nil {
		return nil, err
	}
	defer intake.CloseAll(bundles)
	if err := intake.CheckAllScanned(bundles, o.AllowUnscanned); err != nil {
		return nil, err
	}
	return seedBundles(ctx, o, bundles)
}

// seedBundles is Seed for bundles that are open, and stay so.
func seedBundles(ctx context.Context, o SeedOptions, bundles []*intake.Bundle) (*SeedResult, error) {
	s := &seeding{SeedOptions: o.withDefaults(), bundles: bundles, result: &SeedResult{}}
	if err := s.plan(ctx); err != nil {
		if s.client != nil && !o.DryRun {
			err = errors.Join(err, s.resumePaused(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	if o.DryRun {
		return s.result, nil
	}
	if err := s.prepare(ctx); err != nil {
		return s.result, errors.Join(err, s.resumePaused(context.WithoutCancel(ctx)))
	}
	resume, err := s.pausePolicies(ctx)
	if err != nil {
		return s.result, err
	}
	err = s.push(ctx)
	// Whatever became of the push, the site's replication goes on as it did.
	if err = errors.Join(err, resume(context.WithoutCancel(ctx))); err != nil {
		return s.result, err
	}
	return s.result, s.settle(ctx)
}

func (o SeedOptions) withDefaults() SeedOptions {
	if o.State == "" {
		o.State = DefaultState
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Jobs <= 0 {
		o.Jobs = push.DefaultJobs
	}
	return o
}

// seeding is one run of Seed.
type seeding struct {
	SeedOptions
	bundles  []*intake.Bundle
	key      *sitekey.Key
	client   *harbor.Client
	info     *harbor.Info
	projects []harbor.Project
	asked    *push.Asked // what Harbor said before the push; nil when nobody had to know
	check    *push.Report
	result   *SeedResult
}

// plan lays out what is to be in Harbor and checks the names of its projects.
func (s *seeding) plan(ctx context.Context) (err error) {
	pusher, err := s.Harbor.Client()
	if err != nil {
		return err
	}
	s.client = pusher
	if s.Admin != nil {
		if s.client, err = s.Admin.Client(); err != nil {
			return err
		}
	}
	registry, err := s.Harbor.registry(pusher, s.Jobs)
	if err != nil {
		return err
	}
	signed, err := intake.WithAllSignatures(ctx, s.bundles)
	if err != nil {
		return err
	}
	contents := make([]push.Content, len(s.bundles))
	for i, b := range signed {
		contents[i] = b
	}
	plan, err := push.NewPlan(ctx, contents, push.Target{Client: registry, Base: s.client.Host()}, s.options())
	if err != nil {
		return err
	}
	s.result.Plan = plan
	if len(plan.Artifacts) == 0 {
		return ErrNothingChosen
	}
	_, err = harbor.ProjectsOf(plan.Repositories())
	return err
}

// options are those of the push.
func (s *seeding) options() push.Options {
	opts := PushOptions{Jobs: s.Jobs, Progress: s.Progress}.options(s.bundles)
	opts.ChunkSize = s.ChunkSize
	opts.SparseIndexes = push.SparseRefused
	chosen := only(s.Only)
	opts.Filter = func(ref string, desc ocispec.Descriptor) bool {
		if s.Packages == WithoutPackages && desc.Annotations[manifest.AnnotationKind] == string(manifest.ArtifactPackages) {
			return false
		}
		return len(s.Only) == 0 || chosen(ref, desc)
	}
	return opts
}

// prepare finds out all that can stand in the way, and makes the projects.
func (s *seeding) prepare(ctx context.Context) (err error) {
	s.Progress.Start("prepare", 0)
	if s.key, err = sitekey.Load(filepath.Join(s.State, "site")); err != nil {
		return err
	}
	s.result.NewKey = s.key.Created
	if s.info, err = s.client.Check(ctx); err != nil {
		return err
	}
	if s.info.ReadOnly {
		return ErrReadOnly
	}
	names, err := harbor.ProjectsOf(s.result.Plan.Repositories())
	if err != nil {
		return err
	}
	if s.projects, err = s.client.EnsureProjects(ctx, names); err != nil {
		return err
	}
	return s.foresee(ctx)
}

// ErrReadOnly says that Harbor takes no pushes.
var ErrReadOnly = errors.New("preparing Harbor: it is in read-only mode")

// foresee compares what is to come with quotas and with immutable tags.
func (s *seeding) foresee(ctx context.Context) error {
	quotas, err := s.client.Quotas(ctx, s.projects)
	if err != nil && !errors.Is(err, harbor.ErrForbidden) {
		return err
	}
	limited := slices.ContainsFunc(quotas, func(q harbor.Quota) bool { return q.Hard != harbor.Unlimited })
	fixed := map[string]bool{}
	for _, p := range s.projects {
		if p.Created {
			continue
		}
		if fixed[p.Name], err = s.client.Immutable(ctx, p); err != nil && !errors.Is(err, harbor.ErrForbidden) {
			return err
		}
	}
	if !limited && len(fixed) == 0 {
		return nil
	}
	if s.asked, err = s.result.Plan.Ask(ctx); err != nil {
		return err
	}
	pending := s.asked.Pending()
	coming := map[string]int64{}
	for repository, n := range push.Sizes(pending) {
		coming[projectOf(repository)] += n
	}
	if err := harbor.Forecast(quotas, coming); err != nil {
		return err
	}
	var moved []push.Pending
	for _, p := range pending {
		if p.Moves() && fixed[projectOf(p.Repository)] && !harbor.Mutable(p.Repository, p.Tag) {
			moved = append(moved, p)
		}
	}
	if len(moved) > 0 {
		return &ImmutableError{Tags: moved}
	}
	return nil
}

func projectOf(repository string) string {
	name, _, _ := strings.Cut(repository, "/")
	return name
}

// push sends what Harbor does not have, and compares.
func (s *seeding) push(ctx context.Context) (err error) {
	s.Progress.Start("push", s.result.Plan.Bytes)
	s.result.Pushed, s.check, err = s.result.Plan.Push(ctx, s.asked)
	return err
}

// settle makes tags immutable and writes the report.
func (s *seeding) settle(ctx context.Context) error {
	var fixed []string
	if s.Tags == Immutable {
		s.Progress.Start("immutable", 0)
		for _, p := range s.projects {
			if _, err := s.client.EnsureImmutable(ctx, p); err != nil {
				return err
			}
			fixed = append(fixed, p.Name)
		}
	}
	report, err := s.report(ctx, fixed)
	if err != nil {
		return err
	}
	if err := s.write(report); err != nil {
		return err
	}
	return report.err()
}
