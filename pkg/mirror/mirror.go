// Package mirror resolves and fetches what a bundle carries: images with their
// signatures, and files. Content goes into the store by digest; names are
// resolved to digests once and every later step speaks of digests.
//
// Upstream bytes are never rewritten. A multi-platform image keeps its index as
// it is; of its children only those of the selected platforms are fetched, so an
// index in the store may be sparse.
package mirror

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror/remote"
	"naru/pkg/mirror/store"
)

// Mirror fetches into a store. It is safe for concurrent use.
type Mirror struct {
	client *remote.Client
	store  *store.Store
	opts   Options
}

// Options tune a Mirror. The callbacks are called from many goroutines.
type Options struct {
	// Jobs bounds concurrent transfers; at least 1.
	Jobs int
	// OnBytes is told of bytes that arrived, also of those found in a partial
	// download of an earlier run.
	OnBytes func(n int64)
	// OnBlob is called when a blob lies in the store, fetched by this run or not.
	// Its error ends the fetch.
	OnBlob func(ctx context.Context, desc ocispec.Descriptor) error
}

// New is a Mirror that fetches through client into st.
func New(client *remote.Client, st *store.Store, opts Options) *Mirror {
	opts.Jobs = max(opts.Jobs, 1)
	if opts.OnBytes == nil {
		opts.OnBytes = func(int64) {}
	}
	if opts.OnBlob == nil {
		opts.OnBlob = func(context.Context, ocispec.Descriptor) error { return nil }
	}
	return &Mirror{client: client, store: st, opts: opts}
}

// MismatchError says that a source served other bytes than were pinned.
type MismatchError = store.MismatchError

// MovedTagError says that a tag names another digest than the lock pins.
type MovedTagError struct {
	Ref         string
	Pinned, Now digest.Digest
}

func (e *MovedTagError) Error() string {
	return fmt.Sprintf("resolving %q: the tag moved: locked as %s, now %s", e.Ref, e.Pinned, e.Now)
}

// MissingPlatformError says that an image is not published for a platform.
type MissingPlatformError struct {
	Ref, Want string
	Have      []string
}

func (e *MissingPlatformError) Error() string {
	return fmt.Sprintf("resolving %q: no image for platform %s, upstream has %v", e.Ref, e.Want, e.Have)
}

// NoSpaceError says that a disk cannot hold what is to be written.
type NoSpaceError struct {
	Path string
	// Needed and Free are in bytes.
	Needed, Free int64
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("checking the space for %q: %d bytes needed, %d free", e.Path, e.Needed, e.Free)
}

// maxBlob bounds what a manifest may say that a blob has, in bytes.
const maxBlob = 1 << 40

// maxManifest bounds manifests and indexes, in bytes, as registries do.
const maxManifest = 4 << 20

// readAll reads at most limit bytes of r and fails when there is more.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return data, err
}
