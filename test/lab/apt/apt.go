package apt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/ulikunitz/xz"
	"golang.org/x/sync/errgroup"

	"naru/manifest"
	"naru/pkg/mirror/packages"
	"naru/pkg/mirror/packages/deb"
	"naru/test/lab/cache"
	"naru/test/lab/layout"
)

// Host is the download site that the archive is on.
const Host = "deb.lab.test"

// Options configure Build.
type Options struct {
	// CacheDir is kept between runs and may be shared by processes; required.
	CacheDir string
	// Names are packages that are held with their closure.
	Names []string
	// OnStep, if set, is told what is being fetched.
	OnStep func(step string)
}

// base is what a minimal root file system has beside the packages of priority
// required, and what tests put into it.
var base = []string{"apt", "ca-certificates", "debian-archive-keyring", "gpgv", "faketime", "libfaketime"}

// contentVersion is raised when the same names lead to other content.
const contentVersion = "3"

// Build returns the archive, from the cache if it is there. It needs apt-get, Debian
// 12 as the machine's sources, and a network the first time.
func Build(ctx context.Context, opts Options) (*layout.Layout, error) {
	root, err := filepath.Abs(opts.CacheDir)
	if err != nil || opts.CacheDir == "" {
		return nil, errors.Join(errors.New("building the lab's archive: no cache folder"), err)
	}
	names := slices.Sorted(slices.Values(slices.Concat(opts.Names, base)))
	key, err := json.Marshal(append([]string{contentVersion}, names...))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(key)
	dir := filepath.Join(root, "archive", hex.EncodeToString(sum[:8]))
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	unlock, err := cache.Lock(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("building the lab's archive: %w", err)
	}
	defer unlock()
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	step := opts.OnStep
	if step == nil {
		step = func(string) {}
	}
	if err := cache.Fill(dir, func(tmp string) error { return fill(ctx, tmp, names, step) }); err != nil {
		return nil, fmt.Errorf("building the lab's archive: %w", err)
	}
	return layout.Open(dir)
}

// fill writes the archive: metadata first, then the packages that it says are needed.
func fill(ctx context.Context, dir string, names []string, step func(string)) error {
	sources, err := machineSources(ctx)
	if err != nil {
		return err
	}
	w, err := layout.NewWriter(dir)
	if err != nil {
		return err
	}
	step("fetching the metadata of Debian 12 as this machine has it")
	f := &fetcher{blobs: map[digest.Digest][]byte{}}
	req := request(sources, names)
	first, err := deb.Resolver{}.Resolve(ctx, f, req)
	if err != nil {
		return err
	}
	required, err := f.required(first)
	if err != nil {
		return err
	}
	req = request(sources, slices.Concat(names, required))
	req.Pinned = first
	locked, err := deb.Resolver{}.Resolve(ctx, f, req)
	if err != nil {
		return err
	}
	// debootstrap knows the main suite alone, so the root has the versions of that.
	minimal, err := deb.Resolver{}.Resolve(ctx, f, request(sources[:1], slices.Concat(base, required)))
	if err != nil {
		return err
	}
	for _, p := range minimal.Packages {
		if !slices.ContainsFunc(locked.Packages, func(have manifest.LockedPackage) bool { return manifest.ComparePackages(have, p) == 0 }) {
			locked.Packages = append(locked.Packages, p)
		}
	}
	return f.write(ctx, w, sources, locked, step)
}

// request asks for the packages of all suites.
func request(sources []source, names []string) packages.Request {
	spec := manifest.DistributionSpec{ID: "debian-12", Family: manifest.FamilyDeb}
	for _, s := range sources {
		spec.Sources = append(spec.Sources, manifest.PackageSource{Name: s.suite, URL: s.site, Suite: s.suite, Sections: []string{"main"}, Keyring: "debian-12"})
	}
	return packages.Request{
		Distribution: &manifest.Distribution{DistributionSpec: spec}, Platform: "linux/amd64", Arch: "amd64", Keyring: manifest.Keyring,
		Roots: []manifest.LockedRoots{{Component: "lab", Names: names}},
	}
}

// required are the packages of that priority in the main suite.
func (f *fetcher) required(locked *manifest.LockedPackages) ([]string, error) {
	for _, m := range locked.Sources[0].Files {
		data := f.blobs[m.Digest]
		if filepath.Ext(m.Path) != ".xz" {
			continue
		}
		text, err := xz.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return requiredOf(text)
	}
	return nil, errors.New("the main suite has no index")
}

func requiredOf(index io.Reader) ([]string, error) {
	var out []string
	r := deb.NewReader(index, "Package", "Priority")
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if p["priority"] == "required" {
			out = append(out, p["package"])
		}
	}
}

// write puts everything under the lab's names, indexes by their hash too.
func (f *fetcher) write(ctx context.Context, w *layout.Writer, sources []source, locked *manifest.LockedPackages, step func(string)) error {
	at := map[string]source{}
	for _, s := range sources {
		at[s.suite] = s
	}
	for _, s := range locked.Sources {
		for _, m := range s.Files {
			paths := []string{m.Path}
			if m.Digest != s.Digest {
				paths = append(paths, deb.ByHash(m.Path, m.Digest.Encoded()))
			}
			for _, p := range paths {
				if _, err := w.File(packages.URL(at[s.Name].lab, p), func(to io.Writer) error { _, err := to.Write(f.blobs[m.Digest]); return err }); err != nil {
					return err
				}
			}
		}
	}
	step(fmt.Sprintf("fetching %d packages of Debian 12", len(locked.Packages)))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, p := range locked.Packages {
		group.Go(func() error {
			_, err := w.File(packages.URL(at[p.Source].lab, p.Path), func(to io.Writer) error {
				return f.copy(gctx, packages.URL(at[p.Source].site, p.Path), p.Digest, to)
			})
			return err
		})
		w.Package(layout.Package{Name: p.Name, Version: p.Version, Architecture: p.Arch, SHA256: p.Digest.Encoded()})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err := w.Close()
	return err
}
