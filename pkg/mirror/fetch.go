package mirror

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/pkg/mirror/store"
)

// BlobRequest asks for a blob of a repository.
type BlobRequest struct {
	// Name is host/repository as upstream has it.
	Name       string
	Descriptor ocispec.Descriptor
}

// Missing are the requests, each digest once, whose blobs the store lacks, with
// their size in bytes.
func (m *Mirror) Missing(requests []BlobRequest) ([]BlobRequest, int64) {
	var out []BlobRequest
	var total int64
	seen := map[digest.Digest]bool{}
	for _, r := range requests {
		d := r.Descriptor
		if !seen[d.Digest] && !m.store.Has(d.Digest, d.Size) {
			out = append(out, r)
			total += d.Size
		}
		seen[d.Digest] = true
	}
	return out, total
}

// FetchBlobs brings all blobs into the store, Options.Jobs at a time, each once,
// and calls Options.OnBlob for each, also for those that were there. It stops at
// the first error; what arrived is kept.
func (m *Mirror) FetchBlobs(ctx context.Context, requests []BlobRequest) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(m.opts.Jobs)
	seen := map[digest.Digest]bool{}
	for _, r := range requests {
		if seen[r.Descriptor.Digest] {
			continue
		}
		seen[r.Descriptor.Digest] = true
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			if err := m.fetchBlob(gctx, r, m.opts.OnBytes); err != nil {
				return err
			}
			return m.opts.OnBlob(gctx, r.Descriptor)
		})
	}
	return group.Wait()
}

// fetchBlob brings one blob into the store unless it is there.
func (m *Mirror) fetchBlob(ctx context.Context, r BlobRequest, progress func(int64)) error {
	d := r.Descriptor
	if m.store.Has(d.Digest, d.Size) {
		return nil
	}
	source := r.Name + "@" + d.Digest.String()
	fetch := func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		return m.client.Blob(ctx, r.Name, d, offset)
	}
	if len(d.URLs) > 0 && isForeign(d.MediaType) {
		source = d.URLs[0]
		fetch = func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
			body, at, _, err := m.client.Get(ctx, d.URLs[0], offset)
			return body, at, err
		}
	}
	_, _, err := m.store.Ingest(ctx, store.Expected{Digest: d.Digest, Size: d.Size, Source: source}, fetch, progress)
	if err != nil {
		return fmt.Errorf("fetching a blob of %s: %w", r.Name, err)
	}
	return nil
}

// isForeign tells layers that registries do not hold.
func isForeign(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageLayerNonDistributable, //nolint:staticcheck // upstreams still have them
		ocispec.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // as above
		ocispec.MediaTypeImageLayerNonDistributableZstd, //nolint:staticcheck // as above
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return true
	}
	return false
}
