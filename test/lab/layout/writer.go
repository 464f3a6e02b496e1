package layout

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Writer fills a layout. Its methods may be called concurrently; what it writes
// does not depend on the order of the calls.
type Writer struct {
	dir string

	mu    sync.Mutex
	cat   Catalog
	index ocispec.Index
}

// NewWriter starts a layout in dir, which is made if missing.
func NewWriter(dir string) (*Writer, error) {
	for _, d := range []string{filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), filepath.Join(dir, "files")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("starting layout: %w", err)
		}
	}
	return &Writer{dir: dir, index: emptyIndex()}, nil
}

// Blob stores what write writes and returns its descriptor.
func (w *Writer) Blob(mediaType string, write func(io.Writer) error) (ocispec.Descriptor, error) {
	blobs := filepath.Join(w.dir, ocispec.ImageBlobsDir, "sha256")
	tmp, err := os.CreateTemp(blobs, ".new-*")
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing blob: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	dig := digest.Canonical.Digester()
	size, err := writeAndClose(tmp, dig.Hash(), write)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing blob: %w", err)
	}
	d := dig.Digest()
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing blob: %w", err)
	}
	if err := os.Rename(tmp.Name(), filepath.Join(blobs, d.Encoded())); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("writing blob: %w", err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: size}, nil
}

// Bytes stores data as a blob.
func (w *Writer) Bytes(mediaType string, data []byte) (ocispec.Descriptor, error) {
	return w.Blob(mediaType, func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// JSON stores the compact JSON encoding of v as a blob.
func (w *Writer) JSON(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encoding %s: %w", mediaType, err)
	}
	return w.Bytes(mediaType, data)
}

// Name gives a stored manifest the reference img.Ref; digest, media type,
// artifact type and size come from desc.
func (w *Writer) Name(img Image, desc ocispec.Descriptor) {
	img.Digest, img.MediaType, img.ArtifactType, img.Size = desc.Digest, desc.MediaType, desc.ArtifactType, desc.Size
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: img.Ref}
	desc.Platform = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cat.Images = append(w.cat.Images, img)
	w.index.Manifests = append(w.index.Manifests, desc)
}

// File stores what write writes as the file at rawURL.
func (w *Writer) File(rawURL string, write func(io.Writer) error) (File, error) {
	rel, err := filePath(rawURL)
	if err != nil {
		return File{}, err
	}
	file := filepath.Join(w.dir, "files", filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return File{}, fmt.Errorf("writing file %q: %w", rawURL, err)
	}
	dig := digest.Canonical.Digester()
	size := counter(0)
	err = writeStream(file, func(to io.Writer) error { return write(io.MultiWriter(to, dig.Hash(), &size)) })
	if err != nil {
		return File{}, fmt.Errorf("writing file %q: %w", rawURL, err)
	}
	f := File{URL: rawURL, SHA256: dig.Digest().Encoded(), Size: int64(size)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cat.Files = append(w.cat.Files, f)
	return f, nil
}

// Package records a distribution package that went into the content.
func (w *Writer) Package(p Package) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cat.Packages = append(w.cat.Packages, p)
}

// Close writes index.json and, last of all, content.json.
func (w *Writer) Close() (*Layout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sortCatalog(&w.cat)
	slices.SortFunc(w.index.Manifests, func(a, b ocispec.Descriptor) int {
		return strings.Compare(a.Annotations[ocispec.AnnotationRefName], b.Annotations[ocispec.AnnotationRefName])
	})
	for _, doc := range []struct {
		name string
		v    any
	}{{ocispec.ImageLayoutFile, imageLayout()}, {ocispec.ImageIndexFile, w.index}} {
		data, err := json.Marshal(doc.v)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", doc.name, err)
		}
		if err := writeFile(filepath.Join(w.dir, doc.name), data); err != nil {
			return nil, fmt.Errorf("closing layout: %w", err)
		}
	}
	data, err := w.cat.Encode()
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(w.dir, CatalogFile), data); err != nil {
		return nil, fmt.Errorf("closing layout: %w", err)
	}
	return Open(w.dir)
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// writeAndClose runs write into f and also, and closes f; it returns the size.
func writeAndClose(f *os.File, also io.Writer, write func(io.Writer) error) (int64, error) {
	size := counter(0)
	buf := bufio.NewWriterSize(io.MultiWriter(f, also, &size), 256<<10)
	err := write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return int64(size), err
}

// writeStream writes a file through a temporary one and a rename.
func writeStream(file string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	if _, err := writeAndClose(tmp, io.Discard, write); err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
