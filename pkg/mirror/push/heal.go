package push

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// errLost is why something is brought again.
var errLost = errors.New("the registry lost it and has its tag still")

// heal brings again the manifests and blobs that a comparison found missing: that a tag
// is there says nothing of what is below it. Tags are left as they are, as they may be
// immutable. It tells whether there was anything to bring.
func (r *run) heal(ctx context.Context, findings []Finding) (bool, error) {
	lost := map[string]map[digest.Digest]bool{} // digests by reference
	for _, f := range findings {
		if f.Kind == FindingTag {
			continue
		}
		if lost[f.Ref] == nil {
			lost[f.Ref] = map[digest.Digest]bool{}
		}
		lost[f.Ref][f.Want] = true
	}
	for _, a := range r.plan.Artifacts {
		if lost[a.Ref] == nil {
			continue
		}
		for _, m := range a.Manifests { // children first
			if err := r.bringAgain(ctx, a, m, lost[a.Ref]); err != nil {
				return true, withRef(err, a.Ref)
			}
		}
	}
	return len(lost) > 0, nil
}

// bringAgain brings of one manifest what is lost: blobs, then the manifest by its digest.
func (r *run) bringAgain(ctx context.Context, a *Artifact, m *Manifest, lost map[digest.Digest]bool) error {
	var blobs []ocispec.Descriptor
	for _, b := range m.Blobs {
		if lost[b.Digest] {
			blobs = append(blobs, b)
			r.plan.opts.OnRetry(RetryEvent{Op: "bringing blob again", Repository: a.Repository, Digest: b.Digest, Attempt: 1, Err: errLost})
		}
	}
	r.blobs.doubt(a.Repository, blobs)
	d := m.Descriptor.Digest
	if len(blobs) == 0 && !lost[d] {
		return nil
	}
	if err := r.pushBlobs(ctx, a.Repository, []*Manifest{m}); err != nil {
		return err
	}
	if !lost[d] {
		return nil
	}
	r.plan.opts.OnRetry(RetryEvent{Op: "bringing manifest again", Repository: a.Repository, Digest: d, Attempt: 1, Err: errLost})
	_, err := r.put(ctx, a, m, d.String())
	return err
}
