// Package scan says what is known to be wrong with what a bundle carries: it holds
// what a scanner is asked and what it answers, the judgement of the answer under the
// site's policy and VEX documents, the SBOMs, and the scanner's databases.
//
// The scanner itself is in package trivy, so that whoever handles results does not
// link it.
package scan

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// ErrNoScanner says that the program was built without its scanner, which needs
// GOEXPERIMENT=jsonv2.
var ErrNoScanner = errors.New("this program was built without its scanner (GOEXPERIMENT=jsonv2)")

// Blobs gives content by digest.
type Blobs interface {
	// OpenBlob is fs.ErrNotExist for a blob that is not there.
	OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error)
}

// Scanner finds what is in artifacts. One scan runs at a time in a program.
type Scanner interface {
	// Name is that of the scanner with its version, "trivy 0.72.0".
	Name() string
	// Scan finds packages and problems in every target, in the order of the targets.
	// It asks nothing of a network. ErrNoScanner where there is none.
	Scan(ctx context.Context, targets []Target, opts Options) (*Result, error)
}

// Options of a scan.
type Options struct {
	Blobs Blobs
	// CacheDir keeps what was found in each layer for later scans; required.
	CacheDir string
	// Database and Java are the databases to look things up in; Java may be nil.
	Database *Database
	Java     *Database
	// Jobs bounds the layers analysed at a time; at least 1.
	Jobs int
	// OnBlob is told of each blob that was analysed, with its size in bytes, from
	// several goroutines; nil for nobody. What the cache knew is not analysed.
	OnBlob func(d digest.Digest, size int64)
}

// Target is one manifest to scan.
type Target struct {
	Ref       string
	Kind      manifest.ArtifactKind
	Component string
	Platform  string
	// Entry is the digest in index.json, Digest that of the manifest itself.
	Entry, Digest digest.Digest
	// Blobs are the layers of an image, the lowest first; the files of a file; the
	// packaged chart; the packages.
	Blobs []Blob
	// OS of packages.
	OS OS
}

// Blob is content of a target.
type Blob struct {
	// Name of a file, chart or package, with its path.
	Name      string
	Digest    digest.Digest
	Size      int64
	MediaType string
}

// OS is an operating system by the names of os-release(5): "debian", "12".
type OS struct{ Family, Version string }

// Result is what a scan found.
type Result struct {
	// Scanner is its Name.
	Scanner string
	// Artifacts are in the order of the targets.
	Artifacts []Artifact
	// Advisories by id.
	Advisories map[string]manifest.Advisory
	Warnings   []string
}

// Artifact is a scanned target. Its findings are open and not judged.
type Artifact struct {
	manifest.ScannedArtifact
	// Contents are the packages found in it, sorted.
	Contents []Package
	// Data says what is in it that is no program and was not looked into, such as a
	// database of the scanner; no policy stops that. Empty where there is nothing.
	Data string `json:"data,omitempty"`
}

// Package is something installed or linked in.
type Package struct {
	// ID is unique among the packages of one kind in one place.
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
	// Kind is the package system: "debian", "gobinary".
	Kind string `json:"kind"`
	PURL string `json:"purl,omitempty"`
	// Target is the file it was found in or by.
	Target   string   `json:"target,omitempty"`
	Licenses []string `json:"licenses,omitempty"`
	// DependsOn are ids.
	DependsOn []string `json:"dependsOn,omitempty"`
}
