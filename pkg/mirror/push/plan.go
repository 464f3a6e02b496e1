package push

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// maxDepth bounds how deep indexes may nest.
const maxDepth = 8

// Plan is everything a push brings to a registry. It is safe to print as JSON
// and does not change; Execute and Check may be called any number of times.
type Plan struct {
	// Base is where everything goes.
	Base string `json:"base"`
	// Artifacts are in the order of the bundles' indexes, subjects before
	// referrers.
	Artifacts []*Artifact `json:"artifacts"`
	// Blobs counts distinct blobs, Bytes is their size together.
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
	// Conflicts are the tags to which bundles give different content.
	Conflicts []Conflict `json:"conflicts,omitempty"`

	source source
	target Target
	opts   Options
	host   string
	// homes maps each blob to the repository it is uploaded to.
	homes map[digest.Digest]string
}

// Conflict says that two bundles give one reference different content; that of
// the later one is pushed.
type Conflict struct {
	Ref    string        `json:"ref"`
	Pushed digest.Digest `json:"pushed"`
	Hidden digest.Digest `json:"hidden"`
}

// Artifact is one entry of a bundle's index with all that hangs off it.
type Artifact struct {
	// Ref is the reference in the bundle.
	Ref  string                `json:"ref"`
	Kind manifest.ArtifactKind `json:"kind,omitempty"`
	// Repository is the name in the registry, without its host.
	Repository string `json:"repository"`
	// Tag is empty for what is pushed by digest alone.
	Tag        string             `json:"tag,omitempty"`
	Descriptor ocispec.Descriptor `json:"descriptor"`
	// Subject is the digest that a referrer or cosign tag speaks of.
	Subject digest.Digest `json:"subject,omitempty"`
	// Manifests are the carried ones, children before parents; the last is that
	// of Descriptor.
	Manifests []*Manifest `json:"manifests"`
	// Fallback stands in for a sparse index where the registry refuses it.
	Fallback *Fallback `json:"fallback,omitempty"`

	level int // referrers come after what has a lower level
	// after is the artifact that holds the subject; nil for none.
	after *Artifact
	// brings are the bytes of the blobs that no artifact before it needs.
	brings int64
}

// reference is the tag, or the digest where there is no tag.
func (a *Artifact) reference() string {
	if a.Tag != "" {
		return a.Tag
	}
	return a.Descriptor.Digest.String()
}

func (a *Artifact) root() *Manifest { return a.Manifests[len(a.Manifests)-1] }

// Manifest is one manifest or index.
type Manifest struct {
	Descriptor ocispec.Descriptor `json:"descriptor"`
	// Subject, when set, makes the manifest an OCI referrer.
	Subject digest.Digest `json:"subject,omitempty"`
	// Blobs are config and layers.
	Blobs []ocispec.Descriptor `json:"blobs,omitempty"`
	// Absent are the children of an index that the bundles do not carry.
	Absent []digest.Digest `json:"absent,omitempty"`
}

// NewPlan reads the manifests of contents, which are pushed as one: where two
// give a tag different content the later one wins. What a manifest names and no
// content holds is an *Error that wraps [io/fs.ErrNotExist], except the children
// of sparse indexes and layers that registries do not store.
func NewPlan(ctx context.Context, contents []Content, target Target, opts Options) (*Plan, error) {
	host, prefix, err := parseBase(target.Base)
	if err != nil {
		return nil, err
	}
	if target.Client == nil {
		return nil, errors.New("planning a push: no client is given")
	}
	p := &Plan{
		Base: target.Base, source: slices.Clone(contents), target: target, opts: opts.withDefaults(),
		host: host, homes: map[digest.Digest]string{},
	}
	pl := &planner{plan: p, prefix: prefix, manifests: map[digest.Digest]*Manifest{}, docs: map[digest.Digest]*manifestDoc{}, checked: map[digest.Digest]bool{}}
	if err := pl.collect(ctx, opts.Filter); err != nil {
		return nil, err
	}
	pl.order()
	p.count()
	return p, nil
}

// planner builds a plan.
type planner struct {
	plan      *Plan
	prefix    string
	manifests map[digest.Digest]*Manifest
	docs      map[digest.Digest]*manifestDoc
	checked   map[digest.Digest]bool
}

// collect lists the artifacts, one a reference, those of later contents over
// those of earlier ones.
func (p *planner) collect(ctx context.Context, filter func(string, ocispec.Descriptor) bool) error {
	byName := map[string]int{}
	for _, content := range p.plan.source {
		for _, desc := range content.Index().Manifests {
			a, err := p.artifact(ctx, desc)
			if err != nil {
				return err
			}
			key := a.Repository + ":" + a.reference()
			i, seen := byName[key]
			if !seen {
				byName[key] = len(p.plan.Artifacts)
				p.plan.Artifacts = append(p.plan.Artifacts, a)
				continue
			}
			if old := p.plan.Artifacts[i].Descriptor.Digest; old != a.Descriptor.Digest {
				p.plan.Conflicts = append(p.plan.Conflicts, Conflict{Ref: a.Ref, Pushed: a.Descriptor.Digest, Hidden: old})
			}
			p.plan.Artifacts[i] = a
		}
	}
	if filter != nil {
		p.filter(filter)
	}
	for _, a := range p.plan.Artifacts {
		if err := p.complete(ctx, a); err != nil {
			return withRef(err, a.Ref)
		}
	}
	return nil
}

// artifact lays out one entry of an index.
func (p *planner) artifact(ctx context.Context, desc ocispec.Descriptor) (*Artifact, error) {
	ref := desc.Annotations[ocispec.AnnotationRefName]
	repository, tag, err := targetName(p.prefix, ref)
	if err != nil {
		return nil, err
	}
	a := &Artifact{
		Ref: ref, Kind: manifest.ArtifactKind(desc.Annotations[manifest.AnnotationKind]),
		Repository: repository, Tag: tag, Descriptor: desc,
		Subject: digest.Digest(desc.Annotations[manifest.AnnotationSubject]),
	}
	plain := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	seen := map[digest.Digest]bool{}
	if err := p.walk(ctx, a, plain, seen, 0); err != nil {
		return nil, withRef(err, ref)
	}
	if a.Subject == "" {
		a.Subject = a.root().Subject
	}
	if a.sparse() {
		if a.Fallback, err = p.fallback(ctx, a); err != nil {
			return nil, withRef(err, ref)
		}
	}
	return a, nil
}

// walk appends desc and what hangs off it to the manifests of a, children first.
func (p *planner) walk(ctx context.Context, a *Artifact, desc ocispec.Descriptor, seen map[digest.Digest]bool, depth int) error {
	if seen[desc.Digest] {
		return nil
	}
	seen[desc.Digest] = true
	if depth > maxDepth {
		return &Error{Op: "reading manifest", Digest: desc.Digest, Side: SideSource, Err: fmt.Errorf("indexes nest deeper than %d", maxDepth)}
	}
	m, doc, err := p.manifest(ctx, desc)
	if err != nil {
		return err
	}
	for _, child := range doc.Manifests {
		if isManifestType(child.MediaType) && !slices.Contains(m.Absent, child.Digest) {
			if err := p.walk(ctx, a, child, seen, depth+1); err != nil {
				return err
			}
		}
	}
	a.Manifests = append(a.Manifests, m)
	return nil
}

// manifest reads a manifest once, whatever number of artifacts share it.
func (p *planner) manifest(ctx context.Context, desc ocispec.Descriptor) (*Manifest, *manifestDoc, error) {
	if m := p.manifests[desc.Digest]; m != nil {
		return m, p.docs[desc.Digest], nil
	}
	data, err := p.plan.source.readManifest(ctx, desc)
	if err != nil {
		return nil, nil, err
	}
	doc, err := parseManifest(desc, data)
	if err != nil {
		return nil, nil, err
	}
	m := &Manifest{Descriptor: ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}}
	if doc.Subject != nil {
		m.Subject = doc.Subject.Digest
	}
	if doc.Config != nil {
		m.Blobs = append(m.Blobs, plainDescriptor(*doc.Config))
	}
	for _, l := range doc.Layers {
		m.Blobs = append(m.Blobs, plainDescriptor(l))
	}
	for _, child := range doc.Manifests {
		if !isManifestType(child.MediaType) {
			m.Blobs = append(m.Blobs, plainDescriptor(child))
			continue
		}
		held, err := p.plan.source.has(ctx, child.Digest)
		if err != nil {
			return nil, nil, err
		}
		if !held {
			m.Absent = append(m.Absent, child.Digest)
		}
	}
	m.Blobs = uniqueDescriptors(m.Blobs)
	p.manifests[desc.Digest], p.docs[desc.Digest] = m, doc
	return m, doc, nil
}

// complete makes sure that every blob of a is there, and drops foreign layers
// that are not.
func (p *planner) complete(ctx context.Context, a *Artifact) error {
	for _, m := range a.Manifests {
		if p.checked[m.Descriptor.Digest] {
			continue
		}
		p.checked[m.Descriptor.Digest] = true
		kept := m.Blobs[:0]
		for _, b := range m.Blobs {
			held, err := p.plan.source.has(ctx, b.Digest)
			switch {
			case err != nil:
				return err
			case held:
				kept = append(kept, b)
			case !isForeign(b):
				return &Error{Op: "opening blob", Digest: b.Digest, Side: SideSource, Err: fs.ErrNotExist}
			}
		}
		m.Blobs = kept
	}
	return nil
}

// filter keeps the artifacts that f chooses, and the referrers of what is kept.
func (p *planner) filter(f func(string, ocispec.Descriptor) bool) {
	kept := map[*Artifact]bool{}
	held := map[string]bool{}
	keep := func(a *Artifact) {
		kept[a] = true
		for _, m := range a.Manifests {
			held[a.Repository+"@"+m.Descriptor.Digest.String()] = true
		}
	}
	for _, a := range p.plan.Artifacts {
		if a.Subject == "" && f(a.Ref, a.Descriptor) {
			keep(a)
		}
	}
	for grown := true; grown; {
		grown = false
		for _, a := range p.plan.Artifacts {
			if a.Subject != "" && !kept[a] && held[a.Repository+"@"+a.Subject.String()] {
				keep(a)
				grown = true
			}
		}
	}
	p.plan.Artifacts = slices.DeleteFunc(p.plan.Artifacts, func(a *Artifact) bool { return !kept[a] })
}

// order puts subjects before their referrers, else keeps the order.
func (p *planner) order() {
	holder := map[string]*Artifact{}
	for _, a := range p.plan.Artifacts {
		for _, m := range a.Manifests {
			holder[a.Repository+"@"+m.Descriptor.Digest.String()] = a
		}
	}
	for range p.plan.Artifacts {
		moved := false
		for _, a := range p.plan.Artifacts {
			subject := holder[a.Repository+"@"+a.Subject.String()]
			// Levels beyond the depth of indexes are a circle of cosign tags.
			if subject != nil && subject != a && a.level <= subject.level && subject.level < maxDepth {
				a.level = subject.level + 1
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	for _, a := range p.plan.Artifacts {
		if subject := holder[a.Repository+"@"+a.Subject.String()]; subject != nil && subject.level < a.level {
			a.after = subject
		}
	}
	slices.SortStableFunc(p.plan.Artifacts, func(a, b *Artifact) int { return a.level - b.level })
}

// count sums up the blobs and gives each its home.
func (p *Plan) count() {
	for _, a := range p.Artifacts {
		for _, m := range a.Manifests {
			for _, b := range m.Blobs {
				if _, ok := p.homes[b.Digest]; !ok {
					p.homes[b.Digest] = a.Repository
					p.Blobs++
					p.Bytes += b.Size
					a.brings += b.Size
				}
			}
		}
	}
}

// Repositories are the names that the plan writes to, sorted, without the host.
func (p *Plan) Repositories() []string {
	names := map[string]bool{}
	for _, a := range p.Artifacts {
		names[a.Repository] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func plainDescriptor(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

func uniqueDescriptors(list []ocispec.Descriptor) []ocispec.Descriptor {
	seen := map[digest.Digest]bool{}
	return slices.DeleteFunc(list, func(d ocispec.Descriptor) bool {
		dup := seen[d.Digest]
		seen[d.Digest] = true
		return dup
	})
}
