package workload

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
)

// hosts share the images among them.
func hosts() []string { return []string{"registry.k8s.io", "ghcr.io", "docker.io", "quay.io"} }

// generator writes the layers, images and files of a shape. Every layer and file
// is drawn from a sequence of its own, so that the order of work is of no matter.
type generator struct {
	w     *layout.Writer
	pool  *pool
	shape Shape
	seed  uint64
	bufs  *sync.Pool
}

// layerPlan is a layer to be made; id is unique in the workload.
type layerPlan struct {
	id          uint64
	size        int64
	compression layout.Compression
}

// plan deals out the bytes: three quarters of the compressed ones to the images'
// own layers, a quarter to the bases.
func (s Shape) plan(seed uint64) (bases []layerPlan, images [][]layerPlan) {
	rng := rand.New(rand.NewPCG(seed, 0))
	raw := s.Bytes * int64(s.RawPercent) / 100
	packed := s.Bytes - raw
	var id uint64
	next := func(size int64, c layout.Compression) layerPlan {
		id++
		size = size/2 + rng.Int64N(size+1) // half to one and a half of the mean
		return layerPlan{id: id, size: size, compression: c}
	}
	for range s.Bases {
		bases = append(bases, next(packed/4/int64(s.Bases), layout.Gzip))
	}
	rawImages := int64(s.Images+4) / 5
	for i := range s.Images {
		var layers []layerPlan
		for range s.Layers {
			layers = append(layers, next(packed*3/4/int64(s.Images*s.Layers), layout.Gzip))
		}
		if raw > 0 && i%5 == 0 {
			layers = append(layers, next(raw/2/rawImages, layout.None))
		}
		images = append(images, layers)
	}
	return bases, images
}

func (g *generator) run(ctx context.Context) error {
	g.bufs = newBufferPool()
	basePlans, imagePlans := g.shape.plan(g.seed)
	bases := make([]layout.Layer, len(basePlans))
	images := make([][]layout.Layer, len(imagePlans))

	jobs, ctx := group(ctx)
	for i, p := range basePlans {
		jobs.Go(func() error { return g.layer(ctx, p, &bases[i]) })
	}
	for i, plans := range imagePlans {
		images[i] = make([]layout.Layer, len(plans))
		for j, p := range plans {
			jobs.Go(func() error { return g.layer(ctx, p, &images[i][j]) })
		}
	}
	if g.shape.RawPercent > 0 {
		for i := range g.shape.Files {
			jobs.Go(func() error { return g.file(ctx, i) })
		}
	}
	if err := jobs.Wait(); err != nil {
		return err
	}
	for i, own := range images {
		if err := g.image(i, append([]layout.Layer{bases[i%len(bases)]}, own...)); err != nil {
			return err
		}
	}
	return nil
}

// layer makes a layer of about the planned size.
func (g *generator) layer(ctx context.Context, p layerPlan, out *layout.Layer) error {
	b := g.bufs.Get().(*buffers)
	defer g.bufs.Put(b)
	rng := rand.New(rand.NewPCG(g.seed, p.id))
	diff := digest.Canonical.Digester()
	mediaType := ocispec.MediaTypeImageLayer
	if p.compression == layout.Gzip {
		mediaType = ocispec.MediaTypeImageLayerGzip
	}
	desc, err := g.w.Blob(mediaType, func(to io.Writer) error {
		put := func(entry, member []byte) (int, error) {
			if _, err := diff.Hash().Write(entry); err != nil {
				return 0, err
			}
			if p.compression == layout.Gzip {
				entry = member
			}
			return to.Write(entry)
		}
		return g.fill(ctx, p, rng, b, put)
	})
	if err != nil {
		return fmt.Errorf("making layer %d: %w", p.id, err)
	}
	*out = layout.Layer{Descriptor: desc, DiffID: diff.Digest(), CreatedBy: fmt.Sprintf("workload layer %d", p.id)}
	return nil
}

// fill puts an entry that no other layer has, then pieces up to the size, then the
// end of the archive.
func (g *generator) fill(ctx context.Context, p layerPlan, rng *rand.Rand, b *buffers, put func(entry, member []byte) (int, error)) error {
	small := func(entry []byte) (int, error) {
		member, err := gzipMember(entry)
		if err != nil {
			return 0, err
		}
		return put(entry, member)
	}
	mark, err := tarEntry("etc/workload", fmt.Appendf(nil, "%s seed %d layer %d\n", g.shape.Name, g.seed, p.id))
	if err != nil {
		return err
	}
	n, err := small(mark)
	if err != nil {
		return err
	}
	for size := int64(n); size < p.size; size += int64(n) {
		if err := ctx.Err(); err != nil {
			return err
		}
		entry, member, err := g.pool.random(rng, b, p.compression)
		if err != nil {
			return err
		}
		if n, err = put(entry, member); err != nil {
			return err
		}
	}
	_, err = small(make([]byte, 1024))
	return err
}

func (g *generator) image(i int, layers []layout.Layer) error {
	desc, err := g.w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, Layers: layers})
	if err != nil {
		return err
	}
	list := hosts()
	ref := fmt.Sprintf("%s/workload/%s-%03d:v1", list[i%len(list)], g.shape.Name, i)
	g.w.Name(layout.Image{Ref: ref, Platforms: []string{"linux/amd64"}}, desc)
	return nil
}

// file makes the i-th plain file: pieces without tar headers after eight bytes that
// no other file has.
func (g *generator) file(ctx context.Context, i int) error {
	b := g.bufs.Get().(*buffers)
	defer g.bufs.Put(b)
	rng := rand.New(rand.NewPCG(g.seed, 1<<32+uint64(i)))
	size := g.shape.Bytes * int64(g.shape.RawPercent) / 200 / int64(g.shape.Files)
	url := fmt.Sprintf("https://dl.lab.test/workload/%s-%03d.bin", g.shape.Name, i)
	_, err := g.w.File(url, func(to io.Writer) error {
		if _, err := to.Write(binary.BigEndian.AppendUint64(nil, uint64(i))); err != nil {
			return err
		}
		for done := int64(8); done < size; done += pieceSize {
			if err := ctx.Err(); err != nil {
				return err
			}
			entry, _, err := g.pool.random(rng, b, layout.None)
			if err != nil {
				return err
			}
			if _, err := to.Write(entry[entrySize-pieceSize:]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
