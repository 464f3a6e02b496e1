package build

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// carriedContent is the content of the bundle as a reader of it will see it: the
// store may hold more, such as other platforms of an index.
type carriedContent struct {
	r    *run
	held map[digest.Digest]bool
}

func (r *run) content() *carriedContent {
	c := &carriedContent{r: r, held: map[digest.Digest]bool{}}
	for _, d := range r.descriptors() {
		c.held[d.Digest] = true
	}
	return c
}

// Index is that of the bundle.
func (c *carriedContent) Index() ocispec.Index { return c.r.index() }

// OpenBlob is fs.ErrNotExist for what the bundle does not carry.
func (c *carriedContent) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	if !c.held[d] {
		return nil, fmt.Errorf("opening %s: %w", d, fs.ErrNotExist)
	}
	return c.r.store.OpenBlob(ctx, d)
}
