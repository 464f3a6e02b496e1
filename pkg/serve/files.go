package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Artifacts that carry files; pkg/mirror makes them.
const (
	fileArtifactType = "application/vnd.naru.file.v1"
	annotationMode   = "vnd.naru.mode"
	// anyPlatform is the folder of files that fit all platforms.
	anyPlatform = "all"
)

// fileElementRE is what an element of a path in the file tree may look like.
var fileElementRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~-]*$`)

// fileConfig is the config of a file artifact, as far as the tree needs it.
type fileConfig struct {
	Name      string          `json:"name"`
	Version   string          `json:"version"`
	Component string          `json:"component"`
	Platform  json.RawMessage `json:"platform"`
}

// folder is the element of the path that the platform becomes.
func (c *fileConfig) folder() (string, error) {
	if len(c.Platform) == 0 || string(c.Platform) == "null" {
		return anyPlatform, nil
	}
	var text string
	if err := json.Unmarshal(c.Platform, &text); err == nil {
		return cmp.Or(strings.ReplaceAll(text, "/", "-"), anyPlatform), nil
	}
	var p ocispec.Platform
	if err := json.Unmarshal(c.Platform, &p); err != nil {
		return "", fmt.Errorf("parsing platform: %w", err)
	}
	parts := slices.DeleteFunc([]string{p.OS, p.Architecture, p.Variant}, func(s string) bool { return s == "" })
	return cmp.Or(strings.Join(parts, "-"), anyPlatform), nil
}

// file is one file of the tree.
type file struct {
	digest digest.Digest
	size   int64
	mode   string
	// modified is when its vendor signed it, for package metadata; zero else.
	modified time.Time
}

// fileTree is a tree of files; paths have no slash at either end.
type fileTree struct {
	// root is where it is served, with a slash at both ends: "/files/".
	root string
	// element tells what the elements of its paths may look like.
	element *regexp.Regexp
	files   map[string]file
	// dirs maps a folder to the names in it, those of folders ending in a slash.
	dirs      map[string]map[string]bool
	conflicts []Conflict
}

func newFileTree(root string, element *regexp.Regexp) *fileTree {
	return &fileTree{root: root, element: element, files: map[string]file{}, dirs: map[string]map[string]bool{"": {}}}
}

// put adds a file, over the one that had its path.
func (t *fileTree) put(p string, f file) error {
	for _, e := range strings.Split(p, "/") {
		if !t.element.MatchString(e) {
			return fmt.Errorf("adding file %q: %q is no name for a file or folder", p, e)
		}
	}
	if t.dirs[p] != nil {
		return fmt.Errorf("adding file %q: there is a folder of that name", p)
	}
	if old, ok := t.files[p]; ok && old.digest != f.digest {
		t.conflicts = append(t.conflicts, Conflict{Name: t.root + p, Served: f.digest, Hidden: old.digest})
	}
	t.files[p] = f
	for name, dir := path.Base(p), parentDir(p); ; name, dir = path.Base(dir)+"/", parentDir(dir) {
		if _, ok := t.files[dir]; ok {
			return fmt.Errorf("adding file %q: %q is a file", p, dir)
		}
		if t.dirs[dir] == nil {
			t.dirs[dir] = map[string]bool{}
		}
		t.dirs[dir][name] = true
		if dir == "" {
			return nil
		}
	}
}

// parentDir is the folder of p, "" at the top.
func parentDir(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

// addFiles takes the files of an artifact, or of those of all platforms that an
// index lists, into the tree.
func (b *builder) addFiles(ctx context.Context, desc ocispec.Descriptor) error {
	doc, err := b.read(ctx, desc)
	if err != nil {
		return err
	}
	for _, child := range doc.Manifests {
		if err := b.addFiles(ctx, child); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if doc.Config == nil {
		return nil
	}
	data, err := b.contents.readAll(ctx, doc.Config.Digest, doc.Config.Size)
	if err != nil {
		return err
	}
	var config fileConfig
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("parsing config %s: %w", doc.Config.Digest, err)
	}
	folder, err := config.folder()
	if err != nil {
		return fmt.Errorf("parsing config %s: %w", doc.Config.Digest, err)
	}
	for _, l := range doc.Layers {
		p := strings.Join([]string{config.Component, config.Version, folder, l.Annotations[ocispec.AnnotationTitle]}, "/")
		f := file{digest: l.Digest, size: l.Size, mode: cmp.Or(l.Annotations[annotationMode], "0644")}
		if err := b.catalog.files.put(p, f); err != nil {
			return err
		}
	}
	return nil
}
