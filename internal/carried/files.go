package carried

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/intake"
	"naru/manifest"
)

// annotationMode holds a file's mode, as package mirror writes it.
const annotationMode = "vnd.naru.mode"

// maxManifest bounds the manifests that are read, in bytes.
const maxManifest = 4 << 20

// File is one file that a bundle carries.
type File struct {
	// Name is the one it is carried under, Mode is octal.
	Name, Mode string
	Digest     digest.Digest
	Size       int64 // bytes

	bundle *intake.Bundle
}

// Open reads the file; the read fails before its end when the bytes are not those
// of Digest.
func (f *File) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.bundle.OpenBlob(ctx, f.Digest)
}

// Files are those that a component carries under a file's name for a platform
// ("linux/amd64"): the members of an archive, or the file itself. Nothing carried
// is a *MissingError.
func (s *Set) Files(ctx context.Context, component, name, platform string) ([]File, error) {
	prefix := fmt.Sprintf("naru/files/%s/%s:", component, name)
	missing := &MissingError{What: fmt.Sprintf("file %s of component %s for %s", name, component, platform)}
	b := s.from[component]
	if b == nil {
		return nil, missing
	}
	for _, d := range b.Index().Manifests {
		if !strings.HasPrefix(d.Annotations[ocispec.AnnotationRefName], prefix) {
			continue
		}
		files, err := filesOf(ctx, b, d, platform)
		if err != nil {
			return nil, fmt.Errorf("reading file %q of component %q: %w", name, component, err)
		}
		if len(files) > 0 {
			return files, nil
		}
	}
	return nil, missing
}

// filesOf are the layers of a file's artifact for a platform; none when it has none
// for it.
func filesOf(ctx context.Context, b *intake.Bundle, d ocispec.Descriptor, platform string) ([]File, error) {
	var doc struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Layers    []ocispec.Descriptor `json:"layers"`
		Config    ocispec.Descriptor   `json:"config"`
	}
	if err := readJSON(ctx, b, d, &doc); err != nil {
		return nil, err
	}
	for _, child := range doc.Manifests {
		if child.Platform != nil && manifest.FormatPlatform(*child.Platform) == platform {
			return filesOf(ctx, b, child, platform)
		}
	}
	if fits, err := fitsPlatform(ctx, b, d, doc.Config, platform); err != nil || !fits {
		return nil, err
	}
	var files []File
	for _, l := range doc.Layers {
		files = append(files, File{Name: l.Annotations[ocispec.AnnotationTitle], Mode: cmp.Or(l.Annotations[annotationMode], "0644"),
			Digest: l.Digest, Size: l.Size, bundle: b})
	}
	return files, nil
}

// fitsPlatform tells whether a manifest is for a platform: by its descriptor, and by the
// config that package mirror writes, whose platform is empty for a file that fits all.
func fitsPlatform(ctx context.Context, b *intake.Bundle, d, config ocispec.Descriptor, platform string) (bool, error) {
	if d.Platform != nil && manifest.FormatPlatform(*d.Platform) != platform {
		return false, nil
	}
	if config.Digest == "" { // an index without the platform
		return true, nil
	}
	var doc struct {
		Platform string `json:"platform"`
	}
	if err := readJSON(ctx, b, config, &doc); err != nil {
		return false, err
	}
	return doc.Platform == "" || doc.Platform == platform, nil
}

func readJSON(ctx context.Context, b *intake.Bundle, d ocispec.Descriptor, v any) (err error) {
	rc, err := b.OpenBlob(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	data, err := io.ReadAll(io.LimitReader(rc, maxManifest))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
