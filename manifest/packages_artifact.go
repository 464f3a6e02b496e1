package manifest

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Media types of the artifacts that OS packages are carried as.
//
// The packages of a component, "naru/packages/<distribution>/<component>:<version>",
// are an index over one manifest a platform. Its layers are the package files as the
// vendor has them, titled by their path in the served tree (see TreePath). The
// metadata of a distribution, "naru/metadata/<distribution>:<snapshot>", is likewise
// an index over one manifest a platform, with the vendor's index files, unmodified,
// and the keyrings, titled "keyrings/<name>.asc".
const (
	PackagesArtifactType    = "application/vnd.naru.packages.v1"
	MetadataArtifactType    = "application/vnd.naru.packages.metadata.v1"
	PackagesConfigMediaType = "application/vnd.naru.packages.config.v1+json"
	PackagesLayerMediaType  = "application/vnd.naru.packages.layer.v1"
)

// PackagesConfig is the config of either artifact.
type PackagesConfig struct {
	Distribution string   `json:"distribution"`
	Title        string   `json:"title,omitempty"`
	Family       Family   `json:"family"`
	OS           string   `json:"os"`
	Versions     []string `json:"versions"`
	Platform     string   `json:"platform"`
	// Arch is the distribution's own name of the architecture.
	Arch string `json:"arch"`
	// Component, Version, Names and Packages are those of a component's packages.
	Component string          `json:"component,omitempty"`
	Version   string          `json:"version,omitempty"`
	Names     []string        `json:"names,omitempty"`
	Packages  []ConfigPackage `json:"packages,omitempty"`
	// Sources are those of metadata.
	Sources []ConfigPackageSource `json:"sources,omitempty"`
}

// ConfigPackage describes a layer that is a package file.
type ConfigPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	// Path is the layer's title.
	Path   string        `json:"path"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// ConfigPackageSource describes a source of a distribution.
type ConfigPackageSource struct {
	Name     string        `json:"name"`
	URL      string        `json:"url"` // upstream
	Suite    string        `json:"suite,omitempty"`
	Sections []string      `json:"sections,omitempty"`
	Keyring  string        `json:"keyring"`
	Digest   digest.Digest `json:"digest"` // of InRelease or repomd.xml
	Date     string        `json:"date,omitempty"`
	Signer   string        `json:"signer,omitempty"`
	// Root is the folder of the source in the served tree.
	Root string `json:"root"`
}

// TreeRoot is the folder of a source in the tree that its packages are served from,
// below /apt/<distribution>/ or /yum/<distribution>/. Sources of rpm are apart by
// architecture, since each has a repodata of its own; those of deb share one.
func TreeRoot(family Family, source, arch string) string {
	if family == FamilyRPM {
		return source + "/" + arch
	}
	return source
}

// TreePath is where a file of a source is in that tree.
func TreePath(family Family, source, arch, path string) string {
	return TreeRoot(family, source, arch) + "/" + path
}

// debArch and rpmArch are what distributions call the platforms of Go and OCI.
var (
	debArch = map[string]string{"amd64": "amd64", "arm64": "arm64", "386": "i386", "arm": "armhf", "ppc64le": "ppc64el", "s390x": "s390x", "riscv64": "riscv64"}
	rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7hl", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}
)

// PackageArch is the name that a package system has for the architecture of a
// platform, "os/arch[/variant]".
func PackageArch(family Family, platform string) (string, error) {
	names := debArch
	if family == FamilyRPM {
		names = rpmArch
	}
	parts := strings.Split(platform, "/")
	if len(parts) >= 2 && parts[0] == "linux" && names[parts[1]] != "" {
		return names[parts[1]], nil
	}
	return "", fmt.Errorf("naming platform %q for %s packages: there are none for it", platform, family)
}
