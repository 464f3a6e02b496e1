package serve

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// packages adds an artifact of OS packages with layers by title.
func (b *bundle) packages(artifactType string, config manifest.PackagesConfig, layers map[string]string) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: b.json(manifest.PackagesConfigMediaType, config)}
	for title, content := range layers {
		l := b.blob(manifest.PackagesLayerMediaType, []byte(content))
		l.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		m.Layers = append(m.Layers, l)
	}
	return b.json(ocispec.MediaTypeImageManifest, m)
}

func yumConfig(arch, signer string, sources ...string) manifest.PackagesConfig {
	c := manifest.PackagesConfig{Distribution: "lab-9", Title: "Lab 9", Family: manifest.FamilyRPM, Arch: arch, Platform: "linux/" + arch}
	for _, s := range sources {
		c.Sources = append(c.Sources, manifest.ConfigPackageSource{Name: s, Keyring: "lab-key", Signer: signer, Root: s + "/" + arch})
	}
	return c
}

func yumDepot(t *testing.T) *bundle {
	b := newBundle(t)
	b.add("naru/metadata/lab-9:1", b.list(manifest.MetadataArtifactType,
		b.packages(manifest.MetadataArtifactType, yumConfig("x86_64", "AB", "base", "extra"), map[string]string{
			"base/x86_64/repodata/repomd.xml": "<repomd/>", "extra/x86_64/repodata/repomd.xml": "<repomd/>", "keyrings/lab-key.asc": "key"}),
		b.packages(manifest.MetadataArtifactType, yumConfig("aarch64", "", "base"), map[string]string{"base/aarch64/repodata/repomd.xml": "<arm/>"})))
	config := yumConfig("x86_64", "")
	config.Component = "x"
	b.add("naru/packages/lab-9/x:1", b.list(manifest.PackagesArtifactType,
		b.packages(manifest.PackagesArtifactType, config, map[string]string{"base/x86_64/Packages/lib-1.3^git1~2+x-1.rpm": "rpm"})))
	return b
}

func TestYumTree(t *testing.T) {
	ts, _ := serveBundles(t, yumDepot(t))
	for path, want := range map[string]string{
		"/yum/lab-9/base/x86_64/repodata/repomd.xml":                   "<repomd/>",
		"/yum/lab-9/base/aarch64/repodata/repomd.xml":                  "<arm/>",
		"/yum/lab-9/keyrings/lab-key.asc":                              "key",
		"/yum/lab-9/base/x86_64/Packages/lib-1.3%5Egit1%7E2%2Bx-1.rpm": "rpm",
	} {
		if resp, body := do(t, "GET", ts.URL+path); resp.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("%s: status %d, %q", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"/yum/lab-9/base/x86_64/Packages/other.rpm", "/yum/lab-9/naru-s390x.repo", "/yum/other/naru.repo", "/apt/lab-9/naru.repo", "/yum/lab-9/naru-.repo"} {
		if resp, _ := do(t, "GET", ts.URL+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
	if resp, body := do(t, "GET", ts.URL+"/yum/lab-9/"); resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "/yum/lab-9/") {
		t.Errorf("listing: status %d, %s", resp.StatusCode, body)
	}
}

func TestRepoFile(t *testing.T) {
	ts, _ := serveBundles(t, yumDepot(t))
	_, all := do(t, "GET", ts.URL+"/yum/lab-9/naru.repo")
	_, one := do(t, "GET", ts.URL+"/yum/lab-9/naru-x86_64.repo")
	for _, want := range []string{"[naru-lab-9-base]", "baseurl=" + ts.URL + "/yum/lab-9/base/$basearch/\n", "gpgcheck=1\n",
		"gpgkey=" + ts.URL + "/yum/lab-9/keyrings/lab-key.asc\n", "metadata_expire=300\n"} {
		if !strings.Contains(string(all), want) {
			t.Errorf("naru.repo lacks %q:\n%s", want, all)
		}
	}
	if strings.Contains(string(all), "extra") {
		t.Errorf("naru.repo names a repository that one architecture lacks:\n%s", all)
	}
	if !strings.Contains(string(one), "/extra/x86_64/") || !strings.Contains(string(one), "repo_gpgcheck=1\n") {
		t.Errorf("naru-x86_64.repo is\n%s", one)
	}
	for _, text := range []string{string(all), string(one)} {
		for _, never := range []string{"\ngpgcheck=0", "module_hotfixes", "sslverify=0"} {
			if strings.Contains(text, never) {
				t.Errorf("%q stands in\n%s", never, text)
			}
		}
	}
}
