package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive/frame"
)

// cutBlob checks a blob that is cut over volumes. As no one of them sees all of it, it
// is read once more, from start to end, and hashed; and what was read then is
// compared, part by part, with what was packed.
type cutBlob struct {
	blob   Blob
	parts  []*part     // in order
	seen   []hash.Hash // of the frames of each part, as read from start to end
	packed []hash.Hash // and as packed
}

// cutBlobs are the blobs of the plan that are cut, without those that are verified.
func (p *Plan) cutBlobs(verified func(digest.Digest) bool) map[digest.Digest]*cutBlob {
	cuts := map[digest.Digest]*cutBlob{}
	for _, layout := range p.volumes {
		for _, it := range layout.items {
			if it.part == nil || *it.part.whole == 1 || verified(it.part.Digest) {
				continue
			}
			c, ok := cuts[it.part.Digest]
			if !ok {
				c = &cutBlob{blob: it.part.Blob}
				cuts[it.part.Digest] = c
			}
			c.parts = append(c.parts, it.part)
			c.seen = append(c.seen, sha256.New())
			c.packed = append(c.packed, sha256.New())
		}
	}
	return cuts
}

// read hashes the whole blob and compares it with its digest.
func (c *cutBlob) read(ctx context.Context, src Source, dec *frame.Decoder) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("packing blob %s: %w", c.blob.Digest, err)
		}
	}()
	r, err := src.OpenStored(ctx, c.blob)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	stored := bufio.NewReaderSize(r, readAhead)
	frames := &checker{dec: dec}
	check := newBlobCheck(c.blob)
	buf := make([]byte, 0, frame.MaxSize)
	for k, p := range c.parts {
		for i := p.first; i < p.first+p.count; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			n := frame.ContentSize(c.blob.Size, i)
			var data []byte
			if c.blob.Encoding == EncodingRaw {
				data, err = frame.FillRaw(buf, r, n)
			} else {
				data, err = nextStored(buf, stored, n)
			}
			if err != nil {
				return fmt.Errorf("reading its stored form: %w", noEOF(err))
			}
			if _, err := c.seen[k].Write(data); err != nil {
				return err
			}
			if err := frames.frame(data, n, check); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare compares what was packed with what was hashed, once both are done.
func (c *cutBlob) compare() error {
	for i, p := range c.parts {
		if !bytes.Equal(c.seen[i].Sum(nil), c.packed[i].Sum(nil)) {
			name := chunkName(c.blob.Digest, p.number, len(c.parts))
			return &DamagedError{Entry: name, Err: fmt.Errorf("%w: it changed while it was packed", ErrDigest)}
		}
	}
	return nil
}
