// Package build turns a release into a signed bundle: load, pin, plan, fetch,
// encode, lay out, sign, pack, media. Each step is a file of its own and Build
// lists them in order.
package build

import (
	"context"
	"io/fs"
	"os"
	"time"

	"naru/internal/dossier"
	"naru/internal/progress"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/mirror/remote"
	"naru/pkg/scan"
)

// Options are what a build or a lock run is told. The zero value of a field is
// its default unless said otherwise.
type Options struct {
	// Releases is where releases are looked up; required with Release.
	Releases fs.FS
	// Release names the release; empty when ContentFiles are built alone.
	Release string
	// ContentFiles are paths of user content files.
	ContentFiles []string
	Select       manifest.SelectOptions
	// LockFile is a lock put over the one the release ships; empty for none.
	LockFile string
	// Fresh leaves the lock of an earlier run into OutDir out of account.
	Fresh bool
	// Locked refuses anything that no lock pins.
	Locked bool

	// CacheDir holds the store; required.
	CacheDir string
	// OutDir gets the media files; empty for bundles/ and the release's name.
	OutDir string
	Remote remote.Options
	// RegistryMap is recorded in bundle.json as given.
	RegistryMap map[string]string
	// Jobs bounds concurrent transfers; at least 1.
	Jobs int

	// TrustedRoot is the sigstore trusted root, JSON, that keyless signatures of
	// upstream are verified with; nil for none.
	TrustedRoot []byte

	// Scan says how the content is scanned and judged; a zero Scanner skips that,
	// which is recorded.
	Scan ScanOptions

	// VolumeSize is the most bytes a volume may have; 0 for one volume.
	VolumeSize int64
	// Signer signs bundle.json and SHA256SUMS; nil means Unsigned must be set.
	Signer Signer
	// Unsigned says that the bundle is not to be signed.
	Unsigned bool
	// InstallerDir holds install-OS-ARCH binaries to lay beside the volumes; empty
	// for none.
	InstallerDir string
	// Replace lets another bundle in OutDir be replaced.
	Replace bool
	// NetworkClass is that of the network the bundle is for, recorded in bundle.json;
	// empty where nobody said.
	NetworkClass string
	// Previous is the bundle that the dossier compares with; nil for none.
	Previous *dossier.Previous
	// DryRun stops after the plan.
	DryRun bool
	// Unpin lists image references, files as component/name, and distributions, whose
	// packages and metadata are meant, to be pinned anew.
	Unpin []string
	// PinnedBy is recorded for what this run pins; empty for "this build".
	PinnedBy manifest.PinnedBy
	// Now is the time to record; zero for SOURCE_DATE_EPOCH or the clock.
	Now time.Time
	// Version of the tool.
	Version string

	Progress progress.Observer
}

// ScanOptions are what a build is told about scanning.
type ScanOptions struct {
	// Scanner is nil for a build that does not scan.
	Scanner scan.Scanner
	// Database is where the vulnerability database comes from: a reference, or an OCI
	// layout in a folder or tar file; empty for scan.DefaultDatabase. Java likewise;
	// "none" leaves Java archives out.
	Database, Java string
	// Policy and VEX judge; both may be missing.
	Policy *manifest.ScanPolicy
	VEX    []survey.Document
	// SPDX asks for SPDX SBOMs beside the CycloneDX ones.
	SPDX bool
	// Jobs bounds the layers looked at together; 0 for one a processor.
	Jobs int
}

// Signer makes the two signatures a bundle carries.
type Signer interface {
	// SignBundle returns a sigstore bundle v0.3 over data.
	SignBundle(ctx context.Context, data []byte) ([]byte, error)
	// SignDetached returns an ASN.1 signature over the SHA-256 of data.
	SignDetached(ctx context.Context, data []byte) ([]byte, error)
	// PublicKeyPEM is the public half.
	PublicKeyPEM(ctx context.Context) ([]byte, error)
}

// fixedDate is the date that SOURCE_DATE_EPOCH or Now fixes, or "".
func (o Options) fixedDate() string {
	if !o.Now.IsZero() {
		return o.Now.UTC().Format(time.RFC3339)
	}
	return os.Getenv("SOURCE_DATE_EPOCH")
}
