package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// packageElementRE is what an element of a path of packages may look like: vendors
// use more characters than naru does.
var packageElementRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~^:%@=()-]*$`)

// packageTree is the tree of a package system, with what is known of its
// distributions.
type packageTree struct {
	*fileTree
	systems map[string]*system // by distribution
}

// system is a distribution in a package tree.
type system struct {
	manifest.PackagesConfig
	// sources by architecture.
	sources map[string][]manifest.ConfigPackageSource
}

func newPackageTree(root string) *packageTree {
	return &packageTree{fileTree: newFileTree(root, packageElementRE), systems: map[string]*system{}}
}

// addPackages takes the files of an artifact of OS packages or of their metadata
// into the tree of its package system.
func (b *builder) addPackages(ctx context.Context, desc ocispec.Descriptor) error {
	doc, err := b.read(ctx, desc)
	if err != nil {
		return err
	}
	for _, child := range doc.Manifests {
		if err := b.addPackages(ctx, child); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	var config manifest.PackagesConfig
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("parsing config %s: %w", doc.Config.Digest, err)
	}
	tree := b.catalog.apt
	if config.Family == manifest.FamilyRPM {
		tree = b.catalog.yum
	}
	tree.describe(&config)
	for _, l := range doc.Layers {
		title := l.Annotations[ocispec.AnnotationTitle]
		f := file{digest: l.Digest, size: l.Size, mode: "0644", modified: signedAt(&config, title)}
		if err := tree.addFile(config.Distribution+"/"+title, f); err != nil {
			return err
		}
	}
	return nil
}

// addFile adds a file, where apt asks for it by its digest also there.
func (t *packageTree) addFile(p string, f file) error {
	if at := byHash(p, f); at != "" && t.root == "/apt/" {
		if err := t.put(at, f); err != nil {
			return err
		}
	}
	return t.put(p, f)
}

// describe notes what metadata says of its distribution; of two bundles the later
// one counts, as with files.
func (t *packageTree) describe(config *manifest.PackagesConfig) {
	if len(config.Sources) == 0 {
		return
	}
	s := t.systems[config.Distribution]
	if s == nil {
		s = &system{sources: map[string][]manifest.ConfigPackageSource{}}
		t.systems[config.Distribution] = s
	}
	s.PackagesConfig = *config
	s.sources[config.Arch] = config.Sources
}

// servePackages answers for a path of a package tree, or with a file that tells
// clients of its sources.
func (s *Server) servePackages(w *recorder, r *http.Request, t *packageTree) error {
	id, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, t.root), "/")
	if sys := t.systems[id]; ok && sys != nil {
		text, ok, err := sys.sourcesFile(name, baseURL(r)+t.root+id+"/", func(key string) (string, error) { return s.keyring(r.Context(), t, id, key) })
		if err != nil {
			return err
		}
		if ok {
			h := w.Header()
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Cache-Control", cacheNever)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
			return nil
		}
	}
	return s.serveTree(w, r, t.fileTree)
}

// sourcesFile is a file made for clients of a distribution: "naru.repo" and the
// like; ok tells whether there is one of that name.
func (s *system) sourcesFile(name, base string, keyring func(string) (string, error)) (text string, ok bool, err error) {
	if s.Family == manifest.FamilyRPM {
		text, ok = s.repoFile(name, base)
		return text, ok, nil
	}
	return s.aptFile(name, base, keyring)
}

// baseURL is how the client reached the server.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
