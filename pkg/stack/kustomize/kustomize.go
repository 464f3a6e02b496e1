// Package kustomize builds the kustomizations of a carried archive, for software
// whose upstream publishes a tree of them and no chart.
//
// The archive is read into memory and the build sees nothing else: no file of the
// host, no network, no plugin, no helm. A kustomization that names a remote base is
// an error before the build.
package kustomize

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Bounds on an archive, in bytes and files.
const (
	maxFile  = 16 << 20
	maxTotal = 256 << 20
	maxFiles = 50000
)

// ErrTooLarge says that an archive is beyond the bounds of this package.
var ErrTooLarge = errors.New("archive is too large")

// RemoteError says that a kustomization names something outside of its archive.
type RemoteError struct {
	// Path of the kustomization and what it names.
	Path, Base string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("kustomization %q names %q, which is not in the archive", e.Path, e.Base)
}

// Tree is an archive's files in memory. It may be built from as often as wanted,
// one build at a time.
type Tree struct{ fs filesys.FileSystem }

// Read reads a tar archive, compressed with gzip or not, leaving out its top folder
// when root names it.
func Read(r io.Reader, root string) (*Tree, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	t := &Tree{fs: filesys.MakeFsInMemory()}
	tr := tar.NewReader(plain)
	var total int64
	for files := 0; ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		name, ok := below(root, h.Name)
		if h.Typeflag != tar.TypeReg || !ok {
			continue
		}
		files++
		total += h.Size
		if files > maxFiles || h.Size > maxFile || total > maxTotal {
			return nil, fmt.Errorf("reading %q: %w", h.Name, ErrTooLarge)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", h.Name, err)
		}
		if err := t.fs.WriteFile(name, data); err != nil {
			return nil, fmt.Errorf("keeping %q: %w", h.Name, err)
		}
	}
}

func decompress(r io.Reader) (io.Reader, error) {
	head := make([]byte, 2)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	if !bytes.Equal(head[:n], []byte{0x1f, 0x8b}) {
		return r, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	return z, nil
}

// below is name relative to root, as an absolute path of the tree.
func below(root, name string) (string, bool) {
	name = path.Clean("/" + name)
	prefix := path.Clean("/" + root)
	if prefix == "/" {
		return name, true
	}
	rest, ok := strings.CutPrefix(name, prefix+"/")
	return "/" + rest, ok
}

// Build builds the kustomization in folder at and gives its objects as YAML
// documents, in the order that it asks for.
func (t *Tree) Build(at string) ([]byte, error) {
	dir := path.Clean("/" + at)
	if err := t.check(dir, map[string]bool{}); err != nil {
		return nil, fmt.Errorf("building kustomization %q: %w", at, err)
	}
	opts := krusty.MakeDefaultOptions()
	opts.Reorder = krusty.ReorderOptionUnspecified
	opts.PluginConfig = types.DisabledPluginConfig()
	resources, err := krusty.MakeKustomizer(opts).Run(t.fs, dir)
	if err != nil {
		return nil, fmt.Errorf("building kustomization %q: %w", at, err)
	}
	out, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("writing kustomization %q: %w", at, err)
	}
	return out, nil
}

// kustomization is what of one names other folders and files.
type kustomization struct {
	Resources  []string `json:"resources"`
	Bases      []string `json:"bases"`
	Components []string `json:"components"`
	CRDs       []string `json:"crds"`
	// These are paths, or YAML in their place.
	Generators   []string `json:"generators"`
	Transformers []string `json:"transformers"`
	Validators   []string `json:"validators"`
	// HelmCharts would be pulled and rendered by a program outside.
	HelmCharts []struct {
		Name string `json:"name"`
		Repo string `json:"repo"`
	} `json:"helmCharts"`
	// The rest are files: kustomize asks the network for one that is named by its URL.
	Configurations        []string            `json:"configurations"`
	PatchesStrategicMerge []string            `json:"patchesStrategicMerge"`
	Patches               []pathed            `json:"patches"`
	PatchesJSON6902       []pathed            `json:"patchesJson6902"`
	Replacements          []pathed            `json:"replacements"`
	OpenAPI               pathed              `json:"openapi"`
	ConfigMapGenerator    []generatorArgument `json:"configMapGenerator"`
	SecretGenerator       []generatorArgument `json:"secretGenerator"`
}

// pathed names a file, or holds in other fields what would be in it.
type pathed struct {
	Path string `json:"path"`
}

// generatorArgument names the files that a ConfigMap or Secret is made of, each as
// "path" or "key=path".
type generatorArgument struct {
	Files []string `json:"files"`
	Envs  []string `json:"envs"`
	Env   string   `json:"env"`
}

// files are those that k names in any way but as a resource.
func (k *kustomization) files() []string {
	out := slices.Concat(k.Configurations, k.PatchesStrategicMerge, []string{k.OpenAPI.Path})
	for _, p := range slices.Concat(k.Patches, k.PatchesJSON6902, k.Replacements) {
		out = append(out, p.Path)
	}
	for _, g := range slices.Concat(k.ConfigMapGenerator, k.SecretGenerator) {
		out = append(append(append(out, g.Env), g.Envs...), g.Files...)
	}
	return out
}

// remoteRE finds what kustomize takes for the address of a file, alone or behind a key.
var remoteRE = regexp.MustCompile(`(?i)^\s*([^=\s]*=)?https?:`)

// check follows what the kustomization in dir names and refuses what is not there,
// since kustomize itself would take it for the address of a Git server.
func (t *Tree) check(dir string, seen map[string]bool) error {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	file, data, err := t.open(dir)
	if err != nil {
		return err
	}
	var k kustomization
	if err := yaml.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("reading %q: %w", file, err)
	}
	for _, c := range k.HelmCharts {
		return &RemoteError{Path: file, Base: path.Join(c.Repo, c.Name)}
	}
	for _, name := range k.files() {
		if remoteRE.MatchString(name) {
			return &RemoteError{Path: file, Base: name}
		}
	}
	for _, list := range [][]string{k.Resources, k.Bases, k.Components, k.CRDs, k.Generators, k.Transformers, k.Validators} {
		for _, base := range list {
			at := path.Join(dir, base)
			switch {
			case strings.Contains(base, "\n"): // YAML, in place of a path
			case strings.Contains(base, "://") || !t.fs.Exists(at):
				return &RemoteError{Path: file, Base: base}
			case t.fs.IsDir(at):
				if err := t.check(at, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *Tree) open(dir string) (file string, data []byte, err error) {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		file = path.Join(dir, name)
		if t.fs.Exists(file) {
			data, err = t.fs.ReadFile(file)
			return file, data, err
		}
	}
	return "", nil, fmt.Errorf("folder %q has no kustomization", dir)
}
