package lint

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"naru/manifest"
)

// Folder gives charts and manifests out of a folder. A chart is looked for as
//
//	<component>/<name>-<version>.tgz   <name>-<version>.tgz   packaged
//	<component>/<name>/                <name>/                unpacked
//
// and a file of a component under its name, its name with .yaml, or the last element
// of its address, in <component>/ or in the folder itself.
type Folder struct {
	Dir string
	Set *manifest.ReleaseSet
}

// maxFile bounds one file of manifests, in bytes.
const maxFile = 64 << 20

// Chart implements chart.Content.
func (f Folder) Chart(_ context.Context, component, name string) (io.ReadCloser, error) {
	c := f.Set.Specs[component].Chart(name)
	if c == nil {
		return nil, fs.ErrNotExist
	}
	packaged := name + "-" + c.Version + ".tgz"
	for _, at := range []string{filepath.Join(component, packaged), packaged} {
		file, err := os.Open(filepath.Join(f.Dir, at))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	for _, at := range []string{filepath.Join(component, name), name} {
		dir := filepath.Join(f.Dir, at)
		if _, err := os.Stat(filepath.Join(dir, "Chart.yaml")); err == nil {
			return pack(dir, name)
		}
	}
	return nil, fmt.Errorf("%s-%s is not in the folder: %w", name, c.Version, fs.ErrNotExist)
}

// pack makes a packaged chart of an unpacked one.
func pack(dir, name string) (io.ReadCloser, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	tw := tar.NewWriter(z)
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := fs.ReadFile(tree, p)
		if err != nil {
			return err
		}
		if err := tw.WriteHeader(&tar.Header{Name: path.Join(name, p), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = tw.Write(data)
		return err
	})
	if err := errors.Join(err, tw.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("packing the chart in %q: %w", dir, err)
	}
	return io.NopCloser(&buf), nil
}

// File implements chart.Content.
func (f Folder) File(_ context.Context, component, name string) ([]byte, error) {
	names := []string{name, name + ".yaml"}
	for _, file := range f.Set.Specs[component].Files {
		if file.Name == name && len(file.Sources) > 0 {
			names = append(names, path.Base(file.Sources[0].URL))
		}
	}
	for _, n := range names {
		for _, at := range []string{filepath.Join(component, n), n} {
			info, err := os.Stat(filepath.Join(f.Dir, at))
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if info.Size() > maxFile {
				return nil, fmt.Errorf("reading %q: larger than %d bytes", at, maxFile)
			}
			return os.ReadFile(filepath.Join(f.Dir, at))
		}
	}
	return nil, fmt.Errorf("file %q is not in the folder: %w", name, fs.ErrNotExist)
}
