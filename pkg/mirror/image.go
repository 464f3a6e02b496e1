package mirror

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// Image asks for an image.
type Image struct {
	// Ref is fully qualified.
	Ref string
	// Pinned is the digest that the lock has for Ref; empty if none.
	Pinned digest.Digest
	// Platforms wanted; an image of a single platform must be one of them.
	Platforms []ocispec.Platform
	// Referrers asks for signatures, attestations and SBOMs.
	Referrers bool
	// PinnedReferrers, when not nil, are taken instead of asking what refers to
	// the image now.
	PinnedReferrers []Referrer
}

// Referrer is a manifest that speaks of another.
type Referrer struct {
	// Descriptor of a pinned one may have a digest alone.
	Descriptor ocispec.Descriptor
	// Tag is set where it follows cosign's tag scheme, empty for OCI 1.1 referrers.
	Tag     string
	Subject digest.Digest
}

// PlatformManifest is the manifest of an image for one platform.
type PlatformManifest struct {
	Platform   ocispec.Platform
	Descriptor ocispec.Descriptor
	// Content is the size of manifest, config and layers together, in bytes.
	Content int64
}

// ResolvedImage is an image of which every manifest lies in the store.
type ResolvedImage struct {
	Ref manifest.Reference
	// Descriptor is that of the index, or of the manifest of a single platform.
	Descriptor ocispec.Descriptor
	Platforms  []PlatformManifest
	Referrers  []Referrer
	// Manifests are all manifests, Blobs all configs and layers, each once.
	Manifests []ocispec.Descriptor
	Blobs     []ocispec.Descriptor
}

// ResolveImage resolves an image and fetches its manifests. Where everything of a
// pinned image is in the store the network is not asked. Errors: *MovedTagError,
// *MissingPlatformError, *MismatchError, those of package remote.
func (m *Mirror) ResolveImage(ctx context.Context, img Image) (*ResolvedImage, error) {
	ref, err := manifest.ParseReference(img.Ref)
	if err != nil {
		return nil, err
	}
	if img.Pinned == "" {
		img.Pinned = ref.Digest
	}
	if img.Pinned != "" && (!img.Referrers || img.PinnedReferrers != nil) {
		stored, err := m.walk(ctx, ref, img, true)
		if err == nil && m.holds(stored.Blobs) {
			return stored, nil
		}
		if err != nil && !isAbsent(err) {
			return nil, err
		}
	}
	if img.Pinned, err = m.resolveTag(ctx, ref, img.Pinned); err != nil {
		return nil, err
	}
	return m.walk(ctx, ref, img, false)
}

// holds tells whether all of list lies in the store.
func (m *Mirror) holds(list []ocispec.Descriptor) bool {
	for _, d := range list {
		if !m.store.Has(d.Digest, d.Size) {
			return false
		}
	}
	return true
}

// resolveTag asks upstream what ref is now and compares it with pinned.
func (m *Mirror) resolveTag(ctx context.Context, ref manifest.Reference, pinned digest.Digest) (digest.Digest, error) {
	if ref.Tag == "" {
		return pinned, nil
	}
	repo, err := m.client.Repository(ref.Name())
	if err != nil {
		return "", err
	}
	desc, err := repo.Resolve(ctx, ref.Tag)
	if err != nil {
		return "", fmt.Errorf("resolving %q: %w", ref, err)
	}
	if pinned != "" && desc.Digest != pinned {
		return "", &MovedTagError{Ref: ref.String(), Pinned: pinned, Now: desc.Digest}
	}
	return desc.Digest, nil
}

// walk visits the manifests of an image whose digest is known. With stored only
// the store is read, and what it lacks is fs.ErrNotExist.
func (m *Mirror) walk(ctx context.Context, ref manifest.Reference, img Image, stored bool) (*ResolvedImage, error) {
	w := &walker{m: m, ref: ref, stored: stored, seen: map[digest.Digest]bool{}, out: &ResolvedImage{Ref: ref}}
	root, doc, err := w.manifest(ctx, img.Pinned)
	if err != nil {
		return nil, err
	}
	w.out.Descriptor = root
	if doc.isIndex() {
		err = w.index(ctx, doc, img.Platforms)
	} else {
		err = w.single(ctx, root, doc, img.Platforms)
	}
	if err != nil {
		return nil, err
	}
	if img.Referrers {
		if err := w.referrers(ctx, img.PinnedReferrers); err != nil {
			return nil, err
		}
	}
	return w.out, nil
}
