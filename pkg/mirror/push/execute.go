package push

import (
	"bytes"
	"context"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// present tells whether the registry has the artifact under its tag, or what
// stands in for it, and takes note of all that this implies.
func (r *run) present(ctx context.Context, a *Artifact) (bool, error) {
	d, err := r.reference(ctx, a.Repository, a.reference())
	if err != nil {
		return false, err
	}
	outcome := OutcomePresent
	manifests := a.Manifests
	switch {
	case d == "":
		return false, nil
	case d == a.Descriptor.Digest:
		if listed, err := r.listed(ctx, a); err != nil || !listed {
			return false, err
		}
	case a.Fallback != nil && d == a.Fallback.Descriptor.Digest:
		outcome, manifests = OutcomeMapped, manifests[:len(manifests)-1]
		if held, err := r.holdsAll(ctx, a.Repository, manifests); err != nil || !held {
			return false, err
		}
		r.result.mapped(a, ReasonSparseRefused, d)
	default:
		return r.joined(ctx, a, d)
	}
	for _, m := range manifests {
		r.markHeld(a.Repository, m.Descriptor.Digest)
		for _, b := range m.Blobs {
			r.blobs.mark(a.Repository, b.Digest)
		}
	}
	r.result.skipped(a)
	r.plan.opts.OnManifest(ManifestEvent{Ref: a.Ref, Repository: a.Repository, Tag: a.Tag, Descriptor: a.Descriptor, Outcome: outcome})
	return true, nil
}

// holdsAll asks for manifests by digest: a tag on one platform does not vouch for
// what else the artifact carries.
func (r *run) holdsAll(ctx context.Context, repository string, manifests []*Manifest) (bool, error) {
	for _, m := range manifests {
		if len(m.Absent) > 0 {
			continue
		}
		d, err := r.headManifest(ctx, repository, m.Descriptor.Digest.String())
		if err != nil || d != m.Descriptor.Digest {
			return false, err
		}
	}
	return true, nil
}

// listed tells whether an OCI referrer that the registry holds is found from its
// subject: with the referrers tag schema a push that was cut short may have left
// it out.
func (r *run) listed(ctx context.Context, a *Artifact) (found bool, err error) {
	subject := a.root().Subject
	if subject == "" {
		return true, nil
	}
	ctx = r.endpoint.scoped(ctx, a.Repository)
	err = r.endpoint.retry(ctx, "listing referrers", a.Repository, subject, func() error {
		found = false
		return r.endpoint.repository(a.Repository).Referrers(ctx, ocispec.Descriptor{Digest: subject}, "", func(list []ocispec.Descriptor) error {
			found = found || slices.ContainsFunc(list, func(d ocispec.Descriptor) bool { return d.Digest == a.Descriptor.Digest })
			return nil
		})
	})
	return found, err
}

// push brings one artifact into the registry: blobs, then manifests, children
// first and the tag last.
func (r *run) push(ctx context.Context, a *Artifact) error {
	if j := r.jointOf(a); j != nil {
		done, err := r.pushBeside(ctx, a)
		if err != nil || done {
			return err
		}
	}
	missing, err := r.missing(ctx, a)
	if err != nil {
		return err
	}
	if err := r.pushBlobs(ctx, a.Repository, missing); err != nil {
		return err
	}
	root := a.root()
	for _, m := range missing {
		if m == root {
			continue
		}
		if _, err := r.put(ctx, a, m, m.Descriptor.Digest.String()); err != nil {
			return err
		}
	}
	outcome, err := r.put(ctx, a, root, a.reference())
	if err != nil {
		return err
	}
	switch outcome {
	case OutcomeMapped:
		err = r.putFallback(ctx, a)
	case OutcomePushed:
		r.result.pushed(a)
	}
	if err != nil {
		return err
	}
	return r.noteSubject(ctx, a, outcome)
}

// missing are the manifests of a that the registry lacks, children first; the
// root always is, since its tag has to be set.
func (r *run) missing(ctx context.Context, a *Artifact) ([]*Manifest, error) {
	held := make([]bool, len(a.Manifests)-1)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.plan.opts.Jobs)
	for i := range held {
		m := a.Manifests[i]
		if held[i] = r.isHeld(a.Repository, m.Descriptor.Digest); held[i] {
			continue
		}
		g.Go(func() error {
			d, err := r.headManifest(ctx, a.Repository, m.Descriptor.Digest.String())
			held[i] = d == m.Descriptor.Digest
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var missing []*Manifest
	for i, m := range a.Manifests {
		if i < len(held) && held[i] {
			r.markHeld(a.Repository, m.Descriptor.Digest)
			continue
		}
		missing = append(missing, m)
	}
	return missing, nil
}

// pushBlobs brings the blobs of manifests into a repository.
func (r *run) pushBlobs(ctx context.Context, repository string, manifests []*Manifest) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.plan.opts.Jobs)
	for _, m := range manifests {
		for _, b := range m.Blobs {
			g.Go(func() error { return r.blobs.ensure(ctx, repository, b) })
		}
	}
	return g.Wait()
}

// put pushes one manifest under a tag or digest. That a registry refuses it is an
// outcome and no error in two cases: OutcomeMapped for a sparse index, which
// something else is to stand in for, OutcomeRefused for an OCI referrer of a
// subject that the registry does not hold.
func (r *run) put(ctx context.Context, a *Artifact, m *Manifest, reference string) (Outcome, error) {
	if len(m.Absent) > 0 && r.sparseRefused() {
		return OutcomeMapped, nil
	}
	data, err := r.plan.source.readManifest(ctx, m.Descriptor)
	if err != nil {
		return "", err
	}
	err = r.putManifest(ctx, a, m, data, reference)
	switch {
	case err == nil:
		r.markHeld(a.Repository, m.Descriptor.Digest)
		tag := ""
		if reference == a.Tag {
			tag = a.Tag
		}
		r.plan.opts.OnManifest(ManifestEvent{Ref: a.Ref, Repository: a.Repository, Tag: tag, Descriptor: m.Descriptor, Outcome: OutcomePushed})
		return OutcomePushed, nil
	case !refused(err):
		return "", err
	case len(m.Absent) > 0:
		r.setRefusesSparse()
		return OutcomeMapped, nil
	case m.Subject != "":
		held, herr := r.holds(ctx, a.Repository, m.Subject)
		if herr != nil {
			return "", herr
		}
		if !held {
			return OutcomeRefused, nil
		}
	case m == a.root() && a.Fallback != nil:
		// An index over an index that was refused.
		return OutcomeMapped, nil
	}
	return "", err
}

// refused tells the answers by which registries reject manifests that speak of
// manifests they do not hold. The code is asked for: a 404 without one may come
// from anything on the way, and would change what tags stand for.
func refused(err error) bool {
	code := status(err)
	return (code == http.StatusNotFound || code == http.StatusBadRequest) &&
		(unknownBlob(err) || hasCode(err, errcode.ErrorCodeManifestUnknown, errcode.ErrorCodeManifestInvalid))
}

// unknownBlob tells whether the registry misses content that a manifest speaks of.
func unknownBlob(err error) bool {
	return hasCode(err, errcode.ErrorCodeManifestBlobUnknown, errcode.ErrorCodeBlobUnknown)
}

// putManifest sends a manifest. When the registry misses content that it was given
// a moment ago, it is given less to do at a time, and the blobs are looked at, and
// if need be uploaded, again. Children of an index need only be waited for.
func (r *run) putManifest(ctx context.Context, a *Artifact, m *Manifest, data []byte, reference string) error {
	repo := r.endpoint.repository(a.Repository)
	r.heard.noteManifest(a.Repository, reference, "")
	r.heard.noteManifest(a.Repository, m.Descriptor.Digest.String(), "")
	for attempt := 1; ; attempt++ {
		err := r.endpoint.retry(ctx, "pushing manifest", a.Repository, m.Descriptor.Digest, func() error {
			return redactError(repo.PushReference(ctx, m.Descriptor, bytes.NewReader(data), reference))
		})
		again := err != nil && len(m.Absent) == 0 && unknownBlob(err) && attempt < r.plan.opts.Attempts
		if !again {
			return err
		}
		r.endpoint.client.limiter.slower(0)
		r.plan.opts.OnRetry(RetryEvent{Op: "pushing manifest", Repository: a.Repository, Digest: m.Descriptor.Digest, Attempt: attempt, Err: err})
		if err := pause(ctx, backoff(attempt)); err != nil {
			return destinationError("pushing manifest", a.Repository, m.Descriptor.Digest, err)
		}
		r.blobs.doubt(a.Repository, m.Blobs)
		if err := r.pushBlobs(ctx, a.Repository, []*Manifest{m}); err != nil {
			return err
		}
	}
}

// putFallback puts what stands in for a refused sparse index under its tag.
func (r *run) putFallback(ctx context.Context, a *Artifact) error {
	if a.Fallback == nil || a.Tag == "" {
		r.result.mapped(a, ReasonNoFallback, "")
		return nil
	}
	// A tag that has it already is not set again: it may be immutable.
	got, err := r.headManifest(ctx, a.Repository, a.Tag)
	if err != nil {
		return err
	}
	if got == a.Fallback.Descriptor.Digest {
		r.mapped(a, ReasonSparseRefused, a.Fallback.Descriptor)
		return nil
	}
	data := a.Fallback.data
	if data == nil {
		if data, err = r.plan.source.readManifest(ctx, a.Fallback.Descriptor); err != nil {
			return err
		}
	}
	m := &Manifest{Descriptor: a.Fallback.Descriptor, Blobs: a.root().Blobs}
	for _, carried := range a.Manifests {
		if carried.Descriptor.Digest == m.Descriptor.Digest {
			m = carried // with its blobs, should the registry miss one
		}
	}
	if err := r.putManifest(ctx, a, m, data, a.Tag); err != nil {
		return err
	}
	r.mapped(a, ReasonSparseRefused, m.Descriptor)
	return nil
}

// mapped notes and reports that something else stands for a under its tag.
func (r *run) mapped(a *Artifact, reason string, by ocispec.Descriptor) {
	r.result.mapped(a, reason, by.Digest)
	r.plan.opts.OnManifest(ManifestEvent{Ref: a.Ref, Repository: a.Repository, Tag: a.Tag, Descriptor: by, Outcome: OutcomeMapped})
}

// noteSubject records the referrers and cosign tags whose subject the registry
// does not hold: they are there, or were refused, but nobody will find them by
// what is under the subject's tag.
func (r *run) noteSubject(ctx context.Context, a *Artifact, outcome Outcome) error {
	if a.Subject == "" {
		return nil
	}
	held, err := r.holds(ctx, a.Repository, a.Subject)
	if err != nil {
		return err
	}
	if !held || outcome == OutcomeRefused {
		r.result.orphan(a, outcome)
	}
	if outcome == OutcomeRefused {
		r.plan.opts.OnManifest(ManifestEvent{Ref: a.Ref, Repository: a.Repository, Tag: a.Tag, Descriptor: a.Descriptor, Outcome: OutcomeRefused})
	}
	return nil
}

// holds asks the registry for a manifest by digest, unless it is known.
func (r *run) holds(ctx context.Context, repository string, d digest.Digest) (bool, error) {
	if r.isHeld(repository, d) {
		return true, nil
	}
	got, err := r.headManifest(ctx, repository, d.String())
	if err != nil || got != d {
		return false, err
	}
	r.markHeld(repository, d)
	return true, nil
}

func (r *run) isHeld(repository string, d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[repository+"@"+d.String()]
}

func (r *run) markHeld(repository string, d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[repository+"@"+d.String()] = true
}

func (r *run) sparseRefused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusesSparse
}

func (r *run) setRefusesSparse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusesSparse = true
}
