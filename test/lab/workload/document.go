package workload

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"naru/manifest"
	"naru/test/lab/layout"
)

// ContentFile is the name of the Content file in a workload's folder.
const ContentFile = "content.yaml"

// ContentYAML is a Content file (bundle build -f) that carries the images and
// files of a layout.
func ContentYAML(l *layout.Layout, name string) ([]byte, error) {
	c := manifest.Content{APIVersion: manifest.APIVersion, Kind: manifest.KindContent, Name: name}
	for _, img := range l.Catalog.Images {
		if len(img.Platforms) == 0 {
			continue // signatures and referrers come along by themselves
		}
		c.Images = append(c.Images, manifest.Image{Ref: img.Ref})
		for _, p := range img.Platforms {
			if !slices.Contains(c.Platforms, p) {
				c.Platforms = append(c.Platforms, p)
			}
		}
	}
	slices.Sort(c.Platforms)
	for _, f := range l.Catalog.Files {
		c.Files = append(c.Files, manifest.File{
			Name:    strings.ToLower(path.Base(f.URL)),
			Version: "1",
			Sources: []manifest.FileSource{{URL: f.URL, SHA256: f.SHA256}},
		})
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&c); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", ContentFile, err)
	}
	return b.Bytes(), nil
}
