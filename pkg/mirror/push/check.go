package push

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Report is the outcome of a check.
type Report struct {
	Base string `json:"base"`
	// Checked counts the tags, manifests and blobs asked for, by repository.
	Checked int `json:"checked"`
	// Findings are what the registry does not hold as planned, sorted. The check
	// passed when there is none.
	Findings []Finding `json:"findings"`
	// Mappings are the tags that hold what stands in for a sparse index; Orphans
	// are referrers that a registry may refuse, since it does not hold their
	// subject, and that are not there.
	Mappings []Mapping `json:"mappings"`
	Orphans  []Orphan  `json:"orphans"`
	// Compared lists every manifest asked for, sorted by reference and digest.
	Compared []Compared `json:"compared"`
}

// Compared is one manifest of the plan and what became of it in the registry.
type Compared struct {
	Ref        string        `json:"ref"`
	Repository string        `json:"repository"`
	Digest     digest.Digest `json:"digest"`
	// State is StateHeld, StateMapped or StateAbsent.
	State string `json:"state"`
}

// States of a Compared.
const (
	// StateHeld: the registry holds the manifest with all its blobs, and where it
	// has a tag that stands for it.
	StateHeld = "held"
	// StateMapped: something else stands in for it, by a Mapping.
	StateMapped = "mapped"
	// StateAbsent: a Finding or an Orphan tells what is wrong.
	StateAbsent = "absent"
)

// Kinds of findings.
const (
	FindingTag      = "tag"
	FindingManifest = "manifest"
	FindingBlob     = "blob"
)

// Finding is a difference between plan and registry.
type Finding struct {
	Kind       string        `json:"kind"`
	Ref        string        `json:"ref"`
	Repository string        `json:"repository"`
	Want       digest.Digest `json:"want"`
	// Got is what a tag stands for instead; empty when there is nothing.
	Got digest.Digest `json:"got,omitempty"`
}

// Check compares every tag, manifest and blob of the plan with what the registry
// holds, by HEAD. It changes nothing. Findings are not an error; an error is an
// *Error and means that the registry could not be asked.
func (p *Plan) Check(ctx context.Context) (*Report, error) {
	c := newChecker(newRun(p))
	if err := c.run.endpoint.ping(ctx); err != nil {
		return nil, err
	}
	all := make(chan *Artifact, len(p.Artifacts))
	for _, a := range p.Artifacts {
		all <- a
	}
	close(all)
	g, ctx := errgroup.WithContext(ctx)
	for range p.opts.Jobs {
		g.Go(func() error { return c.artifacts(ctx, all) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return c.finish(), nil
}

// settle marks what findings and orphans speak of, and sorts.
func (r *Report) settle() {
	wrong := map[string]bool{}
	for _, f := range r.Findings {
		wrong[f.Ref] = true
	}
	for _, o := range r.Orphans {
		wrong[o.Ref] = true
	}
	for i, c := range r.Compared {
		if wrong[c.Ref] && c.State == StateHeld {
			r.Compared[i].State = StateAbsent
		}
	}
	slices.SortFunc(r.Compared, func(a, b Compared) int {
		return cmp.Or(strings.Compare(a.Ref, b.Ref), strings.Compare(string(a.Digest), string(b.Digest)))
	})
}

// checker asks for each thing once.
type checker struct {
	run *run

	mu     sync.Mutex
	report *Report
	asked  map[string]*inquiry
}

func newChecker(r *run) *checker {
	report := &Report{Base: r.plan.Base, Findings: []Finding{}, Mappings: []Mapping{}, Orphans: []Orphan{}, Compared: []Compared{}}
	return &checker{run: r, report: report, asked: map[string]*inquiry{}}
}

// finish lays out the report once all artifacts were compared.
func (c *checker) finish() *Report {
	r := c.report
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return strings.Compare(a.Ref+a.Kind+string(a.Want), b.Ref+b.Kind+string(b.Want))
	})
	r.settle()
	slices.SortFunc(r.Mappings, func(a, b Mapping) int { return strings.Compare(a.Ref, b.Ref) })
	slices.SortFunc(r.Orphans, func(a, b Orphan) int { return strings.Compare(a.Ref, b.Ref) })
	return r
}

// inquiry is the answer to one question.
type inquiry struct {
	once sync.Once
	held bool
	err  error
}

// artifacts compares those that come, until no more do.
func (c *checker) artifacts(ctx context.Context, list <-chan *Artifact) error {
	for a := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.artifact(ctx, a); err != nil {
			return withRef(err, a.Ref)
		}
	}
	return nil
}

// blob tells whether a repository has a blob, unless the registry said so before.
func (c *checker) blob(ctx context.Context, repository string, d digest.Digest) (bool, error) {
	if c.run.heard.blob(repository, d) {
		return true, nil
	}
	return c.run.endpoint.headBlob(ctx, repository, d)
}

func (c *checker) artifact(ctx context.Context, a *Artifact) error {
	got, err := c.run.reference(ctx, a.Repository, a.reference())
	if err != nil {
		return err
	}
	if j, err := c.run.under(ctx, a, got); err != nil || j != nil && j.held {
		return errors.Join(err, c.joint(ctx, a, j))
	}
	mapped := a.Fallback != nil && (got == a.Fallback.Descriptor.Digest || a.Tag == "" && got == "")
	switch {
	case got == a.Descriptor.Digest:
	case mapped:
		c.note(func(r *Report) {
			r.Mappings = append(r.Mappings, Mapping{
				Ref: a.Ref, Target: c.run.plan.name(a), Original: a.Descriptor.Digest, Pushed: got, Reason: ReasonSparseRefused,
			})
		})
	default:
		if orphan, err := c.differs(ctx, a, got); err != nil || orphan {
			return err
		}
	}
	c.note(func(r *Report) { r.Checked++ })
	for _, m := range a.Manifests {
		standIn := mapped && (m == a.root() || len(m.Absent) > 0)
		c.compared(a, m, standIn)
		if standIn {
			continue
		}
		if err := c.manifest(ctx, a, m, got); err != nil {
			return err
		}
	}
	return nil
}

// differs notes that something else, or nothing, stands for a, and tells whether a is an
// orphan, of which no more is to be said.
func (c *checker) differs(ctx context.Context, a *Artifact, got digest.Digest) (orphan bool, err error) {
	if orphan, err = c.orphan(ctx, a, got); err != nil {
		return false, err
	}
	if orphan {
		c.compared(a, a.root(), false)
		return true, nil
	}
	kind := FindingTag
	if a.Tag == "" {
		kind = FindingManifest
	}
	c.note(func(r *Report) {
		r.Findings = append(r.Findings, Finding{Kind: kind, Ref: a.Ref, Repository: a.Repository, Want: a.Descriptor.Digest, Got: got})
	})
	return false, nil
}

// compared lists a manifest; findings mark it later.
func (c *checker) compared(a *Artifact, m *Manifest, standIn bool) {
	state := StateHeld
	if standIn {
		state = StateMapped
	}
	c.note(func(r *Report) {
		r.Compared = append(r.Compared, Compared{Ref: a.Ref, Repository: a.Repository, Digest: m.Descriptor.Digest, State: state})
	})
}

// orphan tells whether a is an OCI referrer that was refused for want of its
// subject.
func (c *checker) orphan(ctx context.Context, a *Artifact, got digest.Digest) (bool, error) {
	if got != "" || a.root().Subject == "" {
		return false, nil
	}
	held, err := c.run.holds(ctx, a.Repository, a.root().Subject)
	if err != nil || held {
		return false, err
	}
	c.note(func(r *Report) {
		r.Orphans = append(r.Orphans, Orphan{
			Ref: a.Ref, Target: c.run.plan.name(a), Digest: a.Descriptor.Digest, Subject: a.Subject, Outcome: OutcomeRefused,
		})
	})
	return true, nil
}

// manifest asks for a manifest by digest and for its blobs. The one that the
// artifact's tag was found to stand for has answered already.
func (c *checker) manifest(ctx context.Context, a *Artifact, m *Manifest, tagged digest.Digest) error {
	err := c.ask(a, FindingManifest, m.Descriptor.Digest, func() (bool, error) {
		if m.Descriptor.Digest == tagged {
			return true, nil
		}
		d, err := c.run.reference(ctx, a.Repository, m.Descriptor.Digest.String())
		return d == m.Descriptor.Digest, err
	})
	if err != nil {
		return err
	}
	return c.blobs(ctx, a, m.Blobs)
}

// blobs asks for blobs in the repository of a.
func (c *checker) blobs(ctx context.Context, a *Artifact, list []ocispec.Descriptor) error {
	for _, b := range list {
		if err := c.ask(a, FindingBlob, b.Digest, func() (bool, error) { return c.blob(ctx, a.Repository, b.Digest) }); err != nil {
			return err
		}
	}
	return nil
}

// ask counts a question the first time it comes up, and notes for whom something is
// missing.
func (c *checker) ask(a *Artifact, kind string, d digest.Digest, head func() (bool, error)) error {
	held, first, err := c.once(a.Repository+"@"+d.String(), head)
	if err != nil {
		return err
	}
	c.note(func(r *Report) {
		if first {
			r.Checked++
		}
		if !held {
			r.Findings = append(r.Findings, Finding{Kind: kind, Ref: a.Ref, Repository: a.Repository, Want: d})
		}
	})
	return nil
}

// once asks a question the first time it comes up.
func (c *checker) once(key string, ask func() (bool, error)) (held, first bool, err error) {
	c.mu.Lock()
	q := c.asked[key]
	if q == nil {
		q = &inquiry{}
		c.asked[key] = q
	}
	c.mu.Unlock()
	q.once.Do(func() {
		first = true
		q.held, q.err = ask()
	})
	return q.held, first, q.err
}

func (c *checker) note(f func(*Report)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.report)
}
