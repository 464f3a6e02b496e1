package build

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror/push"
)

// maxManifest bounds manifests, in bytes.
const maxManifest = 4 << 20

// subject is a manifest that is signed.
type subject struct {
	ocispec.Descriptor
	// names are the repositories that hold it, sorted.
	names []string
}

// subjects are the manifests to sign: every entry of the index, the platforms of it
// that are carried, and the index that a registry gets in the place of a sparse one.
// What others made to refer to something is theirs to sign.
func (r *run) subjects(ctx context.Context, content *carriedContent) ([]*subject, error) {
	found := map[digest.Digest]*subject{}
	add := func(name string, d ocispec.Descriptor) {
		s := found[d.Digest]
		if s == nil {
			s = &subject{Descriptor: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}
			found[d.Digest] = s
		}
		if !slices.Contains(s.names, name) {
			s.names = append(s.names, name)
		}
	}
	for _, d := range content.Index().Manifests {
		if d.Annotations[manifest.AnnotationSubject] != "" {
			continue
		}
		name := repositoryOf(d.Annotations[ocispec.AnnotationRefName])
		add(name, d)
		children, err := r.children(ctx, content, d.Digest)
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			add(name, child)
		}
		if len(children) < 2 {
			continue
		}
		standIn, err := push.StandIn(ctx, content, d)
		if err != nil {
			return nil, fmt.Errorf("finding what to sign of %q: %w", name, err)
		}
		if standIn != nil {
			add(name, standIn.Descriptor)
		}
	}
	out := make([]*subject, 0, len(found))
	for _, s := range found {
		slices.Sort(s.names)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *subject) int { return cmp.Compare(a.Digest, b.Digest) })
	return out, nil
}

// children are the platforms of an index that are carried; none for a manifest.
func (r *run) children(ctx context.Context, content *carriedContent, d digest.Digest) ([]ocispec.Descriptor, error) {
	data, err := r.store.Read(ctx, d, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("finding what to sign: %w", err)
	}
	var doc struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("finding what to sign of %s: %w", d, err)
	}
	return slices.DeleteFunc(doc.Manifests, func(c ocispec.Descriptor) bool {
		return !content.held[c.Digest] || c.Annotations["vnd.docker.reference.type"] != ""
	}), nil
}

// repositoryOf is a reference without its tag or digest.
func repositoryOf(ref string) string {
	name, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	return name
}
