package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"naru/pkg/archive/frame"
)

const (
	// minEncode is the size below which compressing a blob is not worth opening a
	// decoder for: manifests and configs.
	minEncode = 16 << 10
	// minSaving is the part of a blob, in percent, that compressing must save.
	minSaving = 3
	// A blob of more than minSampled bytes is judged by samples first.
	minSampled = 16 << 20
	samples    = 8
	sampleSize = 256 << 10
)

// Encoder names the encoder behind Encode. The name changes whenever its output
// may: with the level, or with the version of the compression library.
const Encoder = "fastest-1.20.3"

// EncodeOptions are the options of Encode.
type EncodeOptions struct {
	// Jobs is how many frames are compressed at a time, by default GOMAXPROCS. Each
	// takes up to 16 MiB. The result does not depend on it.
	Jobs int
}

// EncodeResult says how a blob is stored.
type EncodeResult struct {
	Encoding Encoding
	// EncodedSize is the number of bytes of the stored form: of what Encode wrote,
	// or of the content where Encoding is raw.
	EncodedSize int64
}

// Encode decides how the blob of size bytes in r is stored. When the result says
// EncodingZstd, w has received the stored form, a seekable zstd file. When it says
// EncodingRaw the content itself is the stored form and whatever w may have received
// is to be thrown away. The decision and the bytes depend on the content alone.
func Encode(ctx context.Context, r io.ReaderAt, size int64, w io.Writer, opts EncodeOptions) (EncodeResult, error) {
	raw := EncodeResult{Encoding: EncodingRaw, EncodedSize: size}
	if size < minEncode {
		return raw, nil
	}
	if size > maxBlob {
		return raw, fmt.Errorf("encoding %d bytes: %w", size, ErrTooLarge)
	}
	head := make([]byte, SniffSize)
	if err := readFullAt(r, head, 0); err != nil {
		return raw, fmt.Errorf("encoding: %w", err)
	}
	if Sniff(head) {
		return raw, nil
	}
	if opts.Jobs < 1 {
		opts.Jobs = runtime.GOMAXPROCS(0)
	}
	enc, err := frame.NewEncoder(opts.Jobs)
	if err != nil {
		return raw, err
	}
	e := encoder{r: r, size: size, w: w, enc: enc, jobs: int(min(int64(opts.Jobs), frame.Count(size)))}
	written, err := e.run(ctx)
	if err := errors.Join(err, enc.Close()); err != nil {
		return raw, fmt.Errorf("encoding: %w", err)
	}
	if !worthwhile(written, size) {
		return raw, nil
	}
	return EncodeResult{Encoding: EncodingZstd, EncodedSize: written}, nil
}

// worthwhile reports whether encoded bytes in place of size save enough.
func worthwhile(encoded, size int64) bool {
	return encoded > 0 && encoded <= size-size/100*minSaving
}

// encoder is one call of Encode.
type encoder struct {
	r    io.ReaderAt
	size int64
	w    io.Writer
	enc  *frame.Encoder
	jobs int
}

// slot is the memory of one frame on its way through the encoder.
type slot struct {
	in, out []byte
	done    chan struct{}
}

// run writes the stored form and returns its length, or 0 when samples say that it
// is not worthwhile.
func (e *encoder) run(ctx context.Context) (int64, error) {
	if ok, err := e.sample(); err != nil || !ok {
		return 0, err
	}
	// Slots go round: free -> filled in order by the reader -> queue -> written in
	// order -> free.
	free, queue := make(chan *slot, e.jobs), make(chan *slot, e.jobs)
	for range e.jobs {
		free <- new(slot)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		return e.compress(ctx, g, free, queue)
	})
	var written int64
	g.Go(func() error {
		var err error
		written, err = e.collect(ctx, free, queue)
		return err
	})
	err := g.Wait()
	return written, err
}

// compress reads frame after frame and hands each to a goroutine of its own.
func (e *encoder) compress(ctx context.Context, g *errgroup.Group, free <-chan *slot, queue chan<- *slot) error {
	for i := range frame.Count(e.size) {
		var s *slot
		select {
		case s = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.done = make(chan struct{})
		n := frame.ContentSize(e.size, i)
		if cap(s.in) < n {
			s.in = make([]byte, n)
		}
		s.in = s.in[:n]
		if err := readFullAt(e.r, s.in, i*frame.MaxContent); err != nil {
			return err
		}
		g.Go(func() error {
			s.out = e.enc.Append(s.out[:0], s.in)
			close(s.done)
			return nil
		})
		select {
		case queue <- s:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// collect writes the frames in order and the seek table behind them.
func (e *encoder) collect(ctx context.Context, free chan<- *slot, queue <-chan *slot) (int64, error) {
	var infos []frame.Info
	var written int64
	for s := range queue {
		<-s.done
		if _, err := e.w.Write(s.out); err != nil {
			return 0, err
		}
		written += int64(len(s.out))
		infos = append(infos, frame.Info{Size: uint32(len(s.out)), Content: uint32(len(s.in))})
		free <- s
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	table := frame.AppendTable(nil, infos)
	if _, err := e.w.Write(table); err != nil {
		return 0, err
	}
	return written + int64(len(table)), nil
}

// sample compresses pieces spread over a large blob and reports whether the whole
// is likely to be worthwhile.
func (e *encoder) sample() (bool, error) {
	if e.size < minSampled {
		return true, nil
	}
	in, encoded := make([]byte, sampleSize), int64(0)
	var out []byte
	for i := range int64(samples) {
		if err := readFullAt(e.r, in, (e.size-sampleSize)/(samples-1)*i); err != nil {
			return false, err
		}
		out = e.enc.Append(out[:0], in)
		encoded += int64(len(out))
	}
	return worthwhile(encoded, samples*sampleSize), nil
}

// StoredFrames returns the sizes of the frames of a blob's stored form; of raw
// content, of the frames it will take.
func StoredFrames(ctx context.Context, src Source, b Blob) (sizes []int64, err error) {
	if b.Encoding == EncodingRaw {
		return rawFrames(b.Size), nil
	}
	r, err := src.OpenStored(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", b.Digest, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]byte, 0, frame.MaxSize)
	for i := range frame.Count(b.Size) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, n, err := frame.Read(buf, r)
		if err == nil && n != frame.ContentSize(b.Size, i) {
			err = fmt.Errorf("%w: frame %d has %d bytes of content", frame.ErrFrame, i, n)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the stored form of blob %s: %w", b.Digest, noEOF(err))
		}
		sizes = append(sizes, int64(len(data)))
	}
	return sizes, nil
}

func rawFrames(size int64) []int64 {
	sizes := make([]int64, frame.Count(size))
	for i := range sizes {
		sizes[i] = int64(frame.RawSize(frame.ContentSize(size, int64(i))))
	}
	return sizes
}

// readFullAt fills b from offset off of r.
func readFullAt(r io.ReaderAt, b []byte, off int64) error {
	if n, err := r.ReadAt(b, off); n < len(b) {
		return noEOF(err)
	}
	return nil
}

// noEOF makes the end of a file where more must be an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
