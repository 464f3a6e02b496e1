package intake_test

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/sign"
	"naru/pkg/sign/attest"
	"naru/pkg/sign/verify"
)

// blobs is a Source of content that is stored raw.
type blobs map[digest.Digest][]byte

func (b blobs) OpenStored(_ context.Context, blob archive.Blob) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b[blob.Digest])), nil
}

func (b blobs) add(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	b[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func named(d ocispec.Descriptor, ref string, kind manifest.ArtifactKind, subject digest.Digest) ocispec.Descriptor {
	d = ocispec.Descriptor{MediaType: d.MediaType, ArtifactType: d.ArtifactType, Digest: d.Digest, Size: d.Size,
		Annotations: map[string]string{ocispec.AnnotationRefName: ref, manifest.AnnotationKind: string(kind)}}
	if subject != "" {
		d.Annotations[manifest.AnnotationSubject] = subject.String()
	}
	return d
}

// signedTwice is a bundle of one image in two repositories, which upstream signed in one
// of them: with our signatures of both, and an attestation that is listed in both.
type signedTwice struct {
	t      *testing.T
	signer *sign.Signer
	pub    string

	input archive.Input
	blobs blobs
	list  manifest.Signatures
	files []archive.File
}

func newSignedTwice(t *testing.T) *signedTwice {
	s := &signedTwice{t: t, blobs: blobs{}}
	s.signer, s.pub = newKey(t)
	key := must(verify.ParseKey(s.pub, must(s.signer.PublicKeyPEM(t.Context()))(t)))(t)
	config := s.blobs.add(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux"}`))
	image := s.manifest(ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{s.blobs.add(ocispec.MediaTypeImageLayerGzip, []byte("layer"))}})
	theirs := s.manifest(ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{s.blobs.add(verify.SimpleSigningType, []byte("theirs"))}})
	tag := attest.SignatureTag(image.Digest)
	s.bundle([]ocispec.Descriptor{
		named(image, "a.test/app:1", manifest.ArtifactImage, ""), named(image, "b.test/app:1", manifest.ArtifactImage, ""),
		named(theirs, "a.test/app:"+tag, manifest.ArtifactReferrer, image.Digest),
	})
	payload := must(attest.Payload("a.test/app", image.Digest))(t)
	signature := must(attest.Signature(payload, must(s.signer.SignDetached(t.Context(), payload))(t), image.Digest, nil))(t)
	statement := must(attest.Statement("a.test/app", image.Digest, verify.PredicateCycloneDX, []byte("{}")))(t)
	signed := must(s.signer.SignDetached(t.Context(), verify.PreAuthentication(verify.PayloadType, statement)))(t)
	attestation := must(attest.Attestation(statement, signed, key, image, verify.PredicateCycloneDX))(t)
	for _, a := range []*attest.Artifact{signature, attestation} {
		for _, b := range append(a.Blobs, a.Manifest) {
			if _, carried := s.blobs[b.Digest]; !carried {
				s.files = append(s.files, archive.File{Name: manifest.SignatureBlobName(b.Digest), Data: b.Data})
			}
		}
	}
	s.list = manifest.Signatures{APIVersion: manifest.APIVersion, Kind: manifest.KindSignatures, Bundle: digest.FromBytes(s.input.Bundle)}
	for _, name := range []string{"a.test/app", "b.test/app"} {
		s.list.Manifests = append(s.list.Manifests,
			named(signature.Manifest.Descriptor, name+":"+tag, manifest.ArtifactReferrer, image.Digest),
			named(attestation.Manifest.Descriptor, name+"@"+attestation.Manifest.Digest.String(), manifest.ArtifactReferrer, image.Digest))
	}
	s.list.Manifests = append(s.list.Manifests, named(theirs, "a.test/app@"+theirs.Digest.String(), manifest.ArtifactReferrer, image.Digest))
	return s
}

func (s *signedTwice) manifest(m ocispec.Manifest) ocispec.Descriptor {
	m.Versioned, m.MediaType = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest
	return s.blobs.add(m.MediaType, must(manifest.EncodeJSON(m))(s.t))
}

// bundle makes the documents that are signed.
func (s *signedTwice) bundle(manifests []ocispec.Descriptor) {
	index := must(manifest.EncodeJSON(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: manifests}))(s.t)
	s.input.Files = []archive.File{{Name: archive.LockName, Data: []byte("lock: true\n")}, {Name: archive.IndexName, Data: index}}
	var plain []archive.Blob
	for d, data := range s.blobs {
		b := archive.Blob{Digest: d, Size: int64(len(data)), Encoding: archive.EncodingRaw}
		plain, s.input.Blobs = append(plain, b), append(s.input.Blobs, archive.PackBlob{Blob: b})
	}
	s.input.Contents = must(archive.NewContents(s.input.Files, plain).Encode())(s.t)
	b := &manifest.Bundle{
		APIVersion: manifest.APIVersion, Kind: manifest.KindBundle, Release: "test", Components: []string{"a"}, Platforms: []string{"linux/amd64"},
		Created: "2025-01-01T00:00:00Z", Builder: manifest.Builder{Version: "test"}, Contents: digest.FromBytes(s.input.Contents),
		Lock: digest.FromBytes(s.input.Files[0].Data), Index: digest.FromBytes(index), Scan: manifest.Scan{Verdict: manifest.VerdictSkipped},
	}
	s.input.Bundle = must(b.Encode())(s.t)
	s.input.Signature = must(s.signer.SignBundle(s.t.Context(), s.input.Bundle))(s.t)
}

// read packs the bundle with this index of signatures and reads it.
func (s *signedTwice) read(index []byte) (volume string, _ *intake.Signed, _ error) {
	s.t.Helper()
	in := s.input
	in.Signatures = append(slices.Clone(s.files), archive.File{Name: manifest.SignaturesIndexName, Data: index})
	plan := must(archive.NewPlan(in, archive.PlanOptions{Prefix: "test"}))(s.t)
	dir := s.t.TempDir()
	must(plan.Write(s.t.Context(), dir, s.blobs, archive.WriteOptions{}))(s.t)
	b := must(intake.Open(s.t.Context(), intake.Options{Paths: []string{dir}, Keys: []string{s.pub}}))(s.t)
	defer func() { _ = b.Close() }()
	signed, err := b.WithSignatures(s.t.Context())
	return filepath.Join(dir, plan.Volumes[0].Name), signed, err
}

// TestIndexOfAttestations is TestIndexOfSignatures for what a bundle without a scan does
// not have: attestations, what is listed in two repositories, and what upstream signed.
func TestIndexOfAttestations(t *testing.T) {
	s := newSignedTwice(t)
	index := must(s.list.Encode())(t)
	_, signed, err := s.read(index)
	if err != nil || signed.Signatures != 1 || signed.Attestations != 1 {
		t.Fatalf("%+v, %v", signed, err)
	}
	for i, m := range s.list.Manifests {
		for name, change := range map[string]func(*ocispec.Descriptor){
			"subject": func(d *ocispec.Descriptor) {
				d.Annotations[manifest.AnnotationSubject] = digest.FromString("other").String()
			},
			"mediaType": func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex },
			"type":      func(d *ocispec.Descriptor) { d.ArtifactType += "x" },
			"size":      func(d *ocispec.Descriptor) { d.Size++ },
		} {
			list := s.list
			list.Manifests = slices.Clone(list.Manifests)
			changed := named(m, m.Annotations[ocispec.AnnotationRefName], manifest.ArtifactReferrer, digest.Digest(m.Annotations[manifest.AnnotationSubject]))
			change(&changed)
			list.Manifests[i] = changed
			volume, _, err := s.read(must(list.Encode())(t))
			if !as[*archive.DamagedError](err) || !strings.Contains(err.Error(), volume) {
				t.Errorf("%s of %q changed: got %v, want a *DamagedError that names the volume", name, m.Annotations[ocispec.AnnotationRefName], err)
			}
		}
	}
}
