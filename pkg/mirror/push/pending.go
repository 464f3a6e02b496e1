package push

import (
	"context"

	"github.com/opencontainers/go-digest"
)

// Pending is an artifact that the registry does not have under its tag.
type Pending struct {
	*Artifact
	// Got is what the tag stands for instead; empty when it is not there.
	Got digest.Digest
}

// Moves tells whether pushing the artifact would move its tag from something else.
func (p Pending) Moves() bool { return p.Tag != "" && p.Got != "" }

// Asked is what a registry answered for every artifact of a plan, by its tag, or its
// digest where it has none.
type Asked struct {
	plan *Plan
	got  []digest.Digest // "" for nothing
	// joined tells of signatures that the registry has beside those of others.
	joined []bool
}

// Ask asks for every artifact. It changes nothing.
func (p *Plan) Ask(ctx context.Context) (*Asked, error) {
	r := newRun(p)
	if err := r.endpoint.ping(ctx); err != nil {
		return nil, err
	}
	asked := &Asked{plan: p, got: make([]digest.Digest, len(p.Artifacts)), joined: make([]bool, len(p.Artifacts))}
	err := r.each(ctx, func(ctx context.Context, i int, a *Artifact) (err error) {
		if asked.got[i], err = r.headManifest(ctx, a.Repository, a.reference()); err != nil {
			return err
		}
		j, err := r.under(ctx, a, asked.got[i])
		asked.joined[i] = j != nil && j.held
		return err
	})
	if err != nil {
		return nil, err
	}
	return asked, nil
}

// Pending are the artifacts that a push would bring, in the plan's order. What the
// registry has under a tag is taken to be whole, which Execute does not.
func (a *Asked) Pending() []Pending {
	var out []Pending
	for i, artifact := range a.plan.Artifacts {
		got := a.got[i]
		held := a.joined[i] || got == artifact.Descriptor.Digest || artifact.Fallback != nil && got == artifact.Fallback.Descriptor.Digest
		if !held {
			out = append(out, Pending{Artifact: artifact, Got: got})
		}
	}
	return out
}

// Pending asks for every artifact and returns those that a push would bring.
func (p *Plan) Pending(ctx context.Context) ([]Pending, error) {
	asked, err := p.Ask(ctx)
	if err != nil {
		return nil, err
	}
	return asked.Pending(), nil
}

// Sizes adds up the blobs of artifacts by repository, each once in a repository, in
// bytes.
func Sizes(list []Pending) map[string]int64 {
	out := map[string]int64{}
	seen := map[string]bool{}
	for _, a := range list {
		for _, m := range a.Manifests {
			for _, b := range m.Blobs {
				key := a.Repository + "@" + b.Digest.String()
				if !seen[key] {
					seen[key] = true
					out[a.Repository] += b.Size
				}
			}
		}
	}
	return out
}
