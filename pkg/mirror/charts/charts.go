// Package charts brings packaged Helm charts into the store, from HTTP chart
// repositories and OCI registries, and makes them Helm OCI artifacts: what `helm
// pull oci://` takes and Harbor lists as charts.
//
// A chart is taken as upstream packaged it. Its name and version must be those
// asked for, its sub-charts must be inside, and where a keyring is named its
// provenance must be there and verify. From a registry the upstream's own manifest
// is kept; for a chart out of an HTTP repository one is made that depends on the
// chart alone. What refers to a chart in its registry, signatures and attestations,
// comes along as it does with images.
package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
	"naru/pkg/mirror/store"
)

// Chart asks for a chart.
type Chart struct {
	Component, Name, Version string
	// Repository is https://host/path, or oci://host/path without the chart's name.
	Repository string
	// Keyring that the provenance must verify with; empty to take it unchecked.
	Keyring string
	// Locked says that the fields below come from a lock; then a missing Provenance
	// means that there was none.
	Locked bool
	// Source is the URL of the package, or the reference in a registry.
	Source string
	// Digest of the package, Manifest that of the upstream's own manifest (OCI),
	// Provenance that of the .prov file; each empty where not known.
	Digest, Manifest, Provenance digest.Digest
	// Referrers are what speaks of the upstream's manifest (OCI). Nil, upstream is asked
	// for them; else these are taken. NoReferrers leaves them behind.
	Referrers   []mirror.Referrer
	NoReferrers bool
}

// OCI tells a chart that comes from a registry.
func (c *Chart) OCI() bool { return strings.HasPrefix(c.Repository, "oci://") }

// reference is where a chart lies in an OCI registry.
func (c *Chart) reference() string {
	return strings.TrimSuffix(strings.TrimPrefix(c.Repository, "oci://"), "/") + "/" + c.Name + ":" + mirror.FileTag(c.Version)
}

// Ref is what a chart is called in a bundle.
func (c *Chart) Ref() string {
	return "naru/charts/" + c.Name + ":" + mirror.FileTag(c.Version)
}

// Stored is a chart in the store, with everything the request left open.
type Stored struct {
	Chart
	// Size of the package in bytes.
	Size     int64
	Artifact *mirror.Artifact
}

// Options tune a Fetcher.
type Options struct {
	// Keyring opens a keyring by name; manifest.Keyring if nil.
	Keyring func(name string) ([]byte, error)
}

// Fetcher fetches charts. It is safe for concurrent use.
type Fetcher struct {
	mirror  *mirror.Mirror
	client  *remote.Client
	store   *store.Store
	indexes indexes
	opts    Options
}

// New is a Fetcher that puts charts into st, which m fetches into as well.
func New(m *mirror.Mirror, client *remote.Client, st *store.Store, opts Options) *Fetcher {
	if opts.Keyring == nil {
		opts.Keyring = manifest.Keyring
	}
	return &Fetcher{mirror: m, client: client, store: st, opts: opts}
}

// NotFoundError says that a repository does not have a chart in a version.
type NotFoundError struct {
	Name, Version, Repository string
	// Have are some versions that there are, newest first.
	Have []string
}

func (e *NotFoundError) Error() string {
	msg := fmt.Sprintf("looking for chart %q %s in %s: it is not there", e.Name, e.Version, e.Repository)
	if len(e.Have) > 0 {
		msg += " (there are: " + strings.Join(e.Have, ", ") + ")"
	}
	return msg
}

// MetadataError says that a package is not the chart that it was taken for, or no
// chart that can be installed.
type MetadataError struct{ Name, Version, Msg string }

func (e *MetadataError) Error() string {
	return fmt.Sprintf("checking chart %q %s: %s", e.Name, e.Version, e.Msg)
}

// errMediaType says that a reference of a registry names no chart.
var errMediaType = errors.New("the manifest is not that of a Helm chart")

// Fetch brings a chart into the store. What is there already is not asked for.
//
// Errors: *NotFoundError, *MetadataError, *ProvenanceError, *mirror.MismatchError
// where the chart is not the one pinned, *mirror.MovedTagError, those of package
// remote.
func (f *Fetcher) Fetch(ctx context.Context, c Chart) (*Stored, error) {
	fetch := f.fromHTTP
	if c.OCI() {
		fetch = f.fromOCI
	}
	stored, err := fetch(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("fetching chart %q of %q: %w", c.Name, c.Component, err)
	}
	return stored, nil
}

// fromOCI takes a chart out of a registry with the manifest it has there.
func (f *Fetcher) fromOCI(ctx context.Context, c Chart) (*Stored, error) {
	c.Source = c.reference()
	resolved, err := f.mirror.ResolveImage(ctx, mirror.Image{Ref: c.Source, Pinned: c.Manifest, Referrers: !c.NoReferrers, PinnedReferrers: c.Referrers})
	if err != nil {
		return nil, err
	}
	var requests []mirror.BlobRequest
	for _, d := range resolved.Blobs {
		requests = append(requests, mirror.BlobRequest{Name: resolved.Ref.Name(), Descriptor: d})
	}
	own, err := f.ownBlobs(ctx, resolved.Descriptor.Digest)
	if err != nil {
		return nil, err
	}
	content, prov, err := helmParts(own)
	if err != nil {
		return nil, err
	}
	if c.Digest != "" && content.Digest != c.Digest {
		return nil, &mirror.MismatchError{Source: c.Source, Want: c.Digest, Got: content.Digest}
	}
	if err := f.mirror.FetchBlobs(ctx, requests); err != nil {
		return nil, err
	}
	c.Digest, c.Manifest = content.Digest, resolved.Descriptor.Digest
	c.Referrers = append([]mirror.Referrer{}, resolved.Referrers...)
	if prov != nil {
		c.Provenance = prov.Digest
	}
	if _, err := f.check(ctx, &c); err != nil {
		return nil, err
	}
	return &Stored{Chart: c, Size: content.Size, Artifact: &mirror.Artifact{
		Ref: c.Ref(), Descriptor: resolved.Descriptor, Manifests: resolved.Manifests, Blobs: resolved.Blobs,
	}}, nil
}

// maxManifest bounds a manifest, in bytes.
const maxManifest = 4 << 20

// ownBlobs are config and layers of the chart's own manifest, without those of what
// refers to it.
func (f *Fetcher) ownBlobs(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	data, err := f.read(ctx, d, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	return append([]ocispec.Descriptor{m.Config}, m.Layers...), nil
}

// helmParts finds the package and the provenance among the blobs of a manifest.
func helmParts(blobs []ocispec.Descriptor) (content ocispec.Descriptor, prov *ocispec.Descriptor, err error) {
	found, config := 0, false
	for i, d := range blobs {
		switch d.MediaType {
		case configMediaType:
			config = true
		case contentMediaType, legacyContentMediaType:
			content = d
			found++
		case provenanceMediaType:
			prov = &blobs[i]
		}
	}
	if !config || found != 1 {
		return content, nil, errMediaType
	}
	return content, prov, nil
}
