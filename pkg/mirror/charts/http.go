package charts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/registry"

	"naru/manifest"
	"naru/pkg/mirror"
	"naru/pkg/mirror/remote"
)

// Media types of Helm's OCI artifacts.
const (
	configMediaType        = registry.ConfigMediaType
	contentMediaType       = registry.ChartLayerMediaType
	legacyContentMediaType = registry.LegacyChartLayerMediaType
	provenanceMediaType    = registry.ProvLayerMediaType
)

// noTime is the creation time of artifacts that naru makes, so that they depend
// on their content alone.
const noTime = "1970-01-01T00:00:00Z"

// fromHTTP takes a chart out of an HTTP repository. The index is asked only where
// the lock does not say where the chart lies.
func (f *Fetcher) fromHTTP(ctx context.Context, c Chart) (*Stored, error) {
	if c.Source == "" || c.Digest == "" {
		if err := f.locate(ctx, &c); err != nil {
			return nil, err
		}
	}
	file, err := f.mirror.FetchFile(ctx, mirror.File{Component: c.Component, Name: c.Name, Version: c.Version, URL: c.Source, Digest: c.Digest})
	if err != nil {
		return nil, err
	}
	c.Digest = file.Digest
	prov, err := f.provenance(ctx, &c)
	if err != nil {
		return nil, err
	}
	meta, err := f.check(ctx, &c)
	if err != nil {
		return nil, err
	}
	artifact, err := f.pack(ctx, &c, meta, file.Size, prov)
	if err != nil {
		return nil, err
	}
	return &Stored{Chart: c, Size: file.Size, Artifact: artifact}, nil
}

// provenance fetches the .prov file beside a package and returns its size; there
// may be none.
func (f *Fetcher) provenance(ctx context.Context, c *Chart) (int64, error) {
	if c.Locked && c.Provenance == "" && c.Keyring == "" {
		return 0, nil
	}
	file, err := f.mirror.FetchFile(ctx, mirror.File{Component: c.Component, Name: c.Name, Version: c.Version, URL: c.Source + ".prov", Digest: c.Provenance})
	if absent(err) && c.Provenance == "" {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	c.Provenance = file.Digest
	return file.Size, nil
}

// absent tells that a file server does not have a file; object stores say that it
// is forbidden.
func absent(err error) bool {
	var status *remote.StatusError
	if !errors.As(err, &status) {
		return false
	}
	switch status.Status {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return true
	}
	return false
}

// pack makes the OCI artifact of a chart as `helm push` does, but for the date.
func (f *Fetcher) pack(ctx context.Context, c *Chart, meta *chart.Metadata, size, prov int64) (*mirror.Artifact, error) {
	config, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encoding the config of chart %q: %w", c.Name, err)
	}
	configDesc, err := f.put(ctx, configMediaType, config)
	if err != nil {
		return nil, err
	}
	layers := []ocispec.Descriptor{{MediaType: contentMediaType, Digest: c.Digest, Size: size}}
	if c.Provenance != "" {
		layers = append(layers, ocispec.Descriptor{MediaType: provenanceMediaType, Digest: c.Provenance, Size: prov})
	}
	data, err := manifest.EncodeJSON(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    configDesc,
		Layers:    layers,
		Annotations: map[string]string{
			ocispec.AnnotationCreated: noTime,
			ocispec.AnnotationTitle:   meta.Name,
			ocispec.AnnotationVersion: meta.Version,
		},
	})
	if err != nil {
		return nil, err
	}
	desc, err := f.put(ctx, ocispec.MediaTypeImageManifest, data)
	if err != nil {
		return nil, err
	}
	return &mirror.Artifact{Ref: c.Ref(), Descriptor: desc, Manifests: []ocispec.Descriptor{desc}, Blobs: append([]ocispec.Descriptor{configDesc}, layers...)}, nil
}

func (f *Fetcher) put(ctx context.Context, mediaType string, data []byte) (ocispec.Descriptor, error) {
	d, err := f.store.PutBytes(ctx, data)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}, nil
}

// read is a blob of the store, at most limit bytes of it.
func (f *Fetcher) read(ctx context.Context, d digest.Digest, limit int64) ([]byte, error) {
	return f.store.Read(ctx, d, limit)
}
