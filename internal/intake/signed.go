package intake

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/sign/verify"
)

// Signed is a bundle with its signatures and attestations as content beside its own:
// referrers and cosign tags of what it carries.
type Signed struct {
	*Bundle
	index ocispec.Index
	files map[digest.Digest]string
	// Signatures and Attestations count what was verified.
	Signatures   int
	Attestations int
}

// ErrOtherBundle says that the signatures in a bundle were made for another one.
var ErrOtherBundle = errors.New("the signatures were made for another bundle")

// WithSignatures reads what lies in signatures/ and checks each signature and
// attestation with the trusted keys, unless the bundle was opened without. One that
// does not verify is an error, for somebody changed the medium: those of package
// verify, or ErrOtherBundle. A bundle without signatures has none.
func (b *Bundle) WithSignatures(ctx context.Context) (*Signed, error) {
	s := &Signed{Bundle: b, index: b.Index(), files: map[digest.Digest]string{}}
	names := b.SignatureFiles()
	if !slices.Contains(names, manifest.SignaturesIndexName) {
		return s, nil
	}
	data, err := b.ReadSignatureFile(ctx, manifest.SignaturesIndexName)
	if err != nil {
		return nil, err
	}
	list, err := manifest.DecodeSignatures(data)
	if err != nil {
		return nil, s.damaged(&verify.MalformedError{What: "signatures", Name: manifest.SignaturesIndexName, Err: err})
	}
	if list.Bundle != b.BundleDigest() {
		return nil, s.damaged(ErrOtherBundle)
	}
	held := map[string]bool{}
	for _, name := range names {
		held[name] = true
	}
	s.collect(list, held)
	if err := s.whole(ctx); err != nil {
		return nil, err
	}
	if err := s.listed(list); err != nil {
		return nil, s.damaged(&verify.MalformedError{What: "signatures", Name: manifest.SignaturesIndexName, Err: err})
	}
	checked := map[digest.Digest]ocispec.Descriptor{}
	for _, d := range list.Manifests {
		if !held[manifest.SignatureBlobName(d.Digest)] {
			if err := s.upstreams(d); err != nil {
				return nil, err
			}
			continue
		}
		if first, seen := checked[d.Digest]; seen {
			if !sameContent(first, d) {
				return nil, s.damaged(fmt.Errorf("it lists %s twice, as different things", d.Digest))
			}
			continue
		}
		checked[d.Digest] = d
		if err := s.check(ctx, d); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// collect merges the index of the signatures into the bundle's: a tag of ours stands
// in the place of upstream's, whose signatures it holds as well.
func (s *Signed) collect(list *manifest.Signatures, held map[string]bool) {
	ours := map[string]bool{}
	for _, d := range list.Manifests {
		ours[d.Annotations[ocispec.AnnotationRefName]] = true
	}
	s.index.Manifests = slices.DeleteFunc(slices.Clone(s.index.Manifests), func(d ocispec.Descriptor) bool {
		return ours[d.Annotations[ocispec.AnnotationRefName]]
	})
	s.index.Manifests = append(s.index.Manifests, list.Manifests...)
	for name := range held {
		const hexDigits = 64
		if len(name) < hexDigits {
			continue
		}
		d := digest.NewDigestFromEncoded(digest.SHA256, name[len(name)-hexDigits:])
		if d.Validate() == nil && manifest.SignatureBlobName(d) == name {
			s.files[d] = name
		}
	}
}

// damaged blames the index of the signatures, which the last volume holds.
func (s *Signed) damaged(err error) error {
	volumes := s.Volumes()
	return fmt.Errorf("reading the signatures: %w", &archive.DamagedError{Volume: volumes[len(volumes)-1].Path, Entry: manifest.SignaturesIndexName, Err: err})
}

// listed checks what nobody signed: that the index lists what is there, in a repository
// that the bundle has, by its digest or by the tag that cosign looks under.
func (s *Signed) listed(list *manifest.Signatures) error {
	sizes, repositories := map[digest.Digest]int64{}, map[string]bool{}
	for _, b := range s.Contents().Blobs {
		sizes[b.Digest] = b.Size
	}
	for _, d := range s.Bundle.Index().Manifests {
		name, _ := splitReference(d.Annotations[ocispec.AnnotationRefName])
		repositories[name] = true
	}
	for _, d := range list.Manifests {
		size, carried := sizes[d.Digest]
		if _, here := s.files[d.Digest]; !here && (!carried || size != d.Size) {
			return fmt.Errorf("it lists %s of %d bytes, which is not carried", d.Digest, d.Size)
		}
		ref, subject := d.Annotations[ocispec.AnnotationRefName], d.Annotations[manifest.AnnotationSubject]
		name, rest := splitReference(ref)
		if !repositories[name] || rest != "@"+d.Digest.String() && rest != ":"+strings.Replace(subject, ":", "-", 1)+".sig" {
			return fmt.Errorf("it lists %s as %q, which is not its place", d.Digest, ref)
		}
		if kind := d.Annotations[manifest.AnnotationKind]; kind != string(manifest.ArtifactReferrer) || len(d.Annotations) != 3 {
			return fmt.Errorf("it lists %s as kind %q", d.Digest, kind)
		}
	}
	return nil
}

// splitReference cuts a reference before its tag or digest.
func splitReference(ref string) (name, rest string) {
	i := strings.Index(ref, "@")
	if i < 0 {
		i = strings.LastIndex(ref, ":")
	}
	if i < 0 || i < strings.LastIndex(ref, "/") {
		return ref, ""
	}
	return ref[:i], ref[i:]
}

// Index is that of the bundle with the signatures.
func (s *Signed) Index() ocispec.Index { return s.index }

// OpenBlob opens what the bundle carries, or a part of a signature, checked.
func (s *Signed) OpenBlob(ctx context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	blob, err := s.Bundle.OpenBlob(ctx, d)
	if !errors.Is(err, fs.ErrNotExist) {
		return blob, err
	}
	data, err := s.read(ctx, d)
	if err != nil {
		return nil, err
	}
	return verified{bytes.NewReader(data)}, nil
}

// verified is content in memory whose digest was compared.
type verified struct{ *bytes.Reader }

func (verified) Close() error                 { return nil }
func (verified) Verify(context.Context) error { return nil }

// read reads a part of a signature against its digest; fs.ErrNotExist for none.
func (s *Signed) read(ctx context.Context, d digest.Digest) ([]byte, error) {
	name, ok := s.files[d]
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", d, fs.ErrNotExist)
	}
	data, err := s.ReadSignatureFile(ctx, name)
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d {
		volumes := s.Volumes()
		return nil, fmt.Errorf("reading the signatures: %w", &archive.DamagedError{Volume: volumes[len(volumes)-1].Path, Entry: name, Want: d, Got: got, Err: archive.ErrDigest})
	}
	return data, nil
}

// whole reads every part of every signature, those too that no check looks at: what
// the signature of bundle.json does not cover is at least what its name says.
func (s *Signed) whole(ctx context.Context) error {
	for _, d := range slices.Sorted(maps.Keys(s.files)) {
		if _, err := s.read(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// upstreams checks what is listed of a manifest that is not in signatures/: it is
// upstream's, and the bundle's own index, which is signed, says the same of it.
func (s *Signed) upstreams(d ocispec.Descriptor) error {
	if slices.ContainsFunc(s.Bundle.Index().Manifests, func(o ocispec.Descriptor) bool { return sameContent(o, d) }) {
		return nil
	}
	return s.damaged(fmt.Errorf("it lists %s otherwise than the bundle does", d.Digest))
}

// sameContent tells whether two entries of an index are alike in all but their names.
func sameContent(a, b ocispec.Descriptor) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType && a.ArtifactType == b.ArtifactType &&
		a.Annotations[manifest.AnnotationSubject] == b.Annotations[manifest.AnnotationSubject]
}

// check verifies what one manifest of signatures/ holds.
func (s *Signed) check(ctx context.Context, d ocispec.Descriptor) error {
	subject := digest.Digest(d.Annotations[manifest.AnnotationSubject])
	data, err := s.read(ctx, d.Digest)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil || len(m.Layers) == 0 {
		return &verify.MalformedError{What: "signature", Name: d.Digest.String(), Err: errors.Join(err, errors.New("it has no layers"))}
	}
	if m.MediaType != d.MediaType || m.ArtifactType != d.ArtifactType || int64(len(data)) != d.Size {
		return s.damaged(fmt.Errorf("it lists %s as %q of %d bytes", d.Digest, d.MediaType, d.Size))
	}
	if m.Subject != nil && m.Subject.Digest != subject {
		return s.damaged(fmt.Errorf("it lists %s, which speaks of %s, for %s", d.Digest, m.Subject.Digest, subject))
	}
	switch {
	case s.ring != nil:
		return s.checkSigner(ctx, s.ring, &m, subject)
	case s.revoked != nil: // opened for whoever signed, but these
		return onlyRevoked(s.checkSigner(ctx, s.revoked, &m, subject))
	}
	return nil // opened without asking who signed
}

func (s *Signed) checkSigner(ctx context.Context, ring *verify.Keyring, m *ocispec.Manifest, subject digest.Digest) error {
	if m.Subject != nil {
		return s.checkAttestation(ctx, ring, m, subject)
	}
	return s.checkSignature(ctx, ring, m, subject)
}

// checkSignature wants one good signature among those of a cosign tag: others are
// upstream's. Where there is none, one of a revoked key is the reason.
func (s *Signed) checkSignature(ctx context.Context, ring *verify.Keyring, m *ocispec.Manifest, subject digest.Digest) error {
	var errs []error
	for _, layer := range slices.Backward(m.Layers) {
		signature, err := base64.StdEncoding.DecodeString(layer.Annotations[verify.AnnotationSignature])
		if err != nil {
			errs = append(errs, &verify.MalformedError{What: "signature", Err: err})
			continue
		}
		payload, err := s.readAll(ctx, layer.Digest)
		if err != nil {
			return err
		}
		if _, err = ring.VerifyImage(payload, signature, subject); err == nil {
			s.Signatures++
			return nil
		}
		errs = append(errs, err)
	}
	if err := onlyRevoked(errors.Join(errs...)); err != nil {
		return err
	}
	return errs[0]
}

func (s *Signed) checkAttestation(ctx context.Context, ring *verify.Keyring, m *ocispec.Manifest, subject digest.Digest) error {
	bundle, err := s.readAll(ctx, m.Layers[0].Digest)
	if err != nil {
		return err
	}
	if _, _, err := ring.VerifyAttestation(bundle, subject, m.Annotations[verify.AnnotationPredicateType]); err != nil {
		return err
	}
	s.Attestations++
	return nil
}

// readAll reads a part of a signature, ours or upstream's.
func (s *Signed) readAll(ctx context.Context, d digest.Digest) ([]byte, error) {
	blob, err := s.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = blob.Close() }()
	return io.ReadAll(io.LimitReader(blob, verify.MaxAttestationSize))
}

// WithAllSignatures is WithSignatures of each.
func WithAllSignatures(ctx context.Context, list []*Bundle) ([]*Signed, error) {
	out := make([]*Signed, len(list))
	for i, b := range list {
		var err error
		if out[i], err = b.WithSignatures(ctx); err != nil {
			return nil, fmt.Errorf("checking the signatures in bundle %s: %w", b.BundleDigest(), err)
		}
	}
	return out, nil
}
