package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/pkg/archive/frame"
)

// Source yields the blobs to pack in their stored form: the content itself of a
// raw blob, what Encode wrote of a zstd one. It is called from several goroutines.
// A reader that is an io.Seeker too saves reading what is skipped.
type Source interface {
	OpenStored(ctx context.Context, b Blob) (io.ReadCloser, error)
}

// WriteOptions are the options of Plan.Write.
type WriteOptions struct {
	// Verified says that this process has hashed a blob's content. Blobs of which
	// it does not are hashed while they are packed. Nil hashes all.
	Verified func(digest.Digest) bool
	// Progress is told the number of bytes written, from several goroutines.
	Progress func(n int64)
	// Jobs is how many volumes are written at a time, by default GOMAXPROCS, each
	// with up to 24 MiB of memory.
	Jobs int
}

// VolumeFile is a volume that was written.
type VolumeFile struct {
	Name   string
	Size   int64
	Digest digest.Digest // of the file
}

// Write writes the volumes into dir, which must exist. Each is written beside its
// place under a name ending in ".partial" and synced, and only when all of them are
// right are they renamed: under its own name there is either the whole volume or what
// was there before. Nothing partial is left behind by an error. A blob whose content
// is not what its digest says, or that changes while it is packed, fails the whole
// with a *DamagedError.
func (p *Plan) Write(ctx context.Context, dir string, src Source, opts WriteOptions) (files []VolumeFile, err error) {
	if opts.Jobs < 1 {
		opts.Jobs = runtime.GOMAXPROCS(0)
	}
	if opts.Verified == nil {
		opts.Verified = func(digest.Digest) bool { return false }
	}
	if opts.Progress == nil {
		opts.Progress = func(int64) {}
	}
	dec, err := frame.NewDecoder(opts.Jobs)
	if err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	defer dec.Close()
	writers := make([]*volumeWriter, len(p.volumes))
	cuts := p.cutBlobs(opts.Verified)
	for i, layout := range p.volumes {
		path := filepath.Join(dir, p.Volumes[i].Name)
		writers[i] = &volumeWriter{plan: p.Volumes[i], path: path, layout: layout, src: src, dec: dec, cuts: cuts, opts: opts}
	}
	defer func() {
		for _, w := range writers {
			err = errors.Join(err, w.cleanUp())
		}
	}()
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(opts.Jobs)
	for _, c := range cuts {
		g.Go(func() error { return c.read(group, src, dec) })
	}
	for _, w := range writers {
		g.Go(func() error { return w.write(group) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, c := range cuts {
		if err := c.compare(); err != nil {
			return nil, fmt.Errorf("writing the bundle: %w", err)
		}
	}
	return rename(dir, writers)
}

// rename gives the volumes their names.
func rename(dir string, writers []*volumeWriter) ([]VolumeFile, error) {
	files := make([]VolumeFile, len(writers))
	for i, w := range writers {
		if err := os.Rename(w.path+PartialSuffix, w.path); err != nil {
			return nil, fmt.Errorf("writing the bundle: %w", err)
		}
		w.partial = false
		files[i] = w.file
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	return files, nil
}

// volumeWriter writes one volume.
type volumeWriter struct {
	plan   VolumePlan
	path   string
	layout *volumeLayout
	src    Source
	dec    *frame.Decoder
	cuts   map[digest.Digest]*cutBlob
	opts   WriteOptions

	partial bool // whether there is a partial file
	file    VolumeFile
}

// write writes the volume under its partial name.
func (w *volumeWriter) write(ctx context.Context) error {
	f, err := os.OpenFile(w.path+PartialSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("writing volume %q: %w", w.plan.Name, err)
	}
	w.partial = true
	size, sum, err := w.stream(ctx, f)
	if err == nil && size != w.plan.Size {
		err = fmt.Errorf("it has %d bytes in place of %d", size, w.plan.Size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing volume %q: %w", w.plan.Name, err)
	}
	w.file = VolumeFile{Name: w.plan.Name, Size: size, Digest: sum}
	return nil
}

// cleanUp removes the partial file if there is one.
func (w *volumeWriter) cleanUp() error {
	if !w.partial {
		return nil
	}
	w.partial = false
	return os.Remove(w.path + PartialSuffix)
}

// stream runs the stages over the volume: read, check blobs, write, hash. Pieces
// go from each to the next and come back. What it wrote is synced.
func (w *volumeWriter) stream(ctx context.Context, f *os.File) (size int64, sum digest.Digest, err error) {
	const pieces = 5
	free := make(chan *piece, pieces)
	for range pieces {
		free <- newPiece()
	}
	hash := sha256.New()
	g, ctx := errgroup.WithContext(ctx)
	read := stage(g, nil, func(_ <-chan *piece, out chan<- *piece) error {
		return (&packer{volumeWriter: w, free: free, out: out}).run(ctx)
	})
	checked := stage(g, read, func(in <-chan *piece, out chan<- *piece) error {
		c := &checker{dec: w.dec}
		return each(ctx, in, out, c.piece)
	})
	written := stage(g, checked, func(in <-chan *piece, out chan<- *piece) error {
		file, err := newOutput(f, w.plan.Size)
		if err != nil {
			return err
		}
		err = file.run(ctx, in, out, func(n int) {
			size += int64(n)
			w.opts.Progress(int64(n))
		})
		if err != nil {
			return err
		}
		return file.finish()
	})
	g.Go(func() error {
		return each(ctx, written, free, func(p *piece) error {
			_, err := hash.Write(p.buf)
			return err
		})
	})
	err = g.Wait()
	return size, digest.NewDigest(digest.SHA256, hash), err
}

// stage runs f in a goroutine of g with a new channel for what it makes of in.
func stage(g *errgroup.Group, in <-chan *piece, f func(in <-chan *piece, out chan<- *piece) error) <-chan *piece {
	out := make(chan *piece)
	g.Go(func() error {
		defer close(out)
		return f(in, out)
	})
	return out
}

// each does f to every piece of in and hands it to out.
func each(ctx context.Context, in <-chan *piece, out chan<- *piece, f func(*piece) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p, ok := <-in:
			if !ok {
				return nil
			}
			if err := f(p); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case out <- p:
			}
		}
	}
}

// syncDir makes the renames in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	// Not every system can sync a folder; what it cannot promise is no failure.
	if err := d.Sync(); err != nil && runtime.GOOS == "linux" {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}
