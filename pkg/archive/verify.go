package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// VerifyOptions are the options of Reader.Verify.
type VerifyOptions struct {
	// Jobs is how many blobs are hashed at a time, by default GOMAXPROCS. One reads
	// the volumes from start to end, for media that are slow to seek.
	Jobs int
	// Progress is told the bytes of blob content that were hashed, from several
	// goroutines. The sizes in Contents().Blobs add up to the total.
	Progress func(n int64)
}

// Report says what Verify looked at.
type Report struct {
	Volumes int
	Files   int   // metadata files
	Blobs   int   // blobs that are what they should be
	Bytes   int64 // of their content
}

// Verify checks everything there is to a bundle against what was signed, whatever
// was verified before: that the volumes hold the entries format v1 asks for, in its
// order, with its headers, and nothing else; that the tables of contents say so;
// and every file and every blob by its digest. It collects all that is wrong into
// one error, most of it *DamagedError, and stops early only when ctx ends. Files in
// signatures/ are read, but nothing here says whether they are right. What the
// headers said of where things lie is used from then on.
func (r *Reader) Verify(ctx context.Context, opts VerifyOptions) (*Report, error) {
	if opts.Jobs < 1 {
		opts.Jobs = runtime.GOMAXPROCS(0)
	}
	if opts.Progress == nil {
		opts.Progress = func(int64) {}
	}
	v := &verification{Reader: r, opts: opts, report: Report{Volumes: len(r.volumes)}}
	l, problems := r.scanAll(ctx)
	v.problems = problems
	if len(problems) == 0 {
		r.scanned(l)
		v.tables(l)
	}
	v.files(ctx, l)
	v.blobs(ctx, l)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("verifying the bundle: %w", err)
	}
	if err := errors.Join(v.problems...); err != nil {
		return &v.report, fmt.Errorf("verifying the bundle: %w", err)
	}
	return &v.report, nil
}

// verification is one call of Verify.
type verification struct {
	*Reader
	opts VerifyOptions

	mu       sync.Mutex
	report   Report
	problems []error
}

func (v *verification) problem(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.problems = append(v.problems, err)
}

// tables compares every table of contents with what the scan found.
func (v *verification) tables(l *layout) {
	limit := v.tocLimit()
	for i, vol := range v.volumes {
		entries, err := vol.toc(limit, v.dec)
		if err == nil && !slices.Equal(entries, l.entries[i]) {
			err = errTOC
		}
		if err != nil {
			v.problem(vol.damaged(TOCName, err))
		}
	}
}

// files reads all entries that are not blobs, as the seek table has them.
func (v *verification) files(ctx context.Context, l *layout) {
	listed := make(map[string]Entry, len(v.contents.Entries))
	for _, e := range v.contents.Entries {
		listed[e.Name] = e
	}
	for i, vol := range v.volumes {
		for _, e := range l.entries[i] {
			if ctx.Err() != nil {
				return
			}
			if strings.HasPrefix(e.name, blobPrefix) || e.name == TOCName {
				continue
			}
			want, ok := listed[e.name]
			if ok {
				_, err := v.file(vol, e, want)
				v.counted(err)
				continue
			}
			if err := v.head(vol, e); err != nil {
				v.problem(vol.damaged(e.name, err))
			}
		}
	}
}

func (v *verification) counted(err error) {
	if err != nil {
		v.problem(err)
		return
	}
	v.report.Files++
}

// head compares the entries that every volume starts with to what was read when it
// was opened, and reads files in signatures/.
func (v *verification) head(vol *volume, e entry) error {
	limit := int64(maxSignature)
	if e.name == ContentsName {
		limit = maxContents
	}
	data, err := vol.data(e, limit, v.dec)
	if err != nil {
		return err
	}
	var want []byte
	switch e.name {
	case BundleName:
		want = vol.bundle
	case SignatureName:
		want = vol.signature
	case ContentsName:
		want = vol.contents
	case VolumeName:
		doc, err := decodeVolumeDoc(data)
		if err == nil && doc != vol.doc {
			err = ErrOrder
		}
		return err
	default:
		return nil
	}
	if !bytes.Equal(data, want) {
		return ErrDigest
	}
	return nil
}

// blobs hashes all blobs.
func (v *verification) blobs(ctx context.Context, l *layout) {
	var todo []*location
	for _, b := range v.contents.Blobs {
		if loc, ok := l.blobs[b.Digest]; ok {
			todo = append(todo, loc)
		}
	}
	if v.opts.Jobs > 1 {
		// The largest first, so that no processor is left with one at the end.
		slices.SortStableFunc(todo, func(a, b *location) int { return cmp.Compare(b.blob.Size, a.blob.Size) })
	}
	g := new(errgroup.Group)
	g.SetLimit(v.opts.Jobs)
	for len(todo) > 0 && ctx.Err() == nil {
		batch := nextBatch(todo)
		todo = todo[len(batch):]
		g.Go(func() error {
			for _, loc := range batch {
				v.blob(ctx, loc)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		v.problem(err)
	}
}

// nextBatch cuts off the front of todo what is worth a goroutine.
func nextBatch(todo []*location) []*location {
	const enough = 4 << 20
	n, size := 0, int64(0)
	for n < len(todo) && size < enough {
		size += todo[n].blob.Size + 4096
		n++
	}
	return todo[:n]
}

func (v *verification) blob(ctx context.Context, loc *location) {
	err := v.hashBlob(ctx, loc, v.opts.Progress)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.problem(err)
	default:
		v.mu.Lock()
		defer v.mu.Unlock()
		v.report.Blobs++
		v.report.Bytes += loc.blob.Size
	}
}
