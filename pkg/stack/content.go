package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// Blobs opens content by digest; what is not there is fs.ErrNotExist. Opened bundles
// implement it, and verify what they hand out.
type Blobs interface {
	OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error)
}

// BundleContent gives the charts and files that a bundle carries.
type BundleContent struct {
	blobs Blobs
	index ocispec.Index
	lock  *manifest.Lock
	// platform of files that differ by it.
	platform string
}

// NewContent is the content of a bundle: its blobs, index.json and lock.yaml. Of files
// that differ by platform the one of platform, "linux/amd64", is taken.
func NewContent(blobs Blobs, index ocispec.Index, lock *manifest.Lock, platform string) *BundleContent {
	return &BundleContent{blobs: blobs, index: index, lock: lock, platform: platform}
}

// maxFile bounds a file of manifests, in bytes.
const maxFile = 64 << 20

func (b *BundleContent) chart(component, name string) *manifest.LockedChart {
	for i := range b.lock.Charts {
		if c := &b.lock.Charts[i]; c.Component == component && c.Name == name {
			return c
		}
	}
	return nil
}

// ChartDigest is the digest of a packaged chart, "" where there is none.
func (b *BundleContent) ChartDigest(component, name string) string {
	if c := b.chart(component, name); c != nil {
		return c.Digest.String()
	}
	return ""
}

// Chart implements chart.Content.
func (b *BundleContent) Chart(ctx context.Context, component, name string) (io.ReadCloser, error) {
	c := b.chart(component, name)
	if c == nil {
		return nil, fmt.Errorf("looking for chart %q of component %q: %w", name, component, fs.ErrNotExist)
	}
	return b.blobs.OpenBlob(ctx, c.Digest)
}

// File implements chart.Content. Of a file with members it gives all, as documents.
func (b *BundleContent) File(ctx context.Context, component, name string) ([]byte, error) {
	prefix := "naru/files/" + component + "/" + name + ":"
	for _, d := range b.index.Manifests {
		if !strings.HasPrefix(d.Annotations[ocispec.AnnotationRefName], prefix) {
			continue
		}
		layers, err := b.layers(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("reading file %q of component %q: %w", name, component, err)
		}
		var parts [][]byte
		for _, l := range layers {
			data, err := b.read(ctx, l)
			if err != nil {
				return nil, fmt.Errorf("reading file %q of component %q: %w", name, component, err)
			}
			parts = append(parts, data)
		}
		return bytes.Join(parts, []byte("\n---\n")), nil
	}
	return nil, fmt.Errorf("looking for file %q of component %q: %w", name, component, fs.ErrNotExist)
}

// layers are those of a manifest, or of the right one of an index.
func (b *BundleContent) layers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	data, err := b.read(ctx, d)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Layers    []ocispec.Descriptor `json:"layers"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("parsing manifest %s: %w", d.Digest, err)
	}
	for _, child := range doc.Manifests {
		if child.Platform != nil && manifest.FormatPlatform(*child.Platform) == b.platform {
			return b.layers(ctx, child)
		}
	}
	if len(doc.Layers) == 0 {
		return nil, fmt.Errorf("reading manifest %s: nothing for platform %q: %w", d.Digest, b.platform, fs.ErrNotExist)
	}
	return doc.Layers, nil
}

func (b *BundleContent) read(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	r, err := b.blobs.OpenBlob(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("reading %s: more than %d bytes", d.Digest, maxFile)
	}
	return data, err
}
