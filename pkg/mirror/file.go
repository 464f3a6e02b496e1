package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/mirror/store"
)

// File asks for a file of one platform, or for members of an archive.
type File struct {
	Component, Name, Version string
	// Platform is nil for a file that fits all.
	Platform *ocispec.Platform
	URL      string
	// Digest is what the URL must serve; empty if nothing pins it.
	Digest digest.Digest
	// Mode of the file where no members are given.
	Mode uint32
	// Members are carried instead of the archive they are in. Those with a digest
	// are pinned.
	Members []Member
}

// Member is one file of an archive.
type Member struct {
	// Path in the archive and Name it is carried under.
	Path, Name string
	Mode       uint32
	// Digest and Size (bytes) are set once it was extracted.
	Digest digest.Digest
	Size   int64
}

// Title is the name a file is carried under: the last element of its URL.
func (f File) Title() (string, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return "", fmt.Errorf("parsing the URL of file %q: %w", f.Name, err)
	}
	title := path.Base(u.Path)
	if title == "/" || title == "." || title == ".." || strings.ContainsAny(title, "/\\") {
		return f.Name, nil
	}
	return title, nil
}

// StoredFile is a file in the store.
type StoredFile struct {
	File
	// Size of what the URL serves, in bytes; 0 where members were all there and
	// the archive was not fetched.
	Size int64
	// Content are the layers of its artifact: the file, or its members.
	Content []ocispec.Descriptor
}

// Media types of the artifacts that files are carried as.
const (
	FileArtifactType    = "application/vnd.naru.file.v1"
	FileConfigMediaType = "application/vnd.naru.file.config.v1+json"
	FileLayerMediaType  = "application/vnd.naru.file.layer.v1"
	// AnnotationMode holds a layer's file mode, "0755".
	AnnotationMode = "vnd.naru.mode"
)

// fileConfig is the config of a file's artifact. Registries show it as is.
type fileConfig struct {
	Component string       `json:"component"`
	Name      string       `json:"name"`
	Version   string       `json:"version"`
	Platform  string       `json:"platform,omitempty"`
	Source    string       `json:"source"`
	SHA256    string       `json:"sha256"`
	Files     []fileMember `json:"files"`
}

type fileMember struct {
	Name   string `json:"name"`
	Path   string `json:"path,omitempty"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Held returns the file when everything of it that a bundle carries is in the
// store, without asking the network.
func (m *Mirror) Held(f File) (*StoredFile, bool) {
	if f.Digest == "" {
		return nil, false
	}
	for _, member := range f.Members {
		if member.Digest == "" || !m.store.Has(member.Digest, member.Size) {
			return nil, false
		}
	}
	size, whole := m.store.Size(f.Digest)
	if len(f.Members) == 0 && !whole {
		return nil, false
	}
	out := &StoredFile{File: f, Size: size}
	return out, m.describe(out) == nil
}

// FetchFile brings a file into the store, with the members asked for. What the
// URL serves, and each pinned member, must have its digest, else the error is a
// *MismatchError.
func (m *Mirror) FetchFile(ctx context.Context, f File) (*StoredFile, error) {
	if out, ok := m.Held(f); ok {
		return out, m.each(ctx, out)
	}
	d, size, err := m.download(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("fetching file %q of %q: %w", f.Name, f.Component, err)
	}
	f.Digest = d
	if len(f.Members) > 0 {
		if f.Members, err = m.extract(ctx, f); err != nil {
			return nil, fmt.Errorf("extracting from file %q of %q, %s: %w", f.Name, f.Component, f.URL, err)
		}
	}
	out := &StoredFile{File: f, Size: size}
	if err := m.describe(out); err != nil {
		return nil, err
	}
	return out, m.each(ctx, out)
}

// each calls OnBlob for the content of a file.
func (m *Mirror) each(ctx context.Context, f *StoredFile) error {
	for _, d := range f.Content {
		if err := m.opts.OnBlob(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) download(ctx context.Context, f File) (digest.Digest, int64, error) {
	if f.Digest != "" {
		if size, ok := m.store.Size(f.Digest); ok {
			return f.Digest, size, nil
		}
	}
	expected := store.Expected{Digest: f.Digest, Size: -1, Source: f.URL}
	return m.store.Ingest(ctx, expected, func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		body, at, _, err := m.client.Get(ctx, f.URL, offset)
		return body, at, err
	}, m.opts.OnBytes)
}

// describe fills in the layers of the file's artifact.
func (m *Mirror) describe(f *StoredFile) error {
	if len(f.Members) == 0 {
		title, err := f.Title()
		if err != nil {
			return err
		}
		f.Content = []ocispec.Descriptor{fileLayer(title, f.Digest, f.Size, f.Mode)}
		return nil
	}
	for _, member := range f.Members {
		f.Content = append(f.Content, fileLayer(member.Name, member.Digest, member.Size, member.Mode))
	}
	return nil
}

func fileLayer(title string, d digest.Digest, size int64, mode uint32) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: FileLayerMediaType, Digest: d, Size: size,
		Annotations: map[string]string{ocispec.AnnotationTitle: title, AnnotationMode: fmt.Sprintf("%04o", mode)}}
}

// config is the config document of the file's artifact.
func (f *StoredFile) config(platform string) ([]byte, error) {
	c := fileConfig{Component: f.Component, Name: f.Name, Version: f.Version, Platform: platform, Source: f.URL, SHA256: f.Digest.Encoded()}
	paths := map[string]string{}
	for _, member := range f.Members {
		paths[member.Name] = member.Path
	}
	for _, d := range f.Content {
		title := d.Annotations[ocispec.AnnotationTitle]
		c.Files = append(c.Files, fileMember{Name: title, Path: paths[title], SHA256: d.Digest.Encoded(), Size: d.Size})
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding the config of file %q: %w", f.Name, err)
	}
	return data, nil
}

// FileTag is the tag that a version is carried under: + is no character of tags.
func FileTag(version string) string { return strings.ReplaceAll(version, "+", "_") }
