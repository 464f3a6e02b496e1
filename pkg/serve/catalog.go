package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// maxDepth bounds how deep indexes may nest.
const maxDepth = 8

// Conflict says that two bundles give one name different content.
type Conflict struct {
	// Name is a reference, or a path of the file tree.
	Name string `json:"name"`
	// Served is the digest of the later bundle, Hidden that of the earlier.
	Served digest.Digest `json:"served"`
	Hidden digest.Digest `json:"hidden"`
}

// ContentError is a content that cannot be served: an entry of it cannot be read or
// understood.
type ContentError struct {
	// At is its place among Options.Contents, which are Of.
	At, Of int
	Err    error
}

func (e *ContentError) Error() string {
	return fmt.Sprintf("reading bundle %d of %d: %v", e.At+1, e.Of, e.Err)
}

func (e *ContentError) Unwrap() error { return e.Err }

// repository is one name of the registry.
type repository struct {
	tags map[string]digest.Digest
	// manifests are those present, by digest.
	manifests map[digest.Digest]ocispec.Descriptor
	// blobs are the sizes of the blobs that the manifests speak of.
	blobs map[digest.Digest]int64
	// referrers by the digest of their subject, sorted by digest.
	referrers map[digest.Digest][]ocispec.Descriptor
}

// catalog is every name the server answers to. It is not changed once built.
type catalog struct {
	repos     map[string]*repository
	names     []string // of repos, sorted
	files     *fileTree
	charts    *chartTree
	apt, yum  *packageTree
	conflicts []Conflict
}

// newCatalog reads the manifests of all contents.
func newCatalog(ctx context.Context, contents union) (*catalog, error) {
	c := &catalog{repos: map[string]*repository{}, files: newFileTree("/files/", fileElementRE), conflicts: []Conflict{},
		charts: newChartTree(), apt: newPackageTree("/apt/"), yum: newPackageTree("/yum/")}
	b := &builder{catalog: c, contents: contents, docs: map[digest.Digest]*manifestDoc{}}
	for i, content := range contents {
		b.contents = contents.preferring(i) // what is damaged elsewhere is not laid at its door
		for _, desc := range content.Index().Manifests {
			if err := b.add(ctx, desc); err != nil {
				return nil, &ContentError{At: i, Of: len(contents), Err: err}
			}
		}
	}
	for _, r := range c.repos {
		for _, list := range r.referrers {
			slices.SortFunc(list, func(a, b ocispec.Descriptor) int {
				return strings.Compare(string(a.Digest), string(b.Digest))
			})
		}
	}
	c.names = slices.Sorted(maps.Keys(c.repos))
	for _, t := range []*fileTree{c.files, c.charts.fileTree, c.apt.fileTree, c.yum.fileTree} {
		c.conflicts = append(c.conflicts, t.conflicts...)
	}
	return c, nil
}

// builder fills a catalog.
type builder struct {
	catalog  *catalog
	contents union
	// docs are the manifests parsed so far.
	docs map[digest.Digest]*manifestDoc
}

// add takes up one entry of a bundle's index.
func (b *builder) add(ctx context.Context, desc ocispec.Descriptor) error {
	ref := desc.Annotations[ocispec.AnnotationRefName]
	name, tag, err := splitReference(ref)
	if err != nil {
		return err
	}
	if err := checkDescriptor(desc); err != nil {
		return fmt.Errorf("reading %q: %w", ref, err)
	}
	repo := b.repository(name)
	// The annotations of the index entry are the bundle's, not the manifest's.
	plain := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	if err := b.walk(ctx, repo, plain, 0); err != nil {
		return fmt.Errorf("reading %q: %w", ref, err)
	}
	if tag != "" {
		if old, ok := repo.tags[tag]; ok && old != desc.Digest {
			b.catalog.conflicts = append(b.catalog.conflicts, Conflict{Name: name + ":" + tag, Served: desc.Digest, Hidden: old})
		}
		repo.tags[tag] = desc.Digest
	}
	switch b.artifactType(desc) {
	case "":
		if desc.Annotations[manifest.AnnotationKind] == string(manifest.ArtifactChart) {
			err = b.addChart(ctx, plain)
		}
	case fileArtifactType:
		err = b.addFiles(ctx, plain)
	case manifest.PackagesArtifactType, manifest.MetadataArtifactType:
		err = b.addPackages(ctx, plain)
	}
	if err != nil {
		return fmt.Errorf("reading files of %q: %w", ref, err)
	}
	return nil
}

func (b *builder) artifactType(desc ocispec.Descriptor) string {
	if desc.ArtifactType != "" {
		return desc.ArtifactType
	}
	if doc := b.docs[desc.Digest]; doc != nil {
		return doc.ArtifactType
	}
	return ""
}

func (b *builder) repository(name string) *repository {
	repo := b.catalog.repos[name]
	if repo == nil {
		repo = &repository{
			tags:      map[string]digest.Digest{},
			manifests: map[digest.Digest]ocispec.Descriptor{},
			blobs:     map[digest.Digest]int64{},
			referrers: map[digest.Digest][]ocispec.Descriptor{},
		}
		b.catalog.repos[name] = repo
	}
	return repo
}

// walk takes desc and what hangs off it into repo. A child that no bundle holds
// is left out: its index is sparse.
func (b *builder) walk(ctx context.Context, repo *repository, desc ocispec.Descriptor, depth int) error {
	if _, ok := repo.manifests[desc.Digest]; ok {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("reading manifest %s: indexes nest deeper than %d", desc.Digest, maxDepth)
	}
	doc, err := b.read(ctx, desc)
	if err != nil {
		if depth > 0 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	repo.manifests[desc.Digest] = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	if doc.Subject != nil {
		repo.referrers[doc.Subject.Digest] = append(repo.referrers[doc.Subject.Digest], ocispec.Descriptor{
			MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size,
			ArtifactType: doc.effectiveType(), Annotations: doc.Annotations,
		})
	}
	if doc.Config != nil {
		repo.blobs[doc.Config.Digest] = doc.Config.Size
	}
	for _, l := range doc.Layers {
		repo.blobs[l.Digest] = l.Size
	}
	for _, child := range doc.Manifests {
		if !isManifestType(child.MediaType) {
			repo.blobs[child.Digest] = child.Size
			continue
		}
		if err := b.walk(ctx, repo, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// read parses a manifest once, whatever number of repositories hold it.
func (b *builder) read(ctx context.Context, desc ocispec.Descriptor) (*manifestDoc, error) {
	if doc := b.docs[desc.Digest]; doc != nil {
		return doc, nil
	}
	doc, err := b.contents.readManifest(ctx, desc)
	if err != nil {
		return nil, err
	}
	b.docs[desc.Digest] = doc
	return doc, nil
}
