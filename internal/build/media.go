package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/internal/atomicfile"
	"naru/pkg/archive"
	"naru/pkg/sign"
	"naru/pkg/sign/verify"
)

// Names of the files in a media folder, beside the volumes.
const (
	bundleName      = "bundle.json"
	signatureName   = "bundle.json.sigstore.json"
	trustedRootName = "trusted_root.json"
	sumsName        = "SHA256SUMS"
	sumsSigName     = "SHA256SUMS.sig"
	publicKeyName   = "signer.pub"
	lockName        = "lock.yaml"
)

// media writes what lies beside the volumes and, last, SHA256SUMS with its
// signature.
//
// Inputs: the volumes, the locked lock, the install binaries. Outputs: a folder
// to copy onto the media. Rerunning is safe: every file is whole or not there,
// and the folder counts as complete only with SHA256SUMS.
func (r *run) media(ctx context.Context) error {
	r.opts.Progress.Start("media", 0)
	var sums []verify.Sum
	for _, v := range r.volumes {
		sums = append(sums, verify.Sum{Name: v.Name, Digest: v.Digest})
		r.result.Volumes = append(r.result.Volumes, Volume{Name: v.Name, Size: v.Size, SHA256: v.Digest.Encoded()})
	}
	files, err := r.mediaFiles(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := r.writeOut(f.Name, f.Data, 0o644); err != nil {
			return err
		}
		sums = append(sums, sumOf(f.Name, f.Data))
	}
	sums = append(sums, sumOf(bundleName, r.bundleJSON))
	if r.signature != nil {
		sums = append(sums, sumOf(signatureName, r.signature))
	}
	installers, err := r.copyInstallers()
	if err != nil {
		return err
	}
	papers, err := r.writeDossier()
	if err != nil {
		return err
	}
	return r.seal(ctx, append(append(sums, installers...), papers...))
}

// mediaFiles are the small files beside the volumes.
func (r *run) mediaFiles(ctx context.Context) ([]archive.File, error) {
	lock, err := r.locked.Encode()
	if err != nil {
		return nil, err
	}
	files := []archive.File{
		{Name: lockName, Data: lock},
		{Name: trustedRootName, Data: sign.EmptyTrustedRoot()},
	}
	if r.opts.Signer != nil {
		key, err := r.opts.Signer.PublicKeyPEM(ctx)
		if err != nil {
			return nil, err
		}
		parsed, err := verify.ParseKey(publicKeyName, key)
		if err != nil {
			return nil, err
		}
		r.result.Signed, r.result.Fingerprint = true, parsed.Fingerprint()
		files = append(files, archive.File{Name: publicKeyName, Data: key})
	}
	return append(files,
		archive.File{Name: "README.txt", Data: r.readme(readmeEnglish)},
		archive.File{Name: "README.ko.txt", Data: r.readme(readmeKorean)}), nil
}

// copyInstallers lays the install binary of every platform beside the volumes.
func (r *run) copyInstallers() ([]verify.Sum, error) {
	if r.opts.InstallerDir == "" {
		return nil, nil
	}
	var sums []verify.Sum
	for _, p := range r.selection.Platforms {
		name := installerName(p)
		data, err := os.ReadFile(filepath.Join(r.opts.InstallerDir, name))
		if err != nil {
			return nil, fmt.Errorf("reading the install program: %w", err)
		}
		if err := r.writeOut(name, data, 0o755); err != nil {
			return nil, err
		}
		sums = append(sums, sumOf(name, data))
	}
	return sums, nil
}

func installerName(platform string) string {
	return "install-" + strings.ReplaceAll(platform, "/", "-")
}

// installerSums are the checksums of the install binaries of this run, by name.
func (r *run) installerSums() (map[string]digest.Digest, error) {
	out := map[string]digest.Digest{}
	if r.opts.InstallerDir == "" {
		return out, nil
	}
	for _, p := range r.selection.Platforms {
		data, err := os.ReadFile(filepath.Join(r.opts.InstallerDir, installerName(p)))
		if err != nil {
			return nil, fmt.Errorf("reading the install program: %w", err)
		}
		out[installerName(p)] = digest.FromBytes(data)
	}
	return out, nil
}

// checkInstallers looks for the install binaries before anything is fetched.
func (r *run) checkInstallers() error {
	if r.opts.InstallerDir == "" {
		return nil
	}
	for _, p := range r.selection.Platforms {
		path := filepath.Join(r.opts.InstallerDir, installerName(p))
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return &NoInstallerError{Platform: p, Path: path}
		}
	}
	return nil
}

// NoInstallerError says that there is no install binary for a platform.
type NoInstallerError struct{ Platform, Path string }

func (e *NoInstallerError) Error() string {
	return fmt.Sprintf("laying the install program beside the volumes: none for %s at %q", e.Platform, e.Path)
}

// seal writes SHA256SUMS and its signature, which make the folder complete.
func (r *run) seal(ctx context.Context, sums []verify.Sum) error {
	list, err := verify.EncodeSums(sums)
	if err != nil {
		return err
	}
	if r.opts.Signer != nil {
		signature, err := r.opts.Signer.SignDetached(ctx, list)
		if err != nil {
			return fmt.Errorf("signing %s: %w", sumsName, err)
		}
		if err := r.writeOut(sumsSigName, signature, 0o644); err != nil {
			return err
		}
	}
	if err := r.writeOut(sumsName, list, 0o644); err != nil {
		return err
	}
	return removeAll(r.opts.OutDir, []string{unfinishedName})
}

func (r *run) writeOut(name string, data []byte, mode os.FileMode) error {
	return atomicfile.Write(filepath.Join(r.opts.OutDir, name), data, mode)
}

// sumOf is the line of SHA256SUMS for a file of this content.
func sumOf(name string, data []byte) verify.Sum {
	return verify.Sum{Name: name, Digest: digest.FromBytes(data)}
}

// readSmall reads a file of at most 16 MiB.
func readSmall(path string) ([]byte, error) {
	const limit = 16 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("%q is larger than %d bytes", path, limit)
	}
	return data, err
}
