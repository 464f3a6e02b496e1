package push

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Execute pushes the plan. It stops at the first error, which is an *Error, with
// everything under way cancelled; the result then says what was done until then.
// Running it again goes on from there.
func (p *Plan) Execute(ctx context.Context) (*Result, error) {
	r := newRun(p)
	err := r.execute(ctx, func(*Artifact) {})
	return r.result.finish(p), err
}

// Push is Execute and Check in one, while the push goes on: each artifact is compared
// as soon as the registry has it. What the registry was heard to have is not asked for
// twice; what was sent to it is asked for after that, whatever it answered. The answers
// of asked, when that is not nil, count as heard by this run, which they should be just
// before. What is found missing below a tag that stands is brought again, once, and all is
// asked for anew. With an error the report is nil, and the result says what was done until
// then.
func (p *Plan) Push(ctx context.Context, asked *Asked) (*Result, *Report, error) {
	r := newRun(p)
	if asked != nil {
		for i, a := range asked.plan.Artifacts {
			r.heard.noteManifest(a.Repository, a.reference(), asked.got[i])
		}
	}
	c := newChecker(r)
	if err := r.pushAndCompare(ctx, c); err != nil {
		return r.result.finish(p), nil, err
	}
	report := c.finish()
	lost, err := r.heal(ctx, report.Findings)
	if lost && err == nil {
		report, err = p.Check(ctx)
	}
	if err != nil {
		return r.result.finish(p), nil, err
	}
	return r.result.finish(p), report, nil
}

// pushAndCompare executes the plan and compares each artifact once it is there.
func (r *run) pushAndCompare(ctx context.Context, c *checker) error {
	g, ctx := errgroup.WithContext(ctx)
	held := make(chan *Artifact, len(r.plan.Artifacts)) // each comes once: nobody waits to send
	g.Go(func() error {
		defer close(held)
		return r.execute(ctx, func(a *Artifact) { held <- a })
	})
	for range r.plan.opts.Jobs {
		g.Go(func() error { return c.artifacts(ctx, held) })
	}
	return g.Wait()
}

// run is one execution of a plan.
type run struct {
	plan     *Plan
	endpoint *endpoint
	blobs    *blobs
	result   *collector
	heard    *heard

	mu sync.Mutex
	// held are the manifests known to be in the registry, "repository@digest".
	held map[string]bool
	// joints are what cosign's tags stand for, or are to, where the registry has others
	// there than the bundles.
	joints map[*Artifact]*joint
	// refusesSparse is set once the registry refused a sparse index.
	refusesSparse bool
}

func newRun(p *Plan) *run {
	e := newEndpoint(p.host, p.target, p.opts)
	result, heard := &collector{}, newHeard()
	return &run{
		plan: p, endpoint: e, result: result, heard: heard, held: map[string]bool{}, joints: map[*Artifact]*joint{},
		blobs:         newBlobs(p, e, result, heard),
		refusesSparse: p.opts.SparseIndexes == SparseRefused,
	}
}

// execute pushes what the registry lacks and calls done for every artifact, once it is
// there.
func (r *run) execute(ctx context.Context, done func(*Artifact)) error {
	missing, err := r.probe(ctx, done)
	if err != nil {
		return err
	}
	return r.pushAll(ctx, missing, done)
}

// probe asks for every artifact at once and returns those that are to be pushed.
func (r *run) probe(ctx context.Context, done func(*Artifact)) ([]*Artifact, error) {
	if err := r.endpoint.ping(ctx); err != nil {
		return nil, err
	}
	held := make([]bool, len(r.plan.Artifacts))
	err := r.each(ctx, func(ctx context.Context, i int, a *Artifact) (err error) {
		if held[i], err = r.present(ctx, a); held[i] {
			done(a)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var missing []*Artifact
	for i, a := range r.plan.Artifacts {
		if !held[i] {
			missing = append(missing, a)
		}
	}
	// By now most subjects are known to be there without a question.
	return missing, r.each(ctx, func(ctx context.Context, i int, a *Artifact) error {
		if !held[i] {
			return nil
		}
		return r.noteSubject(ctx, a, OutcomePresent)
	})
}

// each calls f for every artifact, some at a time.
func (r *run) each(ctx context.Context, f func(ctx context.Context, i int, a *Artifact) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.plan.opts.Jobs)
	for i, a := range r.plan.Artifacts {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return withRef(f(ctx, i, a), a.Ref)
		})
	}
	return g.Wait()
}

// pushAll pushes artifacts, some at a time, each after its subject.
func (r *run) pushAll(ctx context.Context, list []*Artifact, done func(*Artifact)) error {
	q := newQueue(list)
	g, ctx := errgroup.WithContext(ctx)
	for range min(r.plan.opts.ImageJobs, len(list)) {
		g.Go(func() error {
			for a := q.next(ctx); a != nil; a = q.next(ctx) {
				if err := r.push(ctx, a); err != nil {
					return withRef(err, a.Ref)
				}
				done(a)
				q.pushed(a)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
