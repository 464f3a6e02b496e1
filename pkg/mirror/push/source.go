package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest bounds what is read as a manifest, in bytes.
const maxManifest = 4 << 20

// Media types of manifests beyond those of OCI.
const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func isManifestType(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList:
		return true
	}
	return false
}

// source reads from several contents as if they were one.
type source []Content

// open opens d in the last content that has it. Its error is an *Error; it wraps
// fs.ErrNotExist when no content has d.
func (s source) open(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	err := fs.ErrNotExist
	for i := len(s) - 1; i >= 0; i-- {
		var rc io.ReadSeekCloser
		rc, err = s[i].OpenBlob(ctx, d)
		if err == nil {
			return rc, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, &Error{Op: "opening blob", Digest: d, Side: SideSource, Err: err}
}

func (s source) has(ctx context.Context, d digest.Digest) (bool, error) {
	rc, err := s.open(ctx, d)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, rc.Close()
}

// readManifest reads a manifest whole; the content verifies it.
func (s source) readManifest(ctx context.Context, desc ocispec.Descriptor) (_ []byte, err error) {
	fail := func(err error) error {
		return &Error{Op: "reading manifest", Digest: desc.Digest, Side: SideSource, Err: err}
	}
	if desc.Size < 0 || desc.Size > maxManifest {
		return nil, fail(fmt.Errorf("its size %d is over the bound of %d bytes", desc.Size, maxManifest))
	}
	rc, err := s.open(ctx, desc.Digest)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(rc, maxManifest+1))
	if err = errors.Join(err, rc.Close()); err != nil {
		return nil, fail(err)
	}
	if int64(len(data)) != desc.Size {
		return nil, fail(fmt.Errorf("it has %d bytes, its descriptor says %d", len(data), desc.Size))
	}
	return data, nil
}

// manifestDoc is what the plan reads of a manifest or index.
type manifestDoc struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
	Subject   *ocispec.Descriptor  `json:"subject"`
}

func parseManifest(desc ocispec.Descriptor, data []byte) (*manifestDoc, error) {
	var doc manifestDoc
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, &Error{Op: "parsing manifest", Digest: desc.Digest, Side: SideSource, Err: err}
	}
	return &doc, nil
}

// isForeign tells layers that registries do not store.
func isForeign(desc ocispec.Descriptor) bool {
	switch desc.MediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}
	return false
}
