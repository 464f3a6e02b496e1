package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/internal/progress"
	"naru/pkg/mirror/store"
)

// VerifyOptions say how a cache is verified.
type VerifyOptions struct {
	Dir string
	// Jobs bounds the blobs that are read at once; at least 1.
	Jobs     int
	Progress progress.Observer
}

// Verified is what came of it.
type Verified struct {
	Cache string `json:"cache"`
	Blobs int    `json:"blobs"`
	Bytes int64  `json:"bytes"`
	// Damaged were not what their names say and are removed.
	Damaged []digest.Digest `json:"damaged"`
}

// DamagedError says that blobs of a cache were damaged. They are gone.
type DamagedError struct{ Damaged []digest.Digest }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("verifying the cache: %d damaged blobs, the first is %s", len(e.Damaged), e.Damaged[0])
}

// Check is a *DamagedError where anything was damaged.
func (v *Verified) Check() error {
	if len(v.Damaged) > 0 {
		return &DamagedError{Damaged: v.Damaged}
	}
	return nil
}

// Verify hashes every blob of a cache and drops those that are damaged, so that the
// next build fetches them. Builds may be at work. Packed forms are not looked at: a
// build hashes what they decode to.
func Verify(ctx context.Context, opts VerifyOptions) (_ *Verified, err error) {
	st, err := open(opts.Dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	blobs, err := st.Blobs(ctx)
	if err != nil {
		return nil, err
	}
	out := &Verified{Cache: opts.Dir, Damaged: []digest.Digest{}}
	var total int64
	for _, d := range blobs {
		size, _ := st.Size(d)
		total += size
	}
	opts.Progress.Start("verify", total)
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(opts.Jobs, 1))
	for _, d := range blobs {
		group.Go(func() error {
			size, _ := st.Size(d)
			err := st.Verify(gctx, d)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a build has dropped it
			}
			damaged := (*store.MismatchError)(nil)
			if err != nil && !errors.As(err, &damaged) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			out.Blobs++
			out.Bytes += size
			if damaged != nil {
				out.Damaged = append(out.Damaged, d)
			}
			opts.Progress.Add(size)
			return nil
		})
	}
	err = group.Wait()
	slices.Sort(out.Damaged)
	return out, err
}
