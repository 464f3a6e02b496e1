package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror/store"
)

// Reach is everything that roots consist of as far as st holds it, roots included: of
// an index its manifests, of a manifest its config and layers. Whether a root is a
// manifest is found out by looking at it; what is none consists of itself. One that is
// damaged is a *MismatchError, and is dropped.
func Reach(ctx context.Context, st *store.Store, roots []digest.Digest) (map[digest.Digest]bool, error) {
	r := reacher{st: st, looked: map[digest.Digest]bool{}, found: map[digest.Digest]bool{}}
	for _, d := range roots {
		if err := r.look(ctx, d); err != nil {
			return nil, fmt.Errorf("looking for what %s consists of: %w", d, err)
		}
	}
	return r.found, nil
}

type reacher struct {
	st            *store.Store
	looked, found map[digest.Digest]bool
}

// look adds d, which may be a manifest, and what it consists of.
func (r *reacher) look(ctx context.Context, d digest.Digest) error {
	if r.looked[d] {
		return nil
	}
	r.looked[d], r.found[d] = true, true
	if size, ok := r.st.Size(d); !ok || size > maxManifest {
		return nil
	}
	data, err := r.st.Read(ctx, d, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	doc, err := parseDocument(data)
	if err != nil {
		return nil //nolint:nilerr // a file, or a manifest of a kind that is not carried
	}
	for _, child := range doc.Manifests {
		if err := r.look(ctx, child.Digest); err != nil {
			return err
		}
	}
	if doc.Config == nil {
		return nil
	}
	for _, blob := range append([]ocispec.Descriptor{*doc.Config}, doc.Layers...) {
		r.found[blob.Digest] = true
	}
	return nil
}
