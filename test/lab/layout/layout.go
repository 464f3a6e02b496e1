// Package layout is the form in which the lab keeps content on disk: an OCI
// image layout whose index.json names every root by its full reference, a tree
// of plain files by host and path beside it, and content.json, the list of both.
//
//	oci-layout  index.json  blobs/sha256/<hex>
//	files/<host>/<path>
//	content.json
//
// Writer makes one, package upstream serves it.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CatalogFile is the name of the list of a layout's content.
const CatalogFile = "content.json"

// ErrNotFound says that a layout does not hold what was asked for.
var ErrNotFound = errors.New("not in the layout")

// Catalog is content.json: what a layout holds, sorted by reference and URL.
type Catalog struct {
	Images   []Image   `json:"images"`
	Files    []File    `json:"files"`
	Packages []Package `json:"packages,omitempty"`
}

// Image is one named manifest. The reference of an untagged one (a referrer) is
// "host/repo@sha256:...".
type Image struct {
	Ref          string        `json:"ref"`
	Digest       digest.Digest `json:"digest"`
	MediaType    string        `json:"mediaType"`
	ArtifactType string        `json:"artifactType,omitempty"`
	Size         int64         `json:"size"`
	// Platforms of the image, "os/arch", sorted; empty for what is no image.
	Platforms []string `json:"platforms,omitempty"`
	// Subject is the digest of the manifest that a signature or referrer speaks of.
	Subject digest.Digest `json:"subject,omitempty"`
}

// File is one plain file.
type File struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"` // hex
	Size   int64  `json:"size"`
}

// Package is a distribution package that went into the content.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	SHA256       string `json:"sha256"`
}

// Encode returns the canonical bytes of content.json.
func (c *Catalog) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", CatalogFile, err)
	}
	return append(data, '\n'), nil
}

// Image returns the image with the given reference, or ErrNotFound.
func (c *Catalog) Image(ref string) (Image, error) {
	for _, i := range c.Images {
		if i.Ref == ref {
			return i, nil
		}
	}
	return Image{}, fmt.Errorf("looking up %q: %w", ref, ErrNotFound)
}

// File returns the file at the given URL, or ErrNotFound.
func (c *Catalog) File(rawURL string) (File, error) {
	for _, f := range c.Files {
		if f.URL == rawURL {
			return f, nil
		}
	}
	return File{}, fmt.Errorf("looking up %q: %w", rawURL, ErrNotFound)
}

// Layout is a finished layout. It is read-only and safe for concurrent use.
type Layout struct {
	Dir     string
	Catalog Catalog
	Index   ocispec.Index
}

// Open opens the layout in dir. A folder without a content.json is
// os.ErrNotExist: a Writer writes that last.
func Open(dir string) (*Layout, error) {
	l := &Layout{Dir: dir}
	if err := readJSON(filepath.Join(dir, CatalogFile), &l.Catalog); err != nil {
		return nil, fmt.Errorf("opening layout %q: %w", dir, err)
	}
	if err := readJSON(filepath.Join(dir, ocispec.ImageIndexFile), &l.Index); err != nil {
		return nil, fmt.Errorf("opening layout %q: %w", dir, err)
	}
	return l, nil
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decoding %q: %w", file, err)
	}
	return nil
}

// BlobDir is the folder that holds <algorithm>/<hex>.
func (l *Layout) BlobDir() string { return filepath.Join(l.Dir, ocispec.ImageBlobsDir) }

// FileDir is the folder that holds <host>/<path>.
func (l *Layout) FileDir() string { return filepath.Join(l.Dir, "files") }

// Open opens the blob with digest d.
func (l *Layout) Open(d digest.Digest) (*os.File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("opening blob %q: %w", d, err)
	}
	f, err := os.Open(filepath.Join(l.BlobDir(), d.Algorithm().String(), d.Encoded()))
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", d, err)
	}
	return f, nil
}

// Manifest reads the manifest or index with digest d into memory.
func (l *Layout) Manifest(d digest.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("reading manifest %q: %w", d, err)
	}
	data, err := os.ReadFile(filepath.Join(l.BlobDir(), d.Algorithm().String(), d.Encoded()))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", d, err)
	}
	if got := d.Algorithm().FromBytes(data); got != d {
		return nil, fmt.Errorf("reading manifest %s: content has digest %s", d, got)
	}
	return data, nil
}

// Refs returns the roots of the layout with their references, in the order of
// index.json.
func (l *Layout) Refs() map[string]ocispec.Descriptor {
	refs := make(map[string]ocispec.Descriptor, len(l.Index.Manifests))
	for _, d := range l.Index.Manifests {
		refs[d.Annotations[ocispec.AnnotationRefName]] = d
	}
	return refs
}

// IsIndex says whether a media type is that of an OCI index or a Docker
// manifest list.
func IsIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == DockerManifestList
}

// filePath maps a URL to its place below the file tree.
func filePath(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("placing file: %w", err)
	}
	clean := path.Clean("/" + u.Path)
	if u.Host == "" || clean == "/" || clean != u.Path || strings.Contains(u.Host, "/") {
		return "", fmt.Errorf("placing file %q: want https://host/path", rawURL)
	}
	return path.Join(u.Host, clean), nil
}

func sortCatalog(c *Catalog) {
	slices.SortFunc(c.Images, func(a, b Image) int { return strings.Compare(a.Ref, b.Ref) })
	slices.SortFunc(c.Files, func(a, b File) int { return strings.Compare(a.URL, b.URL) })
	slices.SortFunc(c.Packages, func(a, b Package) int {
		return strings.Compare(a.Name+"\x00"+a.Architecture, b.Name+"\x00"+b.Architecture)
	})
}

func writeFile(file string, data []byte) error {
	return writeStream(file, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func imageLayout() ocispec.ImageLayout {
	return ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}
}

func emptyIndex() ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
}
