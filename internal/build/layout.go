package build

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// smallBlob bounds, in bytes, the blobs that are packed first: manifests and
// configs, so that whoever reads a volume from a slow medium has them at once.
const smallBlob = 64 << 10

// layout writes the documents of the bundle and plans its volumes.
//
// Inputs: what pin resolved, the packed forms that fetch made. Outputs: the
// archive's input and plan, signed. Rerunning is safe: the folder's bundle.json,
// if it says the same, gives its date and signature to this run.
func (r *run) layout(ctx context.Context) error {
	r.opts.Progress.Start("lay out", 0)
	blobs := r.packBlobs()
	files, err := r.documents()
	if err != nil {
		return err
	}
	var content int64
	plain := make([]archive.Blob, len(blobs))
	for i, b := range blobs {
		plain[i] = b.Blob
		content += b.Size
	}
	contents, err := archive.NewContents(files, plain).Encode()
	if err != nil {
		return err
	}
	r.result.Blobs, r.result.Bytes = len(blobs), content
	bundleJSON, err := r.describe(contents, files)
	if err != nil {
		return err
	}
	signature, err := r.sign(ctx, bundleJSON)
	if err != nil {
		return err
	}
	r.bundleJSON, r.signature = bundleJSON, signature
	r.result.Bundle = digest.FromBytes(bundleJSON).String()
	signatures, err := r.attest(ctx, digest.FromBytes(bundleJSON))
	if err != nil {
		return err
	}
	plan, err := archive.NewPlan(archive.Input{Bundle: bundleJSON, Signature: signature, Contents: contents, Files: files, Blobs: blobs, Signatures: signatures},
		archive.PlanOptions{
			VolumeSize: r.opts.VolumeSize,
			Prefix:     r.selection.Name,
			Frames:     func(b archive.Blob) ([]int64, error) { return archive.StoredFrames(ctx, storeSource{r}, b) },
		})
	r.plan = plan
	return r.heal(ctx, err)
}

// packBlobs lists every blob once: small ones first, then in install order.
func (r *run) packBlobs() []archive.PackBlob {
	var small, large []archive.PackBlob
	seen := map[digest.Digest]bool{}
	for _, d := range r.descriptors() {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		b := archive.PackBlob{Blob: archive.Blob{Digest: d.Digest, Size: d.Size, Encoding: archive.EncodingRaw}}
		if size, ok := r.store.Encoded(d.Digest); ok && size > 0 {
			b.Encoding, b.EncodedSize = archive.EncodingZstd, size
		}
		if d.Size <= smallBlob {
			small = append(small, b)
		} else {
			large = append(large, b)
		}
	}
	return append(small, large...)
}

// descriptors are those of every blob that the bundle holds, in install order,
// with repetitions.
func (r *run) descriptors() []ocispec.Descriptor {
	var out []ocispec.Descriptor
	for _, a := range r.artifacts() {
		out = append(out, a.descriptors()...)
	}
	return out
}

// documents are the metadata files of the bundle after contents.json.
func (r *run) documents() ([]archive.File, error) {
	lock, err := r.locked.Encode()
	if err != nil {
		return nil, err
	}
	index, err := manifest.EncodeJSON(r.index())
	if err != nil {
		return nil, err
	}
	layout, err := manifest.EncodeJSON(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return nil, err
	}
	files := []archive.File{{Name: "lock.yaml", Data: lock}}
	names := make([]string, 0, len(r.raw))
	for name := range r.raw {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		files = append(files, archive.File{Name: name, Data: r.raw[name]})
	}
	files = append(files, r.surveyFiles()...)
	return append(files, archive.File{Name: ocispec.ImageLayoutFile, Data: layout}, archive.File{Name: ocispec.ImageIndexFile, Data: index}), nil
}

// index is the bundle's index.json: an entry for every name that can be pulled.
func (r *run) index() ocispec.Index {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, a := range r.artifacts() {
		index.Manifests = append(index.Manifests, a.entries()...)
	}
	return index
}

// describe encodes bundle.json. Where the output folder holds a bundle.json that
// differs in its date alone, that date is kept.
func (r *run) describe(contents []byte, files []archive.File) ([]byte, error) {
	created, err := r.created()
	if err != nil {
		return nil, err
	}
	b := &manifest.Bundle{
		APIVersion:   manifest.APIVersion,
		Kind:         manifest.KindBundle,
		Release:      r.selection.Name,
		Profile:      r.selection.Profile,
		Components:   slices.Sorted(slices.Values(r.selection.IDs())),
		Platforms:    r.selection.Platforms,
		Created:      created,
		Builder:      manifest.Builder{Version: r.opts.Version, RegistryMap: r.opts.RegistryMap, Flags: r.contentFlags()},
		Contents:     digest.FromBytes(contents),
		Scan:         r.scanSummary(),
		NetworkClass: r.opts.NetworkClass,
	}
	for _, f := range files {
		switch f.Name {
		case "lock.yaml":
			b.Lock = digest.FromBytes(f.Data)
		case ocispec.ImageIndexFile:
			b.Index = digest.FromBytes(f.Data)
		}
	}
	if old, data := r.previous(); old != nil && r.opts.fixedDate() == "" {
		b.Created = old.Created
		if !sameButDate(data, b.Encode) {
			b.Created = created
		}
	}
	r.result.Scan = string(b.Scan.Verdict)
	r.result.Release = b.Release
	return b.Encode()
}

// contentFlags are the choices that changed what the bundle holds, as flags.
func (r *run) contentFlags() []string {
	var flags []string
	for _, id := range r.opts.Select.With {
		flags = append(flags, "--with="+id)
	}
	for _, id := range r.opts.Select.Without {
		flags = append(flags, "--without="+id)
	}
	for _, id := range r.opts.Select.Distributions {
		flags = append(flags, "--distro="+id)
	}
	slices.Sort(flags)
	return flags
}

// signedByUs tells whether signature is one over data by the key in use, as far
// as that can be told without its password.
func (r *run) signedByUs(data, signature []byte) bool {
	known, ok := r.opts.Signer.(interface{ KnownPublicKey() (verify.Key, bool) })
	if !ok {
		return false
	}
	key, ok := known.KnownPublicKey()
	if !ok {
		return false
	}
	_, err := verify.NewKeyring(key).VerifyBundle(data, signature)
	return err == nil
}

// previous is the bundle.json in the output folder with its bytes, or nil.
func (r *run) previous() (*manifest.Bundle, []byte) {
	data, err := readSmall(filepath.Join(r.opts.OutDir, bundleName))
	if err != nil {
		return nil, nil
	}
	old, err := manifest.DecodeBundle(data)
	if err != nil {
		return nil, nil
	}
	return old, data
}

// sign signs bundle.json. The signature already in the output folder serves when
// it is over the same bytes and verifies, so that a rerun asks for no password.
func (r *run) sign(ctx context.Context, bundleJSON []byte) ([]byte, error) {
	if r.opts.Signer == nil {
		return nil, nil
	}
	if old, err := readSmall(filepath.Join(r.opts.OutDir, bundleName)); err == nil && bytes.Equal(old, bundleJSON) {
		signature, err := readSmall(filepath.Join(r.opts.OutDir, signatureName))
		if err == nil && r.signedByUs(bundleJSON, signature) {
			return signature, nil
		}
	}
	release := r.opts.Progress.Hold() // a password may be asked for
	signature, err := r.opts.Signer.SignBundle(ctx, bundleJSON)
	release()
	if err != nil {
		return nil, fmt.Errorf("signing the bundle: %w", err)
	}
	return signature, nil
}
