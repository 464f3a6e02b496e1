package workload

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/gzip"

	"naru/test/lab/layout"
)

// pieceSize is how much of a file goes into one entry of a layer; a multiple of
// tar's block size, so that entries need no padding.
const pieceSize = 256 << 10

// piece is one tar entry, as it is and as a gzip member.
type piece struct {
	rawAt       int64
	gzAt, gzLen int64
}

// entrySize is the size of a piece in a tar.
const entrySize = 512 + pieceSize

// pool keeps the pieces in two scratch files.
type pool struct {
	raw, gz *os.File
	pieces  []piece
}

// newPool cuts material into pieces and compresses them. The scratch files lie,
// unnamed, in dir.
func newPool(ctx context.Context, material []string, dir string) (*pool, error) {
	p := &pool{}
	if err := p.fill(ctx, material, dir); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pool) fill(ctx context.Context, material []string, dir string) error {
	var err error
	if p.raw, err = scratch(dir); err != nil {
		return err
	}
	if p.gz, err = scratch(dir); err != nil {
		return err
	}
	for _, m := range material {
		if err := p.addFile(m); err != nil {
			return fmt.Errorf("reading material: %w", err)
		}
	}
	if len(p.pieces) == 0 {
		return fmt.Errorf("%w: want %d bytes", ErrNoMaterial, pieceSize)
	}
	if err := p.compress(ctx); err != nil {
		return fmt.Errorf("compressing material: %w", err)
	}
	return nil
}

func scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".pool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (p *pool) close() {
	for _, f := range []*os.File{p.raw, p.gz} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// addFile appends the whole pieces of a file as tar entries to the raw pool.
func (p *pool) addFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var r io.Reader = f
	if ext := filepath.Ext(file); ext == ".gz" || ext == ".tgz" {
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("unpacking %q: %w", file, err)
		}
		r = z
	}
	buf := make([]byte, pieceSize)
	for {
		if _, err := io.ReadFull(r, buf); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading %q: %w", file, err)
		}
		entry, err := tarEntry(fmt.Sprintf("usr/lib/workload/%05d.bin", len(p.pieces)), buf)
		if err != nil {
			return err
		}
		at := int64(len(p.pieces)) * entrySize
		if _, err := p.raw.WriteAt(entry, at); err != nil {
			return err
		}
		p.pieces = append(p.pieces, piece{rawAt: at})
	}
}

// tarEntry is the entry of a file, without the blocks that end an archive.
func tarEntry(name string, data []byte) ([]byte, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), ModTime: layout.Epoch(), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if err := tw.WriteHeader(h); err != nil {
		return nil, err
	}
	if _, err := tw.Write(data); err != nil {
		return nil, err
	}
	if err := tw.Flush(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// compress fills the gzip pool in parallel. A member has a fixed place, twice as
// large as its entry since gzip can make it longer; the file is sparse.
func (p *pool) compress(ctx context.Context) error {
	g, ctx := group(ctx)
	for i := range p.pieces {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			entry := make([]byte, entrySize)
			if _, err := p.raw.ReadAt(entry, p.pieces[i].rawAt); err != nil {
				return err
			}
			member, err := gzipMember(entry)
			if err != nil {
				return err
			}
			p.pieces[i].gzAt, p.pieces[i].gzLen = 2*p.pieces[i].rawAt, int64(len(member))
			_, err = p.gz.WriteAt(member, p.pieces[i].gzAt)
			return err
		})
	}
	return g.Wait()
}

func gzipMember(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// buffers hold a piece or its member, which may be a little larger.
type buffers struct{ raw, gz []byte }

func newBufferPool() *sync.Pool {
	return &sync.Pool{New: func() any {
		return &buffers{raw: make([]byte, entrySize), gz: make([]byte, 2*entrySize)}
	}}
}

// random reads a random piece; member is nil unless gz is asked for.
func (p *pool) random(rng *rand.Rand, b *buffers, c layout.Compression) (entry, member []byte, err error) {
	pc := p.pieces[rng.IntN(len(p.pieces))]
	if _, err := p.raw.ReadAt(b.raw, pc.rawAt); err != nil {
		return nil, nil, fmt.Errorf("reading pool: %w", err)
	}
	if c != layout.Gzip {
		return b.raw, nil, nil
	}
	if _, err := p.gz.ReadAt(b.gz[:pc.gzLen], pc.gzAt); err != nil {
		return nil, nil, fmt.Errorf("reading pool: %w", err)
	}
	return b.raw, b.gz[:pc.gzLen], nil
}
