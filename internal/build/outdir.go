package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// unfinishedName lists what a build is about to write, for as long as it runs: the
// next one knows by it what to clear away.
const unfinishedName = ".naru-unfinished"

// inspectOut looks at what the output folder holds: this bundle, whole (true),
// nothing or a torn one (false), or another bundle, which is an error unless it
// may be replaced.
func (r *run) inspectOut(ctx context.Context) (bool, error) {
	sums, err := readSmall(filepath.Join(r.opts.OutDir, sumsName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the output folder: %w", err)
	}
	old, err := readSmall(filepath.Join(r.opts.OutDir, bundleName))
	if err != nil {
		return false, fmt.Errorf("looking at the output folder: %w", err)
	}
	if id := digest.FromBytes(old); id.String() != r.result.Bundle {
		if r.opts.Replace {
			return false, nil
		}
		return false, &OccupiedError{Dir: r.opts.OutDir, Bundle: id}
	}
	r.result.UpToDate, err = r.complete(ctx, sums)
	return r.result.UpToDate, err
}

// OccupiedError says that the output folder holds another complete bundle.
type OccupiedError struct {
	Dir    string
	Bundle digest.Digest
}

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("writing the bundle: folder %q holds another bundle, %s", e.Dir, e.Bundle)
}

// complete tells whether the folder with these SHA256SUMS holds all of this
// bundle, as this run would write it: signed by the key in use, the planned
// volumes in their sizes, every other file with its checksum.
func (r *run) complete(ctx context.Context, sums []byte) (bool, error) {
	listed, err := verify.ParseSums(sums)
	if err != nil {
		return false, nil //nolint:nilerr // a damaged list means that the folder is written again
	}
	signed, err := r.signedAsWanted(ctx)
	if err != nil || !signed {
		return false, err
	}
	planned := map[string]int64{}
	for _, v := range r.plan.Volumes {
		planned[v.Name] = v.Size
	}
	found := map[string]Volume{}
	var small []verify.Sum
	for _, entry := range listed {
		size, volume := planned[entry.Name]
		if !volume {
			small = append(small, entry)
			continue
		}
		info, err := os.Stat(filepath.Join(r.opts.OutDir, entry.Name))
		if err != nil || info.Size() != size {
			return false, nil //nolint:nilerr // a volume that is not there is written again
		}
		found[entry.Name] = Volume{Name: entry.Name, Size: info.Size(), SHA256: entry.Digest.Encoded()}
	}
	r.result.Volumes = nil
	for _, v := range r.plan.Volumes {
		volume, ok := found[v.Name]
		if !ok {
			return false, nil
		}
		r.result.Volumes = append(r.result.Volumes, volume)
	}
	if same, err := r.sameDossier(small); err != nil || !same || !r.sameInstallers(small) {
		return false, err
	}
	return verify.CheckSums(ctx, []string{r.opts.OutDir}, small, verify.CheckOptions{}) == nil, ctx.Err()
}

// signedAsWanted tells whether bundle.json and SHA256SUMS in the folder are signed
// by the key in use, or not at all when that is what is wanted.
func (r *run) signedAsWanted(ctx context.Context) (bool, error) {
	_, err := os.Stat(filepath.Join(r.opts.OutDir, sumsSigName))
	if r.opts.Signer == nil {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	if err != nil {
		return false, nil //nolint:nilerr // without its signature the folder is written again
	}
	key, err := r.signingKey(ctx)
	if err != nil {
		return false, err
	}
	ring := verify.NewKeyring(key)
	signature, err := readSmall(filepath.Join(r.opts.OutDir, signatureName))
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	if _, err := ring.VerifyBundle(r.bundleJSON, signature); err != nil {
		return false, nil //nolint:nilerr // signed by another key: signed again
	}
	if _, _, err := ring.OpenSums(r.opts.OutDir); err != nil {
		return false, nil //nolint:nilerr // as above
	}
	r.result.Signed, r.result.Fingerprint = true, key.Fingerprint()
	return true, nil
}

// signingKey is the public half of the key in use: the one that lies beside the
// private key, which needs no password, else the private key's own.
func (r *run) signingKey(ctx context.Context) (verify.Key, error) {
	if known, ok := r.opts.Signer.(interface{ KnownPublicKey() (verify.Key, bool) }); ok {
		if key, ok := known.KnownPublicKey(); ok {
			return key, nil
		}
	}
	pem, err := r.opts.Signer.PublicKeyPEM(ctx)
	if err != nil {
		return verify.Key{}, err
	}
	return verify.ParseKey(publicKeyName, pem)
}

// sameInstallers tells whether the list has the install programs of this run, and
// no others.
func (r *run) sameInstallers(listed []verify.Sum) bool {
	want, err := r.installerSums()
	if err != nil {
		return false
	}
	for _, s := range listed {
		if !strings.HasPrefix(s.Name, "install-") {
			continue
		}
		if want[s.Name] != s.Digest {
			return false
		}
		delete(want, s.Name)
	}
	return len(want) == 0
}

// claimOut clears away what earlier builds wrote, refuses volumes that nobody
// lists, and writes bundle.json and its signature first, so that an interrupted
// build goes on with the same date.
func (r *run) claimOut() error {
	known, err := ours(r.opts.OutDir)
	if err != nil {
		return err
	}
	if err := refuseStrangers(r.opts.OutDir, known); err != nil {
		return err
	}
	if err := removeAll(r.opts.OutDir, known); err != nil {
		return err
	}
	var names []string
	for _, v := range r.plan.Volumes {
		names = append(names, v.Name)
	}
	if err := r.writeOut(unfinishedName, []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := r.writeOut(bundleName, r.bundleJSON, 0o644); err != nil {
		return err
	}
	if r.signature == nil {
		return nil
	}
	return r.writeOut(signatureName, r.signature, 0o644)
}

// StrangerError says that the output folder holds volumes that no earlier build
// is known to have written there. Beside a bundle they would make it unreadable.
type StrangerError struct {
	Dir   string
	Names []string
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("writing the bundle: folder %q holds volumes of something else: %s", e.Dir, strings.Join(e.Names, ", "))
}

func refuseStrangers(dir string, known []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking at the output folder: %w", err)
	}
	e := &StrangerError{Dir: dir}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, archive.VolumeSuffix) && !slices.Contains(known, name) {
			e.Names = append(e.Names, entry.Name())
		}
	}
	if len(e.Names) > 0 {
		return e
	}
	return nil
}

// ours lists what earlier builds wrote into dir, in the order to remove it:
// SHA256SUMS first, so that what is left is no finished bundle.
func ours(dir string) ([]string, error) {
	names := []string{sumsName, sumsSigName}
	unfinished, err := readSmall(filepath.Join(dir, unfinishedName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking at the output folder: %w", err)
	}
	for _, name := range strings.Fields(string(unfinished)) {
		if filepath.Base(name) == name && strings.HasSuffix(name, archive.VolumeSuffix) {
			names = append(names, name, name+archive.PartialSuffix)
		}
	}
	data, err := readSmall(filepath.Join(dir, sumsName))
	if errors.Is(err, fs.ErrNotExist) {
		return append(names, unfinishedName), nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the output folder: %w", err)
	}
	listed, err := verify.ParseSums(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s of the bundle to replace: %w", sumsName, err)
	}
	for _, e := range listed {
		names = append(names, e.Name)
	}
	return append(names, unfinishedName), nil
}

func removeAll(dir string, names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clearing the output folder: %w", err)
		}
	}
	return nil
}

// sameButDate tells whether b, with the date of the document old, is old.
func sameButDate(old []byte, encode func() ([]byte, error)) bool {
	data, err := encode()
	return err == nil && bytes.Equal(data, old)
}
