package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// Content is what the server needs of an opened bundle. Implementations are safe
// for concurrent use.
type Content interface {
	// Index lists the top-level manifests; each carries its full reference in
	// the annotation org.opencontainers.image.ref.name.
	Index() ocispec.Index
	// OpenBlob opens content by digest; the error wraps [fs.ErrNotExist] when
	// the bundle does not hold it. A sequential read of everything fails before
	// its last chunk when the bytes are not those of the digest; a read after a
	// seek never returns unverified bytes. What it returns may have a method
	// Verify(context.Context) error, which is cheap for content that is verified
	// already; else content is read whole before a part of it is served.
	OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error)
}

// Described is implemented by contents that can say which bundle they are; it is
// what /bundles lists.
type Described interface {
	Bundle() *manifest.Bundle
	BundleDigest() digest.Digest
}

// Sized is implemented by contents that know how large their blobs are, in bytes;
// the sizes in manifests are compared with it.
type Sized interface {
	BlobSize(d digest.Digest) (size int64, held bool)
}

// maxManifest bounds what is read as a manifest, as the distribution
// specification advises.
const maxManifest = 4 << 20

// Media types of manifests beyond those of OCI.
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// manifestDoc is what the catalog reads of a manifest or index.
type manifestDoc struct {
	ArtifactType string               `json:"artifactType"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Annotations  map[string]string    `json:"annotations"`
}

// effectiveType is the artifact type that the referrers API reports.
func (m *manifestDoc) effectiveType() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

func isManifestType(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList:
		return true
	}
	return false
}

// union reads from several contents as if they were one.
type union []Content

// open opens d in the last content that has it; the error wraps fs.ErrNotExist
// when none does.
func (u union) open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	for i := len(u) - 1; i >= 0; i-- {
		rc, err := u[i].OpenBlob(ctx, d)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return rc, err
		}
	}
	return nil, fmt.Errorf("opening blob %s: %w", d, fs.ErrNotExist)
}

// preferring are the same contents, of which the one at i is asked first.
func (u union) preferring(i int) union {
	return append(slices.Delete(slices.Clone(u), i, i+1), u[i])
}

// readAll reads a small blob whole, verified by its content; want is the size its
// descriptor gives.
func (u union) readAll(ctx context.Context, d digest.Digest, want int64) (_ []byte, err error) {
	if want < 0 || want > maxManifest {
		return nil, fmt.Errorf("reading manifest %s: its size %d is over the bound of %d bytes", d, want, maxManifest)
	}
	rc, err := u.open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	data, err := io.ReadAll(io.LimitReader(rc, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d, err)
	}
	if int64(len(data)) != want {
		return nil, fmt.Errorf("reading manifest %s: it has %d bytes, its descriptor says %d", d, len(data), want)
	}
	return data, nil
}

func (u union) readManifest(ctx context.Context, desc ocispec.Descriptor) (*manifestDoc, error) {
	data, err := u.readAll(ctx, desc.Digest, desc.Size)
	if err != nil {
		return nil, err
	}
	var doc manifestDoc
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("parsing manifest %s: %w", desc.Digest, err)
	}
	for _, d := range doc.descriptors() {
		if err := u.check(d); err != nil {
			return nil, fmt.Errorf("reading manifest %s: %w", desc.Digest, err)
		}
	}
	return &doc, nil
}

// ErrDescriptor is wrapped by the error of New for a descriptor that is malformed,
// or that gives content another size than the bundle does.
var ErrDescriptor = errors.New("wrong descriptor")

// descriptors are all that the document names.
func (m *manifestDoc) descriptors() []ocispec.Descriptor {
	list := slices.Concat(m.Layers, m.Manifests)
	for _, d := range []*ocispec.Descriptor{m.Config, m.Subject} {
		if d != nil {
			list = append(list, *d)
		}
	}
	return list
}

func checkDescriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrDescriptor, d.Digest, err)
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: %s has size %d", ErrDescriptor, d.Digest, d.Size)
	}
	return nil
}

// check compares a descriptor with what the contents know.
func (u union) check(d ocispec.Descriptor) error {
	if err := checkDescriptor(d); err != nil {
		return err
	}
	for _, c := range u {
		sized, ok := c.(Sized)
		if !ok {
			continue
		}
		if size, held := sized.BlobSize(d.Digest); held && size != d.Size {
			return fmt.Errorf("%w: %s has size %d, in the bundle it has %d bytes", ErrDescriptor, d.Digest, d.Size, size)
		}
	}
	return nil
}
