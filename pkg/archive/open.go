package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// Verifier checks the signature of bundle.json, whose file is empty in a bundle
// that was not signed. It gets bytes nobody has parsed yet.
type Verifier func(bundleJSON, signature []byte) error

// ErrNoVerifier says that Open was called without a verifier.
var ErrNoVerifier = errors.New("no verifier given")

// maxExtraFrames is how many frames more than contents.json accounts for all
// volumes together may have: those of signatures, of volume.json, of toc.json.
const maxExtraFrames = 1 << 17

// Open opens the bundle that the volumes at paths belong to. A path is a volume or
// a folder; of a folder all volumes are taken, and beside a volume the others of
// its bundle are found, by what they contain whatever they are called, except
// those whose name ends in ".partial".
//
// The signature is verified before any of what it covers is parsed, and contents
// are read only against digests that descend from it. The errors are
// *NotABundleError, *MissingVolumeError, *DuplicateVolumeError, *ForeignVolumeError,
// *DamagedError, *manifest.VersionError for another format, and what v returns.
func Open(ctx context.Context, paths []string, v Verifier) (*Reader, error) {
	if v == nil {
		return nil, fmt.Errorf("opening bundle: %w", ErrNoVerifier)
	}
	return open(ctx, paths, v)
}

// OpenUnsafe is Open without a signature: whoever made the volumes decides what
// they say. Digests are still compared.
func OpenUnsafe(ctx context.Context, paths []string) (*Reader, error) {
	return open(ctx, paths, func(_, _ []byte) error { return nil })
}

func open(ctx context.Context, paths []string, v Verifier) (_ *Reader, err error) {
	dec, err := frame.NewDecoder(decoders)
	if err != nil {
		return nil, err
	}
	o := &opener{dec: dec}
	defer func() {
		if err != nil {
			dec.Close()
			err = errors.Join(append([]error{err}, closeAll(o.volumes)...)...)
		}
	}()
	if err := o.find(ctx, paths); err != nil {
		return nil, err
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	first := o.volumes[0]
	if err := v(first.bundle, first.signature); err != nil {
		return nil, fmt.Errorf("verifying the signature in volume %q: %w", first.path, err)
	}
	return newReader(ctx, o.volumes, dec)
}

// opener finds the volumes of a bundle.
type opener struct {
	dec     *frame.Decoder
	volumes []*volume
	bundle  digest.Digest // empty until the first volume is known
}

// find opens the volumes that paths name and those beside them.
func (o *opener) find(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return &NotABundleError{}
	}
	var dirs []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("opening bundle: %w", err)
		}
		if info.IsDir() {
			if err := o.folder(ctx, path, false); err != nil {
				return err
			}
			continue
		}
		if err := o.named(path); err != nil {
			return err
		}
		if dir := filepath.Dir(path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := o.folder(ctx, dir, true); err != nil {
			return err
		}
	}
	return nil
}

// named adds the volume at path.
func (o *opener) named(path string) error {
	v, err := openVolume(path, o.dec)
	if err != nil {
		return err
	}
	return o.add(v)
}

// add takes v over. A file that is there already, by another name, is left out.
func (o *opener) add(v *volume) error {
	for _, other := range o.volumes {
		if os.SameFile(other.info, v.info) {
			return v.close()
		}
	}
	if o.bundle == "" {
		o.bundle = v.doc.Bundle
	}
	if v.doc.Bundle != o.bundle {
		return errors.Join(&ForeignVolumeError{Path: v.path, Other: o.volumes[0].path, Want: o.bundle, Got: v.doc.Bundle}, v.close())
	}
	o.volumes = append(o.volumes, v)
	return nil
}

// folder adds the volumes in dir: all of them, or only siblings, those of the
// bundle that is being opened. Other files are passed over.
func (o *opener) folder(ctx context.Context, dir string, siblings bool) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("opening bundle: %w", err)
	}
	found := false
	var rejected error
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if strings.HasSuffix(f.Name(), PartialSuffix) || f.IsDir() {
			continue
		}
		v, err := openVolume(filepath.Join(dir, f.Name()), o.dec)
		if err != nil {
			rejected = errors.Join(rejected, reject(err))
			continue
		}
		if siblings && v.doc.Bundle != o.bundle {
			if err := v.close(); err != nil {
				return fmt.Errorf("opening bundle: %w", err)
			}
			continue
		}
		if err := o.add(v); err != nil {
			return err
		}
		found = true
	}
	switch {
	case found || siblings:
		return nil
	case rejected != nil:
		return rejected
	}
	return &NotABundleError{Path: dir}
}

// reject returns an error only if it says more of a file than that it is no volume.
func reject(err error) error {
	var damaged *DamagedError
	var version *manifest.VersionError
	if errors.As(err, &damaged) || errors.As(err, &version) {
		return err
	}
	return nil
}

// complete puts the volumes in order, reads their heads and demands that each is
// there once and that they agree.
func (o *opener) complete() error {
	slices.SortStableFunc(o.volumes, func(a, b *volume) int { return cmp.Compare(a.doc.Number, b.doc.Number) })
	first := o.volumes[0]
	for i, v := range o.volumes {
		if v.doc.Count != first.doc.Count {
			return v.damaged(VolumeName, fmt.Errorf("of %d volumes, where %q says %d", v.doc.Count, first.path, first.doc.Count))
		}
		if i > 0 && o.volumes[i-1].doc.Number == v.doc.Number {
			return &DuplicateVolumeError{Number: v.doc.Number, Paths: [2]string{o.volumes[i-1].path, v.path}}
		}
	}
	if len(o.volumes) < first.doc.Count {
		missing := &MissingVolumeError{Count: first.doc.Count}
		for n, i := 1, 0; n <= first.doc.Count; n++ {
			if i < len(o.volumes) && o.volumes[i].doc.Number == n {
				i++
				continue
			}
			missing.Missing = append(missing.Missing, n)
		}
		return missing
	}
	for _, v := range o.volumes {
		if err := v.readHead(); err != nil {
			return err
		}
		if !bytes.Equal(v.signature, first.signature) {
			return v.damaged(SignatureName, fmt.Errorf("another one than in %q", first.path))
		}
		v.bundle, v.signature = first.bundle, first.signature
	}
	return nil
}

func closeAll(volumes []*volume) []error {
	var errs []error
	for _, v := range volumes {
		errs = append(errs, v.close())
	}
	return errs
}
