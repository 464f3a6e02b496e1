package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/pkg/sign/verify"
)

// VolumeSums are the checksums of a bundle's volumes, in their order: those of the
// signed SHA256SUMS beside a volume where it lists it, else of the file as it is
// read now.
func VolumeSums(ctx context.Context, o Options, b *Bundle) ([]digest.Digest, error) {
	volumes := b.Volumes()
	out := make([]digest.Digest, len(volumes))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, v := range volumes {
		listed, err := listedSum(o, v.Path)
		if err != nil {
			return nil, err
		}
		if listed != "" {
			out[i] = listed
			continue
		}
		group.Go(func() (err error) {
			out[i], err = hashFile(ctx, v.Path)
			return err
		})
	}
	return out, group.Wait()
}

// listedSum is what the signed list in the file's folder says of it, or "" where
// there is no list, nobody to check it with, or no such line.
func listedSum(o Options, file string) (digest.Digest, error) {
	if o.SkipVerify {
		return "", nil
	}
	dir := filepath.Dir(file)
	if _, err := os.Stat(filepath.Join(dir, verify.SumsSignatureName)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	ring, err := o.keyring()
	if err != nil {
		return "", err
	}
	sums, _, err := ring.OpenSums(dir)
	if err != nil {
		return "", err
	}
	for _, s := range sums {
		if s.Name == filepath.Base(file) {
			return s.Digest, nil
		}
	}
	return "", nil
}

func hashFile(ctx context.Context, path string) (digest.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hashing a volume: %w", err)
	}
	defer func() { _ = f.Close() }()
	d, err := digest.FromReader(cancellable{ctx, f})
	if err != nil {
		return "", fmt.Errorf("hashing volume %q: %w", path, err)
	}
	return d, nil
}

// cancellable ends reading when ctx does.
type cancellable struct {
	ctx context.Context //nolint:containedctx // it lives for one read of one file
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
