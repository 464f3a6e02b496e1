package harbor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Own is the project of what has no upstream registry: charts/ and files/.
const Own = "naru"

// Unlimited is the quota of a project without one.
const Unlimited = -1

// projectRE is Harbor's rule for names of projects.
var projectRE = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// NameError says that Harbor takes no projects of these names. Each stands for an
// upstream registry.
type NameError struct{ Names []string }

func (e *NameError) Error() string {
	return fmt.Sprintf("naming projects: Harbor takes lower-case letters and digits with single . _ - between them, not %q", e.Names)
}

// ProjectsOf are the projects that repositories, "project/name", lie in: sorted, each
// once. Names that Harbor refuses are listed in a *NameError.
func ProjectsOf(repositories []string) ([]string, error) {
	var names, bad []string
	for _, r := range repositories {
		name, _, _ := strings.Cut(r, "/")
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		if !projectRE.MatchString(name) || len(name) > 255 {
			bad = append(bad, name)
		}
	}
	if len(bad) > 0 {
		return nil, &NameError{Names: bad}
	}
	return names, nil
}

// upstreamRE are names that stand for an upstream registry: a host of DNS whose last label
// is a word, or an IPv4 address, with its port or without, or localhost with one. A host of
// one label with its port, team_2025, may as well be a project of others.
var upstreamRE = regexp.MustCompile(`^(?:(?:(?:[a-z0-9-]+\.)+(?:[a-z]{2,}|xn--[a-z0-9-]+)|[0-9]+(?:\.[0-9]+){3})(?:_[0-9]+)?|localhost_[0-9]+)$`)

// Seeded tells whether a project is named as those that bundles are pushed into: for an
// upstream registry, or Own. Others are not naru's.
func (p Project) Seeded() bool { return p.Name == Own || upstreamRE.MatchString(p.Name) }

// Project is a project of a Harbor.
type Project struct {
	Name   string `json:"name"`
	ID     int64  `json:"id"`
	Public bool   `json:"public"`
	// ProxyCache says that the project fetches from elsewhere and takes no pushes.
	ProxyCache   bool  `json:"proxyCache,omitempty"`
	Repositories int64 `json:"repositories"`
	// Created says that this run made it.
	Created bool `json:"created,omitempty"`

	// contentTrust says that pulls need a cosign signature, which also stops
	// replication.
	contentTrust bool
	retention    string
}

// Projects lists all projects that the user sees, by name.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	var out []Project
	err := paged(func(page, size int64) (int, error) {
		params := project.NewListProjectsParamsWithContext(ctx)
		params.Page, params.PageSize = &page, &size
		resp, err := c.api.Project.ListProjects(ctx, params)
		if err != nil {
			return 0, failure("listing projects", "", err)
		}
		for _, p := range resp.Payload {
			out = append(out, newProject(p))
		}
		return len(resp.Payload), nil
	})
	slices.SortFunc(out, func(a, b Project) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

func newProject(p *models.Project) Project {
	out := Project{Name: p.Name, ID: int64(p.ProjectID), ProxyCache: p.RegistryID != 0, Repositories: p.RepoCount}
	if m := p.Metadata; m != nil {
		out.Public = m.Public == "true"
		out.contentTrust = deref(m.EnableContentTrustCosign) == "true"
		out.retention = deref(m.RetentionID)
	}
	return out
}

// ProjectError says why a project that is there cannot be used as it is.
type ProjectError struct {
	Name string
	Err  error
}

func (e *ProjectError) Error() string { return fmt.Sprintf("using project %q: %v", e.Name, e.Err) }
func (e *ProjectError) Unwrap() error { return e.Err }

// What can be wrong with a project.
var (
	ErrProxyCache = errors.New("it is a proxy cache, which takes no pushes")
	ErrPublic     = errors.New("it is public: anybody who reaches Harbor may pull from it")
)

// EnsureProjects makes the projects that are not there, private and without a quota of
// their own. One that is there is left as it is, and has to be private and no proxy
// cache: else the error is a *ProjectError for each, joined, and nothing is made.
func (c *Client) EnsureProjects(ctx context.Context, names []string) ([]Project, error) {
	have, err := c.Projects(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]Project{}
	for _, p := range have {
		known[p.Name] = p
	}
	var wrong []error
	for _, name := range names {
		switch p, ok := known[name]; {
		case !ok:
		case p.ProxyCache:
			wrong = append(wrong, &ProjectError{Name: name, Err: ErrProxyCache})
		case p.Public:
			wrong = append(wrong, &ProjectError{Name: name, Err: ErrPublic})
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	out := make([]Project, 0, len(names))
	for _, name := range names {
		p, ok := known[name]
		if !ok {
			if p, err = c.createProject(ctx, name); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	return out, nil
}

func (c *Client) createProject(ctx context.Context, name string) (Project, error) {
	limit := int64(Unlimited)
	req := &models.ProjectReq{ProjectName: name, StorageLimit: &limit, Metadata: &models.ProjectMetadata{Public: "false"}}
	params := project.NewCreateProjectParamsWithContext(ctx).WithProject(req)
	_, err := c.api.Project.CreateProject(ctx, params)
	err = failure("creating project", name, err)
	created := true
	if errors.Is(err, ErrConflict) { // somebody else was first, or may see it only
		created, err = false, nil
	}
	if err != nil {
		return Project{}, err
	}
	named := true
	resp, err := c.api.Project.GetProject(ctx, project.NewGetProjectParamsWithContext(ctx).WithProjectNameOrID(name).WithXIsResourceName(&named))
	if err != nil {
		return Project{}, failure("reading project", name, err)
	}
	p := newProject(resp.Payload)
	p.Created = created
	return p, nil
}

// DeleteProject removes a project that holds no repository. One that is gone is no
// error; one that holds some is ErrPrecondition.
func (c *Client) DeleteProject(ctx context.Context, p Project) error {
	named := true
	_, err := c.api.Project.DeleteProject(ctx, project.NewDeleteProjectParamsWithContext(ctx).WithProjectNameOrID(p.Name).WithXIsResourceName(&named))
	if err = failure("removing project", p.Name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// paged calls list for page after page until one is not full.
func paged(list func(page, size int64) (n int, err error)) error {
	for page := int64(1); ; page++ {
		n, err := list(page, pageSize)
		if err != nil || n < pageSize {
			return err
		}
	}
}
