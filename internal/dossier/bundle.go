package dossier

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"naru/manifest"
)

// Reader is what a dossier needs of an opened, verified bundle.
type Reader interface {
	Bundle() *manifest.Bundle
	// ReadFile returns a metadata file; fs.ErrNotExist when there is none of the name.
	ReadFile(ctx context.Context, name string) ([]byte, error)
}

// Read fills a Source with what a bundle says: everything but digest, volumes,
// signer, class and previous bundle. Names are those of its metadata files.
func Read(ctx context.Context, r Reader, names []string) (Source, error) {
	s := Source{Bundle: r.Bundle()}
	data, err := r.ReadFile(ctx, "lock.yaml")
	if err != nil {
		return s, err
	}
	if s.Lock, err = manifest.DecodeLock("lock.yaml", data); err != nil {
		return s, err
	}
	if s.Components, err = readComponents(ctx, r, names); err != nil {
		return s, err
	}
	data, err = r.ReadFile(ctx, manifest.ScanReportName)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.Report, err = manifest.DecodeScanReport(data)
	return s, err
}

// readComponents are the components that bundle.json lists, in its order, out of
// the release's files and the content files that were built with it.
func readComponents(ctx context.Context, r Reader, names []string) ([]*manifest.ComponentSpec, error) {
	specs := map[string]*manifest.ComponentSpec{}
	for _, name := range names {
		component, content := strings.HasPrefix(name, "release/components/"), strings.HasPrefix(name, "release/content/")
		if !component && !content {
			continue
		}
		data, err := r.ReadFile(ctx, name)
		if err != nil {
			return nil, err
		}
		if component {
			c, err := manifest.DecodeComponent(name, data)
			if err != nil {
				return nil, err
			}
			specs[c.ID] = c
			continue
		}
		c, err := manifest.DecodeContent(name, data)
		if err != nil {
			return nil, err
		}
		for _, spec := range c.Specs() {
			specs[spec.ID] = &spec
		}
	}
	var out []*manifest.ComponentSpec
	for _, id := range r.Bundle().Components {
		if specs[id] == nil {
			return nil, fmt.Errorf("reading the components of the bundle: %q is listed and its file is not there", id)
		}
		out = append(out, specs[id])
	}
	return slices.Clip(out), nil
}

// File is one file of the dossier's folder.
type File struct {
	Name string
	Data []byte
}

// Folder is the folder of a media set that holds the dossier.
const Folder = "dossier"

// Files are all files of the dossier, sorted by name, for the languages given.
func (d *Document) Files(langs ...Lang) ([]File, error) {
	data, err := d.Encode()
	if err != nil {
		return nil, err
	}
	out := []File{{Name: "dossier.json", Data: data}}
	for _, lang := range langs {
		for name, make := range map[string]func(Lang) ([]byte, error){
			"dossier.%s.html": d.Page, "assets.%s.csv": d.AssetsCSV, "findings.%s.csv": d.FindingsCSV,
		} {
			data, err := make(lang)
			if err != nil {
				return nil, err
			}
			out = append(out, File{Name: fmt.Sprintf(name, lang), Data: data})
		}
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
