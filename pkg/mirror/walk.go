package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror/remote"
)

// Docker's own media types, which mean what OCI's do.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
)

// Annotations by which buildkit ties an attestation manifest to an image.
const (
	annotationReferenceType   = "vnd.docker.reference.type"
	annotationReferenceDigest = "vnd.docker.reference.digest"
)

// document is what is read of a manifest or an index.
type document struct {
	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	// FSLayers is what schema 1 has.
	FSLayers []json.RawMessage `json:"fsLayers"`
}

func (d *document) isIndex() bool {
	return d.MediaType == ocispec.MediaTypeImageIndex || d.MediaType == dockerManifestList
}

// ErrUnsupportedManifest says that a manifest is none that naru carries.
var ErrUnsupportedManifest = errors.New("neither an OCI nor a Docker schema 2 manifest")

// parseDocument reads a manifest and settles its media type.
func parseDocument(data []byte) (*document, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("decoding a manifest: %w", err)
	}
	if d.MediaType == "" { // OCI lets a manifest leave it out
		switch {
		case d.Manifests != nil:
			d.MediaType = ocispec.MediaTypeImageIndex
		case d.Config != nil:
			d.MediaType = ocispec.MediaTypeImageManifest
		}
	}
	if err := d.checkSizes(); err != nil {
		return nil, err
	}
	switch d.MediaType {
	case ocispec.MediaTypeImageIndex, dockerManifestList:
		return &d, nil
	case ocispec.MediaTypeImageManifest, dockerManifest:
		if d.Config != nil && len(d.FSLayers) == 0 {
			return &d, nil
		}
	}
	return nil, fmt.Errorf("decoding a manifest of type %q: %w", d.MediaType, ErrUnsupportedManifest)
}

// checkSizes refuses digests and sizes that would mislead whoever adds them up.
func (d *document) checkSizes() error {
	all := append(append([]ocispec.Descriptor(nil), d.Layers...), d.Manifests...)
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	for _, desc := range all {
		if err := desc.Digest.Validate(); err != nil || desc.Digest.Algorithm() != digest.SHA256 {
			return fmt.Errorf("decoding a manifest: digest %q: %w", desc.Digest, ErrUnsupportedManifest)
		}
		if desc.Size < 0 || desc.Size > maxBlob {
			return fmt.Errorf("decoding a manifest: %s with %d bytes: %w", desc.Digest, desc.Size, ErrUnsupportedManifest)
		}
	}
	return nil
}

// walker collects what an image consists of.
type walker struct {
	m   *Mirror
	ref manifest.Reference
	// stored keeps to the store.
	stored bool
	seen   map[digest.Digest]bool
	out    *ResolvedImage
}

// manifest reads the manifest d, from the store or from upstream, and notes it.
func (w *walker) manifest(ctx context.Context, d digest.Digest) (ocispec.Descriptor, *document, error) {
	data, err := w.m.store.Read(ctx, d, maxManifest)
	if isAbsent(err) && !w.stored {
		data, err = w.fetchManifest(ctx, d)
	}
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("reading manifest %s of %q: %w", d, w.ref, err)
	}
	doc, err := parseDocument(data)
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("reading manifest %s of %q: %w", d, w.ref, err)
	}
	desc := ocispec.Descriptor{MediaType: doc.MediaType, Digest: d, Size: int64(len(data)), ArtifactType: doc.ArtifactType}
	if !w.seen[d] {
		w.seen[d] = true
		w.out.Manifests = append(w.out.Manifests, desc)
	}
	return desc, doc, nil
}

// isAbsent tells that the store does not have a blob, or had it damaged and has
// dropped it.
func isAbsent(err error) bool {
	var damaged *MismatchError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &damaged)
}

// fetchManifest asks upstream for a manifest by digest and stores it.
func (w *walker) fetchManifest(ctx context.Context, d digest.Digest) ([]byte, error) {
	repo, err := w.m.client.Repository(w.ref.Name())
	if err != nil {
		return nil, err
	}
	var data []byte
	err = inWhole(func() error {
		_, body, err := repo.Manifests().FetchReference(ctx, d.String())
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		data, err = readAll(body, maxManifest)
		return err
	})
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d {
		return nil, &MismatchError{Source: w.ref.Name() + "@" + d.String(), Want: d, Got: got}
	}
	if _, err := w.m.store.PutBytes(ctx, data); err != nil {
		return nil, err
	}
	return data, nil
}

// documentAttempts is how often a document is asked for whose body breaks off.
const documentAttempts = 4

// inWhole calls read, which asks for a document and reads it to its end, again when
// the body broke off: a document is small, so there is no asking for the rest.
// Requests that fail were sent again already, by package remote.
func inWhole(read func() error) error {
	for attempt := 1; ; attempt++ {
		if err := read(); attempt == documentAttempts || !remote.IsTemporary(err) {
			return err
		}
	}
}

// blobs notes config and layers of a manifest and returns their size together.
func (w *walker) blobs(doc *document) int64 {
	var total int64
	for _, d := range append([]ocispec.Descriptor{*doc.Config}, doc.Layers...) {
		total += d.Size
		if !w.seen[d.Digest] {
			w.seen[d.Digest] = true
			w.out.Blobs = append(w.out.Blobs, d)
		}
	}
	return total
}

// single takes an image that is published without an index. Its config must name
// one of the wanted platforms; what is no image, such as a database, has none.
func (w *walker) single(ctx context.Context, desc ocispec.Descriptor, doc *document, want []ocispec.Platform) error {
	platform := ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	if doc.Config.MediaType == ocispec.MediaTypeImageConfig || doc.Config.MediaType == dockerConfig {
		p, err := w.configPlatform(ctx, *doc.Config)
		if err != nil {
			return err
		}
		if !matchesAny(p, want) {
			return w.missing(want, []ocispec.Platform{p})
		}
		platform = p
	}
	w.out.Platforms = []PlatformManifest{{Platform: platform, Descriptor: desc, Content: desc.Size + w.blobs(doc)}}
	return nil
}

// configPlatform reads the platform out of an image config.
func (w *walker) configPlatform(ctx context.Context, desc ocispec.Descriptor) (ocispec.Platform, error) {
	if !w.stored {
		if err := w.m.fetchBlob(ctx, BlobRequest{Name: w.ref.Name(), Descriptor: desc}, func(int64) {}); err != nil {
			return ocispec.Platform{}, err
		}
	}
	data, err := w.m.store.Read(ctx, desc.Digest, maxManifest)
	if err != nil {
		return ocispec.Platform{}, fmt.Errorf("reading the config of %q: %w", w.ref, err)
	}
	var p ocispec.Platform
	if err := json.Unmarshal(data, &p); err != nil {
		return ocispec.Platform{}, fmt.Errorf("decoding the config of %q: %w", w.ref, err)
	}
	return p, nil
}

// index takes the children of the wanted platforms and the attestations that
// speak of them.
func (w *walker) index(ctx context.Context, doc *document, want []ocispec.Platform) error {
	if len(want) == 0 {
		return w.missing(nil, nil)
	}
	var have []ocispec.Platform
	taken := map[digest.Digest]bool{}
	found := make([]bool, len(want))
	for _, child := range doc.Manifests {
		if child.Platform == nil || child.Annotations[annotationReferenceType] != "" {
			continue
		}
		have = append(have, *child.Platform)
		for i, p := range want {
			if matches(*child.Platform, p) {
				found[i] = true
				if err := w.child(ctx, child, taken); err != nil {
					return err
				}
			}
		}
	}
	for i, p := range want {
		if !found[i] {
			return w.missing([]ocispec.Platform{p}, have)
		}
	}
	for _, child := range doc.Manifests {
		if of := digest.Digest(child.Annotations[annotationReferenceDigest]); of != "" && taken[of] {
			if err := w.attachment(ctx, child.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// child takes one platform manifest.
func (w *walker) child(ctx context.Context, child ocispec.Descriptor, taken map[digest.Digest]bool) error {
	if taken[child.Digest] {
		return nil
	}
	taken[child.Digest] = true
	desc, doc, err := w.manifest(ctx, child.Digest)
	if err != nil {
		return err
	}
	if doc.isIndex() {
		return fmt.Errorf("reading %q: index %s inside an index: %w", w.ref, child.Digest, ErrUnsupportedManifest)
	}
	w.out.Platforms = append(w.out.Platforms, PlatformManifest{Platform: *child.Platform, Descriptor: desc, Content: desc.Size + w.blobs(doc)})
	return nil
}

// attachment takes a manifest that belongs to the image without being one of its
// platforms, with its blobs.
func (w *walker) attachment(ctx context.Context, d digest.Digest) error {
	_, doc, err := w.manifest(ctx, d)
	if err != nil {
		return err
	}
	if !doc.isIndex() {
		w.blobs(doc)
		return nil
	}
	for _, child := range doc.Manifests {
		_, sub, err := w.manifest(ctx, child.Digest)
		if err != nil {
			return err
		}
		if sub.isIndex() {
			return fmt.Errorf("reading %q: index %s inside an index: %w", w.ref, child.Digest, ErrUnsupportedManifest)
		}
		w.blobs(sub)
	}
	return nil
}

func (w *walker) missing(want, have []ocispec.Platform) error {
	e := &MissingPlatformError{Ref: w.ref.String()}
	for i, p := range want {
		if i > 0 {
			e.Want += " or "
		}
		e.Want += manifest.FormatPlatform(p)
	}
	for _, p := range have {
		e.Have = append(e.Have, manifest.FormatPlatform(p))
	}
	return e
}

// matches tells whether an image for platform have serves want: same system and
// architecture, and the variant where one is asked for. The only variant of
// arm64 in use, v8, may be left out on either side.
func matches(have, want ocispec.Platform) bool {
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return false
	}
	hv, wv := have.Variant, want.Variant
	if have.Architecture == "arm64" {
		if hv == "v8" {
			hv = ""
		}
		if wv == "v8" {
			wv = ""
		}
	}
	return wv == "" || hv == wv
}

func matchesAny(have ocispec.Platform, want []ocispec.Platform) bool {
	for _, p := range want {
		if matches(have, p) {
			return true
		}
	}
	return false
}
