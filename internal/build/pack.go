package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
	"naru/pkg/mirror"
)

// pack writes the volumes.
//
// Inputs: the plan, the store. Outputs: volumes in OutDir. Rerunning is safe: a
// volume is renamed into place when whole, SHA256SUMS comes last, and a folder
// that holds this bundle already ends the run here.
func (r *run) pack(ctx context.Context) error {
	done, err := r.inspectOut(ctx)
	if err != nil || done {
		r.finished = done
		return err
	}
	if err := r.checkOutSpace(); err != nil {
		return err
	}
	if err := r.claimOut(); err != nil {
		return err
	}
	r.opts.Progress.Start("pack", r.plan.TotalSize())
	r.volumes, err = r.plan.Write(ctx, r.opts.OutDir, storeSource{r}, archive.WriteOptions{
		Verified: r.hashed,
		Progress: r.opts.Progress.Add,
		Jobs:     concurrentVolumes,
	})
	return r.heal(ctx, err)
}

// concurrentVolumes bounds the volumes written at a time; each takes memory, and
// the disk is the limit.
const concurrentVolumes = 2

// hashed tells whether this run hashed what is packed for a blob: the blob itself,
// and the packed form if there is one, which nothing vouches for when an earlier
// run made it.
func (r *run) hashed(d digest.Digest) bool {
	if !r.store.Fresh(d) {
		return false
	}
	if size, _ := r.store.Encoded(d); size == 0 {
		return true
	}
	_, made := r.encoded.Load(d)
	return made
}

// DamagedCacheError says that something in the cache was damaged and was removed.
type DamagedCacheError struct {
	Blob digest.Digest
	Err  error
}

func (e *DamagedCacheError) Error() string {
	return fmt.Sprintf("reading %s from the cache: it was damaged and has been removed: %v", e.Blob, e.Err)
}

func (e *DamagedCacheError) Unwrap() error { return e.Err }

// heal removes from the cache what packing found damaged, so that the next run
// makes or fetches it again.
func (r *run) heal(ctx context.Context, err error) error {
	var damaged *archive.DamagedError
	if !errors.As(err, &damaged) {
		return err
	}
	d := damaged.Want
	if d == "" {
		return err
	}
	dropErr := r.store.DropEncoded(d)
	var wrong *mirror.MismatchError
	if verifyErr := r.store.Verify(ctx, d); verifyErr != nil && !errors.As(verifyErr, &wrong) {
		dropErr = errors.Join(dropErr, verifyErr)
	}
	return errors.Join(&DamagedCacheError{Blob: d, Err: err}, dropErr)
}

// storeSource hands blobs of the store to the archive in their packed form.
type storeSource struct{ r *run }

func (s storeSource) OpenStored(ctx context.Context, b archive.Blob) (io.ReadCloser, error) {
	if b.Encoding == archive.EncodingRaw {
		return s.r.store.OpenBlob(ctx, b.Digest)
	}
	return s.r.store.OpenEncoded(b.Digest)
}

// checkOutSpace refuses to start packing what the disk cannot hold.
func (r *run) checkOutSpace() error {
	if err := os.MkdirAll(r.opts.OutDir, 0o755); err != nil {
		return fmt.Errorf("making the output folder: %w", err)
	}
	free, err := freeSpace(r.opts.OutDir)
	if err != nil {
		return err
	}
	if need := r.plan.TotalSize(); need > free {
		return &mirror.NoSpaceError{Path: r.opts.OutDir, Needed: need, Free: free}
	}
	return nil
}
