package content

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
)

//go:embed charts
var charts embed.FS

// The media types of a chart in a registry, as Helm has them.
const (
	chartConfigType = "application/vnd.cncf.helm.config.v1+json"
	chartLayerType  = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

// chartRepository is where the lab's charts are published over HTTP; the other
// half is in a registry.
const chartRepository = "https://charts.lab.test/stable/"

// clusterCharts publishes flannel's chart, out of its module, in an HTTP
// repository, and that of the lab's application in a registry.
func (b *builder) clusterCharts(ctx context.Context, c *Cluster, _ *clusterParts) error {
	b.step("packing charts")
	src, err := moduleDir(ctx, &c.Flannel)
	if err != nil {
		return err
	}
	flannel, err := packChart(os.DirFS(filepath.Join(src, "chart", "kube-flannel")), "flannel")
	if err != nil {
		return err
	}
	if err := b.publish("flannel", c.Flannel.Version, flannel); err != nil {
		return err
	}
	sub, err := fs.Sub(charts, "charts/hello")
	if err != nil {
		return err
	}
	hello, err := packChart(sub, "hello")
	if err != nil {
		return err
	}
	return b.push("ghcr.io/naru-lab/charts/hello:1.0.0", `{"name":"hello","version":"1.0.0","apiVersion":"v2"}`, hello)
}

// packChart packs the files of a chart's folder but its tests.
func packChart(fsys fs.FS, name string) ([]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(p, "tests/") {
			return err
		}
		files[p], err = fs.ReadFile(fsys, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("packing chart %q: %w", name, err)
	}
	var buf bytes.Buffer
	err = layout.Gzipped(&buf, func(z io.Writer) error {
		tw := tar.NewWriter(z)
		if err := chartFiles(tw, name, files); err != nil {
			return err
		}
		return tw.Close()
	})
	return buf.Bytes(), err
}

// publish stores a chart and the index of a repository that has it alone.
func (b *builder) publish(name, version string, data []byte) error {
	file := name + "-" + version + ".tgz"
	if err := b.file(chartRepository+file, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	index := fmt.Sprintf("apiVersion: v1\nentries:\n  %s:\n    - apiVersion: v1\n      name: %s\n      version: %s\n      digest: %s\n      urls: [%q]\ngenerated: %q\n",
		name, name, version, hex.EncodeToString(sum[:]), file, layout.Epoch().Format("2006-01-02T15:04:05Z"))
	return b.file(chartRepository+"index.yaml", func(w io.Writer) error { _, err := io.WriteString(w, index); return err })
}

// push stores a chart as helm push does.
func (b *builder) push(ref, config string, data []byte) error {
	layer, err := b.w.Bytes(chartLayerType, data)
	if err != nil {
		return err
	}
	cfg, err := b.w.Bytes(chartConfigType, []byte(config))
	if err != nil {
		return err
	}
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: cfg, Layers: []ocispec.Descriptor{layer}}
	m.SchemaVersion = 2
	desc, err := b.w.JSON(m.MediaType, m)
	if err != nil {
		return err
	}
	b.w.Name(layout.Image{Ref: ref}, desc)
	return nil
}
