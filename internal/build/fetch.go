package build

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/internal/progress"
	"naru/pkg/archive"
	"naru/pkg/mirror"
	"naru/pkg/mirror/charts"
	"naru/pkg/mirror/remote"
)

// openMirror opens the way to the registries and chart repositories. Each blob gets
// its packed form as soon as it arrives.
func (r *run) openMirror() error {
	opts := r.opts.Remote
	opts.PlainFiles = slices.Concat(opts.PlainFiles, r.plainPackageHosts())
	client, err := remote.New(opts)
	if err != nil {
		return err
	}
	r.mirror = mirror.New(client, r.store, mirror.Options{Jobs: r.opts.Jobs, OnBytes: r.opts.Progress.Add, OnBlob: r.encode})
	r.fetcher = charts.New(r.mirror, client, r.store, charts.Options{Keyring: r.selection.Keyring})
	return nil
}

// fetch brings everything that is pinned into the store, in the form it is packed
// in.
//
// Inputs: images and files. Outputs: all blobs in the store, the artifacts of the
// files, the completed lock. Rerunning is safe: what lies in the store under its
// digest is complete and is not fetched again.
func (r *run) fetch(ctx context.Context) error {
	if err := r.savePins(); err != nil {
		return err
	}
	requests := r.requests()
	_, missing := r.mirror.Missing(requests)
	if err := r.forecast(requests, missing); err != nil || r.finished {
		return err
	}
	if missing > 0 {
		defer r.prepareSigner(ctx)()
	}
	r.opts.Progress.Start("fetch", missing)
	if err := r.mirror.FetchBlobs(ctx, requests); err != nil {
		return err
	}
	if err := r.fetchCharts(ctx, false); err != nil {
		return err
	}
	if err := r.fetchFiles(ctx); err != nil {
		return err
	}
	if err := r.fetchPackages(ctx); err != nil {
		return err
	}
	if err := r.encodeManifests(ctx); err != nil {
		return err
	}
	if err := r.keep(); err != nil {
		return err
	}
	lock, err := r.completeLock()
	if err != nil {
		return err
	}
	r.locked, r.pins = lock, lock
	return r.savePins()
}

// keep makes durable what was fetched, and marks all that the bundle is built of as
// used now, for who prunes the cache by age.
func (r *run) keep() error {
	if err := r.store.Sync(); err != nil {
		return err
	}
	var used []digest.Digest
	for _, d := range r.descriptors() {
		used = append(used, d.Digest)
	}
	return r.store.Touch(used)
}

// prepareSigner has the signer make itself ready while content is fetched: opening a
// private key keeps one processor busy for a moment. It takes as much memory as
// encoding does, which waits for it. The caller waits by what it returns.
func (r *run) prepareSigner(ctx context.Context) (wait func()) {
	p, ok := r.opts.Signer.(interface{ Prepare(ctx context.Context) })
	if !ok {
		return func() {}
	}
	alone := r.encoding.TryAcquire(concurrentEncodings)
	var group sync.WaitGroup
	group.Go(func() {
		if alone {
			defer r.encoding.Release(concurrentEncodings)
		}
		p.Prepare(ctx)
	})
	return group.Wait
}

// requests are the blobs of all images, in the order that they are best fetched in:
// those first that take longest, which are those to be encoded and then the large
// ones, so that the end does not wait for one of them alone.
func (r *run) requests() []mirror.BlobRequest {
	var out []mirror.BlobRequest
	for _, c := range r.selection.Components {
		for _, img := range r.images[c.ID] {
			for _, d := range img.Blobs {
				out = append(out, mirror.BlobRequest{Name: img.Ref.Name(), Descriptor: d})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b mirror.BlobRequest) int {
		return cmp.Or(cmp.Compare(haste(a.Descriptor), haste(b.Descriptor)), cmp.Compare(b.Descriptor.Size, a.Descriptor.Size))
	})
	return out
}

// haste is 0 for layers that say that they are not compressed, and 1 for the rest. It
// orders the work and decides nothing: what is encoded is found out from the content.
func haste(d ocispec.Descriptor) int {
	switch d.MediaType {
	case ocispec.MediaTypeImageLayer, "application/vnd.docker.image.rootfs.diff.tar":
		return 0
	}
	return 1
}

// forecast says how much will be fetched and what space that needs, refuses when
// the disk cannot hold it, and ends a dry run.
func (r *run) forecast(requests []mirror.BlobRequest, missing int64) error {
	var content int64
	seen := map[string]bool{}
	for _, q := range requests {
		if !seen[q.Descriptor.Digest.String()] {
			seen[q.Descriptor.Digest.String()] = true
			content += q.Descriptor.Size
		}
	}
	for _, p := range r.allCharts() {
		content += p.size
		if p.stored == nil {
			missing += p.size // a few kilobytes; perhaps held
		}
	}
	for _, f := range r.allFiles() {
		for _, s := range f.sources {
			size := r.lockedSize(s)
			content += size
			if _, held := r.mirror.Held(s); !held {
				missing += size
			}
		}
	}
	osPackages := r.packageFiles()
	for _, f := range osPackages {
		content += f.Size
	}
	missing += r.carrier().Missing(osPackages)
	res := &r.result
	res.Release, res.Out, res.Bytes, res.Fetched, res.NeededCache, res.NeededOut = r.selection.Name, r.opts.OutDir, content, missing, missing, content
	for id, by := range r.selection.Pulled {
		res.Pulled = append(res.Pulled, fmt.Sprintf("%s (for %s)", id, by))
	}
	slices.Sort(res.Pulled)
	res.Images, res.Files = r.count()
	res.Charts, res.Packages = len(r.allCharts()), r.countPackages()
	r.opts.Progress.Note(fmt.Sprintf("%d images, %d charts, %d files and %d OS packages, %s; %s to fetch", res.Images, res.Charts, res.Files, res.Packages, progress.Bytes(content), progress.Bytes(missing)))
	if missing > 0 {
		free, err := freeSpace(r.store.Dir())
		if err != nil {
			return err
		}
		if missing > free {
			return &mirror.NoSpaceError{Path: r.store.Dir(), Needed: missing, Free: free}
		}
	}
	r.warnOutSpace(content)
	if r.opts.DryRun {
		res.DryRun, r.finished = true, true
	}
	return nil
}

// warnOutSpace says early when the disk of the output folder might not hold the
// bundle. What it needs for certain is known once everything is encoded, and
// checked then.
func (r *run) warnOutSpace(content int64) {
	if _, err := os.Stat(filepath.Join(r.opts.OutDir, sumsName)); err == nil {
		return // a bundle is there already, perhaps this one
	}
	dir := r.opts.OutDir
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	if free, err := freeSpace(dir); err == nil && free < content {
		r.opts.Progress.Note(fmt.Sprintf("WARNING: %q has %s free, the bundle may need up to %s", dir, progress.Bytes(free), progress.Bytes(content)))
	}
}

// lockedSize is what the lock knows of a file's size, in bytes; 0 if nothing.
func (r *run) lockedSize(s mirror.File) int64 {
	for _, f := range r.lock.Files {
		if f.URL == s.URL && f.Digest == s.Digest {
			return f.Size
		}
	}
	return 0
}

func (r *run) count() (images, files int) {
	for _, c := range r.selection.Components {
		images += len(r.images[c.ID])
		files += len(r.files[c.ID])
	}
	return images, files
}

// fetchFiles fetches the files and makes their artifacts.
func (r *run) fetchFiles(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Jobs)
	for _, f := range r.allFiles() {
		f.stored = make([]*mirror.StoredFile, len(f.sources))
		for i := range f.sources {
			group.Go(func() error {
				stored, err := r.mirror.FetchFile(gctx, f.sources[i])
				if err != nil {
					return err
				}
				f.stored[i], f.sources[i] = stored, stored.File
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, f := range r.allFiles() {
		a, err := r.mirror.FileArtifact(ctx, f.stored)
		if err != nil {
			return err
		}
		f.artifact = a
	}
	return nil
}

// encodeManifests gives manifests and configs, which come without OnBlob, their
// packed form.
func (r *run) encodeManifests(ctx context.Context) error {
	for _, d := range r.descriptors() {
		if err := r.encode(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// encode makes the packed form of a blob in the store, once.
func (r *run) encode(ctx context.Context, d ocispec.Descriptor) error {
	if _, known := r.store.Encoded(d.Digest); known {
		return nil
	}
	blob, err := r.store.OpenBlob(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	at, ok := blob.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("encoding %s: the store gives no random access", d.Digest)
	}
	if !compressed(at) {
		if err := r.encoding.Acquire(ctx, 1); err != nil {
			return err
		}
		defer r.encoding.Release(1)
	}
	err = r.store.PutEncoded(ctx, d.Digest, func(w io.Writer) (bool, error) {
		result, err := archive.Encode(ctx, at, d.Size, w, archive.EncodeOptions{Jobs: encodeJobs})
		return err == nil && result.Encoding == archive.EncodingZstd, err
	})
	r.encoded.Store(d.Digest, struct{}{})
	return err
}

// compressed tells the blobs that encoding will leave as they are, after a look at
// their first bytes: they need not wait for those that take memory and time.
func compressed(blob io.ReaderAt) bool {
	head := make([]byte, archive.SniffSize)
	n, _ := blob.ReadAt(head, 0) // whoever reads all of it reports what is wrong
	return archive.Sniff(head[:n])
}

// Encoding takes about 16 MiB a job, and as much again until it is collected,
// however many blobs arrive at a time. One blob keeps all jobs busy.
const (
	concurrentEncodings = 1
	encodeJobs          = 2
)
