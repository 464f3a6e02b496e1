package content

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
)

// builder makes one layout out of a recipe.
type builder struct {
	cache  string
	recipe Recipe
	step   func(string)
	w      *layout.Writer

	cni, etcd map[string]string       // binaries' folder by architecture
	base      map[string]layout.Layer // by architecture
	sums      []layout.File
	pause     string // digest of the pause image
}

// build fills dir.
func (b *builder) build(ctx context.Context, dir string) error {
	var err error
	if b.w, err = layout.NewWriter(dir); err != nil {
		return err
	}
	for _, phase := range []func(context.Context) error{
		b.buildBinaries, b.buildBase, b.buildBusybox, b.buildPause, b.buildEtcd, b.buildCNI, b.buildCharts, b.buildCluster, b.buildDatabases, b.buildSums,
	} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	_, err = b.w.Close()
	return err
}

func (b *builder) buildBinaries(ctx context.Context) error {
	all := func(m *GoModule) (map[string]string, error) {
		dirs := map[string]string{}
		if m == nil {
			return dirs, nil
		}
		for _, arch := range m.Arches {
			dir, err := b.goBinaries(ctx, m, arch)
			if err != nil {
				return nil, err
			}
			dirs[arch] = dir
		}
		return dirs, nil
	}
	var err error
	if b.cni, err = all(b.recipe.CNI); err != nil {
		return err
	}
	b.etcd, err = all(b.recipe.Etcd)
	return err
}

func (b *builder) buildBase(ctx context.Context) error {
	b.base = map[string]layout.Layer{}
	if b.recipe.Base == nil {
		return nil
	}
	debs, err := b.fetch(ctx, b.recipe.Base)
	if err != nil {
		return err
	}
	for _, arch := range b.recipe.Base.Arches {
		b.step("assembling the base layer for linux/" + arch)
		b.base[arch], err = b.w.Layer(layout.Gzip, "debian base", func(tw *tar.Writer) error {
			return addDebs(ctx, tw, forArch(debs, arch))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fetch fetches packages and records them in the catalog.
func (b *builder) fetch(ctx context.Context, d *Debian) ([]deb, error) {
	debs, err := b.debs(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, p := range debs {
		b.w.Package(p.Package)
	}
	return debs, nil
}

// onBase are the given layers on top of the base that the architecture has.
func (b *builder) onBase(arch string, layers ...layout.Layer) []layout.Layer {
	if base, ok := b.base[arch]; ok {
		return append([]layout.Layer{base}, layers...)
	}
	return layers
}

func (b *builder) buildBusybox(ctx context.Context) error {
	if b.recipe.Busybox == nil {
		return nil
	}
	debs, err := b.fetch(ctx, b.recipe.Busybox)
	if err != nil {
		return err
	}
	var children []ocispec.Descriptor
	for _, arch := range b.recipe.Busybox.Arches {
		b.step("assembling busybox for linux/" + arch)
		layer, err := b.w.Layer(layout.Gzip, "busybox", func(tw *tar.Writer) error { return addDebs(ctx, tw, forArch(debs, arch)) })
		if err != nil {
			return err
		}
		img, err := b.w.Image(layout.ImageSpec{
			Platform: linux(arch),
			Config:   ocispec.ImageConfig{Cmd: []string{"/bin/busybox", "sh"}},
			Layers:   b.onBase(arch, layer),
		})
		if err != nil {
			return err
		}
		children = append(children, img)
	}
	_, err = b.nameIndex("docker.io/library/busybox:1.35", layout.OCI, children, b.provenance)
	return err
}

func (b *builder) buildPause(ctx context.Context) error {
	p := b.recipe.Pause
	if p == nil {
		return nil
	}
	dir, err := b.cBinary(ctx, p)
	if err != nil {
		return err
	}
	layer, err := b.binaryLayer(layout.Gzip, dir, []string{p.Binary}, "")
	if err != nil {
		return err
	}
	img, err := b.w.Image(layout.ImageSpec{
		Dialect:  layout.Docker,
		Platform: linux(p.Arch),
		Config:   ocispec.ImageConfig{Entrypoint: []string{"/" + p.Binary}, User: "65535:65535"},
		Layers:   []layout.Layer{layer},
	})
	if err != nil {
		return err
	}
	b.pause = img.Digest.String()
	b.w.Name(layout.Image{Ref: "registry.k8s.io/pause:3.10", Platforms: []string{"linux/" + p.Arch}}, img)
	return nil
}

func (b *builder) buildEtcd(ctx context.Context) error {
	m := b.recipe.Etcd
	if m == nil {
		return nil
	}
	var children []ocispec.Descriptor
	for _, arch := range m.Arches {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.step("assembling etcd for linux/" + arch)
		layer, err := b.binaryLayer(layout.Gzip, b.etcd[arch], m.names(), "usr/local/bin")
		if err != nil {
			return err
		}
		img, err := b.w.Image(layout.ImageSpec{
			Dialect:  layout.Docker,
			Platform: linux(arch),
			Config:   ocispec.ImageConfig{Entrypoint: []string{"/usr/local/bin/etcd"}},
			Layers:   b.onBase(arch, layer),
		})
		if err != nil {
			return err
		}
		children = append(children, img)
	}
	if _, err := b.nameIndex("registry.k8s.io/etcd:"+m.Version[1:]+"-0", layout.Docker, children, nil); err != nil {
		return err
	}
	for _, arch := range released(m.Arches) {
		b.step("packing etcd for linux/" + arch)
		stem := fmt.Sprintf("etcd-%s-linux-%s", m.Version, arch)
		if err := b.archive("https://dl.lab.test/"+stem+".tar.gz", b.etcd[arch], m.names(), stem+"/"); err != nil {
			return err
		}
		if err := b.plainFile("https://dl.lab.test/"+stem, filepath.Join(b.etcd[arch], "etcd")); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) buildCNI(ctx context.Context) error {
	m := b.recipe.CNI
	if m == nil {
		return nil
	}
	const repo = "ghcr.io/naru-lab/cni-plugins"
	few := m.names()
	few = few[:min(len(few), 3)] // uncompressed, all of them are 33 MB an architecture
	for _, v := range []struct {
		suffix      string
		compression layout.Compression
		commands    []string
	}{{"", layout.Gzip, m.names()}, {"-zstd", layout.Zstd, m.names()}, {"-tar", layout.None, few}} {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.step("assembling CNI plugins" + v.suffix)
		children, err := b.cniImages(m, v.compression, v.commands)
		if err != nil {
			return err
		}
		ref := repo + ":" + m.Version + v.suffix
		if v.suffix != "" {
			if _, err := b.nameIndex(ref, layout.OCI, children, nil); err != nil {
				return err
			}
			continue
		}
		idx, err := b.nameIndex(ref, layout.OCI, children, b.provenance)
		if err != nil {
			return err
		}
		if err := b.attachAll(repo, idx, children); err != nil {
			return err
		}
	}
	for _, arch := range released(m.Arches) {
		b.step("packing CNI plugins for linux/" + arch)
		url := fmt.Sprintf("https://dl.lab.test/cni-plugins-linux-%s-%s.tgz", arch, m.Version)
		if err := b.archive(url, b.cni[arch], m.names(), "./"); err != nil {
			return err
		}
	}
	return nil
}

// buildDatabases makes the scanner's databases.
func (b *builder) buildDatabases(context.Context) error {
	if len(b.recipe.Databases) == 0 {
		return nil
	}
	b.step("making the scanner's databases")
	for ref, fill := range map[string]func(dir string) error{
		trivydb.Ref:     func(dir string) error { return trivydb.Build(dir, b.recipe.Databases, trivydb.Date()) },
		trivydb.JavaRef: func(dir string) error { return trivydb.BuildJava(dir, trivydb.Date()) },
	} {
		dir, err := os.MkdirTemp(b.cache, "db-")
		if err != nil {
			return fmt.Errorf("making the scanner's databases: %w", err)
		}
		if err = fill(dir); err == nil {
			err = trivydb.Add(b.w, ref, dir)
		}
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) cniImages(m *GoModule, c layout.Compression, commands []string) ([]ocispec.Descriptor, error) {
	var children []ocispec.Descriptor
	for _, arch := range m.Arches {
		layer, err := b.binaryLayer(c, b.cni[arch], commands, "opt/cni/bin")
		if err != nil {
			return nil, err
		}
		img, err := b.w.Image(layout.ImageSpec{Platform: linux(arch), Layers: b.onBase(arch, layer)})
		if err != nil {
			return nil, err
		}
		children = append(children, img)
	}
	return children, nil
}

// attachAll signs the index and its images and gives each image its SBOM.
func (b *builder) attachAll(repo string, idx ocispec.Descriptor, children []ocispec.Descriptor) error {
	for _, d := range append([]ocispec.Descriptor{idx}, children...) {
		if err := b.sign(repo, d); err != nil {
			return err
		}
	}
	for _, d := range children {
		if err := b.attachSBOM(repo, d, b.cni[d.Platform.Architecture], b.recipe.CNI.names()); err != nil {
			return err
		}
	}
	return nil
}

// nameIndex stores an index of children, followed by what extra makes of each, and
// names it.
func (b *builder) nameIndex(ref string, d layout.Dialect, children []ocispec.Descriptor, extra func(ocispec.Descriptor) (ocispec.Descriptor, error)) (ocispec.Descriptor, error) {
	entries := slices.Clone(children)
	img := layout.Image{Ref: ref}
	for _, c := range children {
		img.Platforms = append(img.Platforms, c.Platform.OS+"/"+c.Platform.Architecture)
		if extra != nil {
			e, err := extra(c)
			if err != nil {
				return ocispec.Descriptor{}, err
			}
			entries = append(entries, e)
		}
	}
	slices.Sort(img.Platforms)
	idx, err := b.w.Multi(d, entries)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	b.w.Name(img, idx)
	return idx, nil
}

// binaryLayer is a layer with binaries of a folder below prefix.
func (b *builder) binaryLayer(c layout.Compression, dir string, names []string, prefix string) (layout.Layer, error) {
	return b.w.Layer(c, "COPY binaries", func(tw *tar.Writer) error {
		seen := map[string]bool{}
		for _, n := range names {
			target := filepath.ToSlash(filepath.Join(prefix, n))
			if err := layout.AddDirs(tw, seen, target); err != nil {
				return err
			}
			if err := addFromDisk(tw, target, filepath.Join(dir, n)); err != nil {
				return err
			}
		}
		return nil
	})
}

func addFromDisk(tw *tar.Writer, target, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return layout.AddFile(tw, target, 0o755, info.Size(), f)
}

// archive stores a .tar.gz of binaries, their names after prefix, as projects
// release them.
func (b *builder) archive(url, dir string, names []string, prefix string) error {
	return b.file(url, func(to io.Writer) error {
		return layout.Gzipped(to, func(z io.Writer) error {
			tw := tar.NewWriter(z)
			for _, n := range names {
				if err := addFromDisk(tw, prefix+n, filepath.Join(dir, n)); err != nil {
					return err
				}
			}
			return tw.Close()
		})
	})
}

func (b *builder) plainFile(url, file string) error {
	return b.file(url, func(to io.Writer) error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = io.Copy(to, f)
		return err
	})
}

func (b *builder) file(url string, write func(io.Writer) error) error {
	f, err := b.w.File(url, write)
	b.sums = append(b.sums, f)
	return err
}

// buildSums stores the checksums of all files in sha256sum's format.
func (b *builder) buildSums(context.Context) error {
	if len(b.sums) == 0 {
		return nil
	}
	_, err := b.w.File("https://dl.lab.test/SHA256SUMS", func(to io.Writer) error {
		for _, f := range b.sums {
			if _, err := fmt.Fprintf(to, "%s  %s\n", f.SHA256, filepath.Base(f.URL)); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (m *GoModule) names() []string {
	var out []string
	for name := range m.Commands {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// released are the architectures that files are published for.
func released(arches []string) []string {
	return slices.DeleteFunc(slices.Clone(arches), func(a string) bool { return a != "amd64" && a != "arm64" })
}

func linux(arch string) ocispec.Platform { return ocispec.Platform{OS: "linux", Architecture: arch} }
