package internet

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/test/facts"
	"naru/test/lab/layout"
)

// inside is what the release expects in one file.
type inside struct {
	// members are paths in an archive; folders those of kustomizations in one.
	members, folders []string
	// objects are those that patches change, by the folder of the kustomization that
	// has them; "" for a file of manifests.
	objects map[string][]manifest.Patch
}

// insides collects what the components of a release expect, by address.
func insides(set *manifest.ReleaseSet) map[string]*inside {
	out := map[string]*inside{}
	at := func(url string) *inside {
		if out[url] == nil {
			out[url] = &inside{objects: map[string][]manifest.Patch{}}
		}
		return out[url]
	}
	for _, id := range set.Components {
		c := set.Specs[id]
		urls := map[string][]string{}
		for _, f := range c.Files {
			for _, s := range f.Sources {
				urls[f.Name] = append(urls[f.Name], s.URL)
				for _, member := range s.Members {
					at(s.URL).members = append(at(s.URL).members, member.Path)
				}
			}
		}
		for _, s := range c.Steps {
			for i, entry := range s.Manifests {
				name, folder := manifest.SplitManifest(entry)
				for _, u := range urls[name] {
					in := at(u)
					if folder != "" && !slices.Contains(in.folders, folder) {
						in.folders = append(in.folders, folder)
					}
					if i == 0 { // any of the step's would do
						in.objects[folder] = append(in.objects[folder], s.Patches...)
					}
				}
			}
		}
	}
	return out
}

// files publishes every file of the facts.
func (m *maker) files(_ context.Context, all []facts.Artifact) error {
	done := map[string]digest.Digest{} // the facts may name an address twice, with and without a checksum
	for _, a := range all {
		u, err := url.Parse(a.URL)
		if a.Kind != facts.File || err != nil || u.Scheme != "https" || strings.ContainsAny(a.URL, "<{$ ") {
			continue
		}
		if d, ok := done[a.URL]; ok {
			m.replaced(a.SHA256, d)
			continue
		}
		data, err := m.content(a.URL)
		if err != nil {
			return fmt.Errorf("file %q: %w", a.URL, err)
		}
		if err := m.publish(a.URL, data); err != nil {
			return err
		}
		done[a.URL] = digest.FromBytes(data)
		m.replaced(a.SHA256, done[a.URL])
		m.out.Files++
	}
	return nil
}

func (m *maker) publish(rawURL string, data []byte) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	m.hosts[u.Host] = true
	_, err = m.File(rawURL, func(w io.Writer) error { _, err := w.Write(data); return err })
	return err
}

// content is what an address serves: an archive with the members expected, manifests
// with the objects expected, or bytes.
func (m *maker) content(address string) ([]byte, error) {
	in := m.inside[address]
	if in == nil {
		in = &inside{}
	}
	name := path.Base(address)
	switch {
	case strings.HasSuffix(name, ".zip"):
		return zipOf(address, in.members)
	case strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz"):
		return m.tarOf(address, in)
	case strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"):
		return []byte(objects(address, in.objects[""])), nil
	}
	return seed(address, 3000), nil
}

// objects is YAML with the objects that patches change, or with one that nothing does.
func objects(address string, patches []manifest.Patch) string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, p := range append([]manifest.Patch{{Kind: "ConfigMap", Name: "lab-" + digest.FromString(address).Encoded()[:8], Namespace: "default"}}, patches...) {
		kind, group, _ := strings.Cut(p.Kind, ".")
		key := kind + "/" + p.Namespace + "/" + p.Name
		if seen[key] {
			continue
		}
		seen[key] = true
		fmt.Fprintf(&b, "---\napiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n", apiVersion(kind, group), kind, p.Name)
		if p.Namespace != "" {
			fmt.Fprintf(&b, "  namespace: %s\n", p.Namespace)
		}
	}
	return b.String()
}

func apiVersion(kind, group string) string {
	switch {
	case group != "":
		return group + "/v1"
	case slices.Contains([]string{"Deployment", "DaemonSet", "StatefulSet"}, kind):
		return "apps/v1"
	case kind == "StorageClass":
		return "storage.k8s.io/v1"
	}
	return "v1"
}

func (m *maker) tarOf(address string, in *inside) ([]byte, error) {
	files := map[string][]byte{}
	for _, p := range in.members {
		files[p] = seed(address+p, 1500)
	}
	for _, folder := range in.folders {
		files[path.Join(folder, "kustomization.yaml")] = []byte("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [objects.yaml]\n")
		files[path.Join(folder, "objects.yaml")] = []byte(objects(address+folder, in.objects[folder]))
	}
	if len(files) == 0 {
		files["README"] = seed(address, 200)
	}
	var buf bytes.Buffer
	err := layout.Gzipped(&buf, func(w io.Writer) error {
		tw := tar.NewWriter(w)
		for _, name := range sortedKeys(files) {
			if err := layout.AddFile(tw, name, 0o755, int64(len(files[name])), bytes.NewReader(files[name])); err != nil {
				return err
			}
		}
		return tw.Close()
	})
	return buf.Bytes(), err
}

func zipOf(address string, members []string) ([]byte, error) {
	if len(members) == 0 {
		members = []string{"README"}
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(slices.Values(members)) {
		w, err := z.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(seed(address+name, 1500)); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return buf.Bytes(), err
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
