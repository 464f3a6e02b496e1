// Package helmchart makes the lab's Helm charts: written by us, packaged the same way
// every time, published in an HTTP chart repository and in an OCI registry.
//
//	https://dl.lab.test/charts/index.yaml    landing: sub-chart, hook, CRD, images by
//	                                         shorthand, by digest, in an argument, in
//	                                         the environment and in a ConfigMap
//	oci://ghcr.io/naru-lab/charts/ferry      one pod
package helmchart

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"sigs.k8s.io/yaml"

	"github.com/opencontainers/image-spec/specs-go"

	"naru/test/lab/layout"
)

//go:embed all:src
var sources embed.FS

// Repository is where the lab's HTTP chart repository lies, Registry its OCI one.
const (
	Repository = "https://dl.lab.test/charts"
	Registry   = "ghcr.io/naru-lab/charts"
)

// Media types of Helm's OCI artifacts, and of provenance files.
const (
	configType  = "application/vnd.cncf.helm.config.v1+json"
	contentType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	provType    = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// Chart is a packaged chart.
type Chart struct {
	Name, Version string
	// Package is the .tgz, Provenance its .prov file, nil where it has none.
	Package, Provenance []byte
	// Metadata is Chart.yaml.
	Metadata map[string]any
}

// File is the name of the package.
func (c *Chart) File() string { return c.Name + "-" + c.Version + ".tgz" }

// Hash changes when a chart does.
func Hash() string {
	h := sha256.New()
	// An embedded folder can be read: there is no error to return.
	_ = fs.WalkDir(sources, "src", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := sources.ReadFile(p)
		_, _ = fmt.Fprintf(h, "%s\x00%d\x00%s", p, len(data), data)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// Load packages one of the lab's charts; replace are pairs of texts that stand in
// its files and what takes their place.
func Load(name string, replace ...string) (*Chart, error) {
	files := map[string]string{}
	root := path.Join("src", name)
	replacer := strings.NewReplacer(replace...)
	err := fs.WalkDir(sources, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := sources.ReadFile(p)
		files[strings.TrimPrefix(p, root+"/")] = replacer.Replace(string(data))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading chart %q: %w", name, err)
	}
	return Package(files)
}

// Package packages a chart of files by their path below its folder. The same files
// give the same bytes.
func Package(files map[string]string) (*Chart, error) {
	c := &Chart{}
	if err := yaml.Unmarshal([]byte(files["Chart.yaml"]), &c.Metadata); err != nil {
		return nil, fmt.Errorf("parsing Chart.yaml: %w", err)
	}
	c.Name, _ = c.Metadata["name"].(string)
	c.Version, _ = c.Metadata["version"].(string)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var buf bytes.Buffer
	err := layout.Gzipped(&buf, func(w io.Writer) error {
		tw := tar.NewWriter(w)
		for _, name := range names {
			if err := layout.AddFile(tw, c.Name+"/"+name, 0o644, int64(len(files[name])), strings.NewReader(files[name])); err != nil {
				return err
			}
		}
		return tw.Close()
	})
	c.Package = buf.Bytes()
	return c, err
}

// Publish puts an HTTP chart repository at root into w. URLs in its index are
// relative, as `helm repo index` makes them.
func Publish(w *layout.Writer, root string, charts ...*Chart) error {
	entries := map[string][]map[string]any{}
	for _, c := range charts {
		for name, data := range map[string][]byte{c.File(): c.Package, c.File() + ".prov": c.Provenance} {
			if data == nil {
				continue
			}
			if _, err := w.File(root+"/"+name, func(to io.Writer) error { _, err := to.Write(data); return err }); err != nil {
				return err
			}
		}
		sum := sha256.Sum256(c.Package)
		entry := map[string]any{"urls": []string{c.File()}, "created": layout.Epoch(), "digest": hex.EncodeToString(sum[:])}
		for k, v := range c.Metadata {
			entry[k] = v
		}
		entries[c.Name] = append(entries[c.Name], entry)
	}
	index, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "generated": layout.Epoch(), "entries": entries})
	if err != nil {
		return fmt.Errorf("encoding the index: %w", err)
	}
	_, err = w.File(root+"/index.yaml", func(to io.Writer) error { _, err := to.Write(index); return err })
	return err
}

// Push puts a chart into a registry, as `helm push` does.
func Push(w *layout.Writer, registry string, c *Chart) (ocispec.Descriptor, error) {
	meta, err := json.Marshal(c.Metadata)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encoding the config: %w", err)
	}
	config, err := w.Bytes(configType, meta)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	content, err := w.Bytes(contentType, c.Package)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, Config: config, Layers: []ocispec.Descriptor{content},
		Annotations: map[string]string{ocispec.AnnotationTitle: c.Name, ocispec.AnnotationVersion: c.Version},
	}
	if c.Provenance != nil {
		prov, err := w.Bytes(provType, c.Provenance)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		m.Layers = append(m.Layers, prov)
	}
	desc, err := w.JSON(ocispec.MediaTypeImageManifest, m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	w.Name(layout.Image{Ref: registry + "/" + c.Name + ":" + strings.ReplaceAll(c.Version, "+", "_")}, desc)
	return desc, nil
}
