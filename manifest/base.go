package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"go.yaml.in/yaml/v3"
)

// loadHead loads release.yaml of the folder name and what it takes from its base.
func (s *ReleaseSet) loadHead(fsys fs.FS, name string) (*document, error) {
	doc, data, err := decodeHead(fsys, name, &s.Release)
	if err != nil {
		return nil, err
	}
	s.folders = []string{name}
	if s.Base == "" {
		s.Raw["release.yaml"] = data
		return doc, nil
	}
	var base Release
	if _, _, err := decodeHead(fsys, s.Base, &base); err != nil {
		return nil, fmt.Errorf("loading the base of release %q: %w", name, err)
	}
	if base.Base != "" {
		doc.errorf("base", "base %q has a base itself", s.Base)
	}
	s.folders = append(s.folders, s.Base)
	s.inherit(&base)
	if s.Raw["release.yaml"], err = s.encodeHead(); err != nil {
		return nil, err
	}
	return doc, nil
}

func decodeHead(fsys fs.FS, name string, out *Release) (*document, []byte, error) {
	file := path.Join(name, "release.yaml")
	data, err := fs.ReadFile(fsys, file)
	if errors.Is(err, fs.ErrNotExist) {
		names, _ := ReleaseNames(fsys)
		return nil, nil, &NoReleaseError{Name: name, Have: names}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("loading release %q: %w", name, err)
	}
	doc, err := decodeYAML(file, data, KindRelease, out)
	return doc, data, err
}

// inherit takes from base what the release leaves out.
func (s *ReleaseSet) inherit(base *Release) {
	if s.Kubernetes == "" {
		s.Kubernetes = base.Kubernetes
	}
	if s.Platforms == nil {
		s.Platforms = base.Platforms
	}
	if s.Distributions == nil {
		s.Distributions = base.Distributions
	}
	if s.Components == nil {
		s.Components = base.Components
	}
	if s.Profiles == nil {
		s.Profiles = base.Profiles
	}
	if s.DefaultProfile == "" {
		s.DefaultProfile = base.DefaultProfile
	}
}

// encodeHead is release.yaml as it reads without a base.
func (s *ReleaseSet) encodeHead() ([]byte, error) {
	whole := s.Release
	whole.Base = ""
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(whole), enc.Close()); err != nil {
		return nil, fmt.Errorf("encoding release %q: %w", s.Name, err)
	}
	return buf.Bytes(), nil
}

// read reads a file of the release, or of its base where the release has none, and
// says which.
func (s *ReleaseSet) read(fsys fs.FS, rel string) (file string, data []byte, err error) {
	for _, folder := range s.folders {
		file = path.Join(folder, rel)
		data, err = fs.ReadFile(fsys, file)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, data, err
		}
	}
	return file, nil, err
}

// loadLock loads the lock, over that of the base as far as it is about the same
// content.
func (s *ReleaseSet) loadLock(fsys fs.FS) error {
	s.Shipped = NewLock(s.Name)
	for i := len(s.folders) - 1; i >= 0; i-- {
		file := path.Join(s.folders[i], "lock.yaml")
		data, err := fs.ReadFile(fsys, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("loading lock of release %q: %w", s.Name, err)
		}
		l, err := DecodeLock(file, data)
		if err != nil {
			return err
		}
		if i > 0 {
			l = s.about(l)
		}
		s.Shipped = s.Shipped.Merge(l)
	}
	return nil
}

// about is what of a lock pins something that the release still lists.
func (s *ReleaseSet) about(l *Lock) *Lock {
	out := NewLock(s.Name)
	images := map[string]bool{}
	for _, c := range s.Specs {
		for _, img := range c.Images {
			images[img.Ref] = true
		}
		for i := range c.Charts {
			if e := l.Chart(c.ID, &c.Charts[i]); e != nil {
				out.Charts = append(out.Charts, *e)
			}
		}
		for i := range c.Files {
			for j := range c.Files[i].Sources {
				if e := l.File(c.ID, &c.Files[i], &c.Files[i].Sources[j]); e != nil {
					out.Files = append(out.Files, *e)
				}
			}
		}
	}
	for _, img := range l.Images {
		if images[img.Ref] {
			out.Images = append(out.Images, img)
		}
	}
	return out
}
