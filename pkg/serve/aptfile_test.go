package serve

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

func aptConfig(arch string) manifest.PackagesConfig {
	return manifest.PackagesConfig{Distribution: "debian-12", Title: "Debian 12", Family: manifest.FamilyDeb, Arch: arch, Platform: "linux/" + arch,
		Sources: []manifest.ConfigPackageSource{{Name: "main", Suite: "bookworm", Sections: []string{"main", "contrib"}, Keyring: "debian", Root: "main", Date: "2026-07-11T10:16:37Z"}}}
}

func aptDepot(t *testing.T, arches ...string) *bundle {
	b := newBundle(t)
	var metadata []ocispec.Descriptor
	for _, arch := range arches {
		metadata = append(metadata, b.packages(manifest.MetadataArtifactType, aptConfig(arch), map[string]string{
			"main/dists/bookworm/InRelease": "signed", "main/dists/bookworm/main/binary-" + arch + "/Packages.xz": "index " + arch,
			"keyrings/debian.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n=x\n-----END PGP PUBLIC KEY BLOCK-----\n"}))
	}
	b.add("naru/metadata/debian-12:1", b.list(manifest.MetadataArtifactType, metadata...))
	config := aptConfig("amd64")
	config.Component, config.Sources = "x", nil
	b.add("naru/packages/debian-12/x:1", b.list(manifest.PackagesArtifactType,
		b.packages(manifest.PackagesArtifactType, config, map[string]string{"main/pool/main/l/lib/lib_1.2+a~b-1_amd64.deb": "deb"})))
	return b
}

func TestAptTree(t *testing.T) {
	ts, _ := serveBundles(t, aptDepot(t, "amd64", "arm64"))
	sum := digest.FromString("index amd64").Encoded()
	for path, want := range map[string]string{
		"/apt/debian-12/main/dists/bookworm/InRelease":                               "signed",
		"/apt/debian-12/main/dists/bookworm/main/binary-amd64/Packages.xz":           "index amd64",
		"/apt/debian-12/main/dists/bookworm/main/binary-amd64/by-hash/SHA256/" + sum: "index amd64",
		"/apt/debian-12/main/dists/bookworm/main/binary-arm64/Packages.xz":           "index arm64",
		"/apt/debian-12/main/pool/main/l/lib/lib_1.2%2ba%7eb-1_amd64.deb":            "deb",
		"/apt/debian-12/main/pool/main/l/lib/lib_1.2+a~b-1_amd64.deb":                "deb",
		"/apt/debian-12/keyrings/debian.asc":                                         "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n=x\n-----END PGP PUBLIC KEY BLOCK-----\n",
	} {
		if resp, body := do(t, "GET", ts.URL+path); resp.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("%s: status %d, %q", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"main/dists/bookworm/main/i18n/Translation-en.xz", "main/dists/bookworm/main/dep11/Components-amd64.yml.gz",
		"main/dists/bookworm/by-hash/SHA256/" + digest.FromString("signed").Encoded(), "main/pool/main/l/lib/lib_2_amd64.deb", "naru-i386.sources", "naru.repo"} {
		if resp, _ := do(t, "GET", ts.URL+"/apt/debian-12/"+path); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}

// TestAptConditions asks as apt does when it has a file already.
func TestAptConditions(t *testing.T) {
	ts, _ := serveBundles(t, aptDepot(t, "amd64"))
	url := ts.URL + "/apt/debian-12/main/dists/bookworm/InRelease"
	resp, _ := do(t, "GET", url)
	date := resp.Header.Get("Last-Modified")
	if date != "Sat, 11 Jul 2026 10:16:37 GMT" {
		t.Errorf("Last-Modified is %q", date)
	}
	for condition, want := range map[[2]string]int{
		{"If-Modified-Since", date}:                            http.StatusNotModified,
		{"If-Modified-Since", "Sat, 11 Jul 2026 10:16:36 GMT"}: http.StatusOK,
		{"If-Modified-Since", "Sun, 12 Jul 2026 10:16:37 GMT"}: http.StatusOK, // ahead of a depot that went back
		{"If-Modified-Since", "yesterday"}:                     http.StatusOK,
		{"If-None-Match", resp.Header.Get("Etag")}:             http.StatusNotModified,
		{"If-None-Match", `"other"`}:                           http.StatusOK,
		{"Range", "bytes=2-3"}:                                 http.StatusPartialContent,
	} {
		if resp, _ := do(t, "GET", url, condition[0], condition[1]); resp.StatusCode != want {
			t.Errorf("%v: status %d, want %d", condition, resp.StatusCode, want)
		}
	}
}

func TestAptSources(t *testing.T) {
	ts, _ := serveBundles(t, aptDepot(t, "amd64"))
	_, text := do(t, "GET", ts.URL+"/apt/debian-12/naru.sources")
	want := "\nTypes: deb\nURIs: " + ts.URL + "/apt/debian-12/main\nSuites: bookworm\nComponents: main contrib\nArchitectures: amd64\n" +
		"Targets: Packages\nCheck-Valid-Until: no\nCheck-Date: no\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n =x\n -----END PGP PUBLIC KEY BLOCK-----\n"
	if !strings.HasSuffix(string(text), want) {
		t.Errorf("the sources file is\n%s", text)
	}
	if _, same := do(t, "GET", ts.URL+"/apt/debian-12/naru-amd64.sources"); string(same) != string(text) {
		t.Errorf("that of the architecture is\n%s", same)
	}
	ts, _ = serveBundles(t, aptDepot(t, "amd64", "arm64"))
	_, text = do(t, "GET", ts.URL+"/apt/debian-12/naru.sources")
	if strings.Contains(string(text), "Architectures:") || !strings.Contains(string(text), "Suites: bookworm") {
		t.Errorf("with two architectures the sources file is\n%s", text)
	}
	for _, never := range []string{"rusted: yes", "llow-insecure", "llow-weak"} {
		if strings.Contains(string(text), never) {
			t.Errorf("%q stands in\n%s", never, text)
		}
	}
}
