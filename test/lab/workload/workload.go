// Package workload makes content for benchmarks: many images and files of a given
// total size, from a seed, at about the speed of hashing it.
//
// Layers are valid tar archives of pieces of real files (Options.Material), so
// that they compress as real ones do. Gzip layers are strung together from
// gzip members that were compressed once; their content therefore repeats from
// layer to layer in another order, which nothing that works blob by blob can use.
package workload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"naru/test/lab/cache"
	"naru/test/lab/layout"
)

// generation is raised when the same options give other content.
const generation = 1

// ErrNoMaterial says that Options.Material holds less than one piece.
var ErrNoMaterial = errors.New("not enough material to tile from")

// Shape is what a workload looks like.
type Shape struct {
	// Name goes into repository names and URLs.
	Name string `json:"name"`
	// Bytes is what all blobs and files come to, give or take some percent.
	Bytes int64 `json:"bytes"`
	// Images, each of one of Bases shared layers and Layers of its own.
	Images int `json:"images"`
	Bases  int `json:"bases"`
	Layers int `json:"layers"`
	// RawPercent of the bytes are not compressed: one half in layers of every
	// fifth image, the other half in Files plain files.
	RawPercent int `json:"rawPercent"`
	Files      int `json:"files"`
}

// Large is 40 images on 6 shared bases, a fifth of the bytes uncompressed.
func Large(bytes int64) Shape {
	return Shape{Name: "large", Bytes: bytes, Images: 40, Bases: 6, Layers: 3, RawPercent: 20, Files: 8}
}

// Small is 300 small images on 12 shared bases, about 150 MB.
func Small() Shape {
	return Shape{Name: "small", Bytes: 150e6, Images: 300, Bases: 12, Layers: 2}
}

// Options configure Generate.
type Options struct {
	// CacheDir is kept between runs; required.
	CacheDir string
	Shape    Shape
	Seed     uint64
	// Material are files to tile from, .tgz and .gz unpacked: some 100 MB of
	// binaries. See Material.
	Material []string
}

// Generate returns the workload, from the cache if it is there, with a Content
// file (ContentFile) beside its content.json.
func Generate(ctx context.Context, opts Options) (*layout.Layout, error) {
	if err := opts.Shape.validate(); err != nil {
		return nil, fmt.Errorf("generating workload: %w", err)
	}
	key, err := opts.key()
	if err != nil {
		return nil, fmt.Errorf("generating workload: %w", err)
	}
	root, err := filepath.Abs(opts.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("generating workload: %w", err)
	}
	dir := filepath.Join(root, "workload", key)
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	unlock, err := cache.Lock(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("generating workload: %w", err)
	}
	defer unlock()
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	if err := cache.Fill(dir, func(tmp string) error { return generate(ctx, opts, tmp) }); err != nil {
		return nil, fmt.Errorf("generating workload: %w", err)
	}
	return layout.Open(dir)
}

func generate(ctx context.Context, opts Options, dir string) error {
	pool, err := newPool(ctx, opts.Material, dir)
	if err != nil {
		return err
	}
	defer pool.close()
	w, err := layout.NewWriter(dir)
	if err != nil {
		return err
	}
	g := &generator{w: w, pool: pool, shape: opts.Shape, seed: opts.Seed}
	if err := g.run(ctx); err != nil {
		return err
	}
	l, err := w.Close()
	if err != nil {
		return err
	}
	doc, err := ContentYAML(l, "workload-"+opts.Shape.Name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ContentFile), doc, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", ContentFile, err)
	}
	return nil
}

func (s Shape) validate() error {
	switch {
	case s.Name == "":
		return errors.New("shape has no name")
	case s.Bytes < 1 || s.Images < 1 || s.Bases < 1 || s.Layers < 1:
		return fmt.Errorf("shape %+v: bytes, images, bases and layers must be positive", s)
	case s.RawPercent < 0 || s.RawPercent > 100 || (s.RawPercent > 0 && s.Files < 1):
		return fmt.Errorf("shape %+v: raw share without files, or not a share", s)
	}
	return nil
}

func (o Options) key() (string, error) {
	if o.CacheDir == "" {
		return "", errors.New("no cache folder")
	}
	d := digest.Canonical.Digester()
	if _, err := fmt.Fprintf(d.Hash(), "%d %+v %d\n", generation, o.Shape, o.Seed); err != nil {
		return "", err
	}
	for _, m := range o.Material {
		info, err := os.Stat(m)
		if err != nil {
			return "", err
		}
		if _, err := fmt.Fprintf(d.Hash(), "%s %d\n", filepath.Base(m), info.Size()); err != nil {
			return "", err
		}
	}
	return o.Shape.Name + "-" + d.Digest().Encoded()[:16], nil
}

// Material are the files of a content layout that are good to tile from: the
// binaries in it, once each.
func Material(l *layout.Layout) []string {
	var out []string
	for _, f := range l.Catalog.Files {
		file := filepath.Join(l.FileDir(), filepath.FromSlash(f.URL[len("https://"):]))
		if ext := filepath.Ext(file); ext != ".gz" && f.Size > pieceSize {
			out = append(out, file) // .gz is etcd again, which is there unpacked
		}
	}
	return out
}

// group is an errgroup that uses the processors there are.
func group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	return g, ctx
}
