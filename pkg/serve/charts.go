package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Helm's OCI artifacts.
const (
	chartConfigType  = "application/vnd.cncf.helm.config.v1+json"
	chartContentType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	chartProvType    = "application/vnd.cncf.helm.chart.provenance.v1.prov"
	chartIndex       = "index.yaml"
)

// chartTree is the chart repository: packages, provenance files, and what its index
// says of them.
type chartTree struct {
	*fileTree
	// entries by package name.
	entries map[string]chartEntry
}

// chartEntry is the index's view of one chart: Chart.yaml with where to get it.
type chartEntry map[string]any

func newChartTree() *chartTree {
	return &chartTree{fileTree: newFileTree("/charts/", fileElementRE), entries: map[string]chartEntry{}}
}

// addChart takes a chart into the repository. It is a chart by the kind that the
// bundle's index gives and by its config.
func (b *builder) addChart(ctx context.Context, desc ocispec.Descriptor) error {
	doc, err := b.read(ctx, desc)
	if err != nil {
		return err
	}
	if doc.Config == nil || doc.Config.MediaType != chartConfigType {
		return nil
	}
	data, err := b.contents.readAll(ctx, doc.Config.Digest, doc.Config.Size)
	if err != nil {
		return err
	}
	entry := chartEntry{}
	if err := json.Unmarshal(data, &entry); err != nil {
		return fmt.Errorf("parsing config %s: %w", doc.Config.Digest, err)
	}
	name, _ := entry["name"].(string)
	version, _ := entry["version"].(string)
	base := name + "-" + version + ".tgz"
	for _, l := range doc.Layers {
		file := file{digest: l.Digest, size: l.Size, mode: "0644"}
		switch l.MediaType {
		case chartContentType:
			entry["digest"], entry["urls"] = l.Digest.Encoded(), []string{base}
			err = b.catalog.charts.put(base, file)
		case chartProvType:
			err = b.catalog.charts.put(base+".prov", file)
		}
		if err != nil {
			return err
		}
	}
	b.catalog.charts.entries[base] = entry
	return nil
}

// index is the repository's index.yaml, as JSON, which is YAML. It has no dates, so
// that it changes only with the charts.
func (t *chartTree) index() map[string]any {
	entries := map[string][]chartEntry{}
	for _, base := range slices.Backward(slices.Sorted(maps.Keys(t.entries))) {
		name, _ := t.entries[base]["name"].(string)
		entries[name] = append(entries[name], t.entries[base])
	}
	return map[string]any{"apiVersion": "v1", "entries": entries}
}

func (s *Server) serveCharts(w *recorder, r *http.Request) error {
	if path.Clean(r.URL.Path) == "/charts/"+chartIndex {
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("Cache-Control", cacheNever)
		writeJSON(w, r, http.StatusOK, s.catalog.charts.index())
		return nil
	}
	return s.serveTree(w, r, s.catalog.charts.fileTree)
}
