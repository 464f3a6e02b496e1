// Package attest writes signatures and attestations of OCI content in the forms that
// cosign 2 and 3 read: a signature as an image under the tag sha256-<hex>.sig, an
// attestation as a sigstore bundle that refers to its subject.
//
// It makes what is to be signed and puts the signature in its place; who signs, and
// with which key, is the caller's. Signatures are ASN.1 over the SHA-256 of what is
// signed. Package verify reads what is written here.
package attest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/sign/verify"
)

// Blob is content with what describes it.
type Blob struct {
	ocispec.Descriptor
	Data []byte
}

func newBlob(mediaType string, data []byte) Blob {
	return Blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}, data}
}

// Artifact is a signature or attestation as OCI content: its manifest, and the blobs
// that the manifest names.
type Artifact struct {
	// Subject is what it speaks of.
	Subject  digest.Digest
	Manifest Blob
	Blobs    []Blob
	// Tag under which cosign looks for it; empty for an OCI referrer.
	Tag string
}

// Payload is what a signature of subject signs. The name is the repository the
// subject comes from; nobody verifies it.
func Payload(name string, subject digest.Digest) ([]byte, error) {
	var p struct {
		Critical struct {
			Identity struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
			Type string `json:"type"`
		} `json:"critical"`
		Optional *struct{} `json:"optional"`
	}
	p.Critical.Identity.Reference = name
	p.Critical.Image.Digest = subject
	p.Critical.Type = verify.SignatureType
	return encode(p)
}

// Signature is the image that holds a signature over a Payload, beside the signatures
// that others has, as their maker described them: cosign has one tag for all of them.
func Signature(payload, signature []byte, subject digest.Digest, others []ocispec.Descriptor) (*Artifact, error) {
	layer := newBlob(verify.SimpleSigningType, payload)
	layer.Annotations = map[string]string{verify.AnnotationSignature: base64.StdEncoding.EncodeToString(signature)}
	layers := append(slices.Clone(others), layer.Descriptor)
	var ids []digest.Digest
	for _, l := range layers {
		ids = append(ids, l.Digest) // the layers are not compressed
	}
	config, err := encode(ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: ids}})
	if err != nil {
		return nil, err
	}
	configBlob := newBlob(ocispec.MediaTypeImageConfig, config)
	data, err := encode(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configBlob.Descriptor, Layers: layers})
	if err != nil {
		return nil, err
	}
	return &Artifact{Subject: subject, Manifest: newBlob(ocispec.MediaTypeImageManifest, data), Blobs: []Blob{configBlob, layer}, Tag: SignatureTag(subject)}, nil
}

// SignatureTag is the tag under which cosign looks for the signature of a digest.
func SignatureTag(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) + ".sig" }

// Statement is what an attestation says of subject: an in-toto statement with a
// predicate, which is JSON.
func Statement(name string, subject digest.Digest, predicateType string, predicate []byte) ([]byte, error) {
	s := struct {
		Type          string             `json:"_type"`
		PredicateType string             `json:"predicateType"`
		Subject       []statementSubject `json:"subject"`
		Predicate     rawJSON            `json:"predicate"`
	}{verify.StatementType, predicateType, []statementSubject{{name, map[string]string{"sha256": subject.Encoded()}}}, predicate}
	return encode(s)
}

type statementSubject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// rawJSON is a JSON document put in as it is.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// envelope is the part of a sigstore bundle v0.3 that an attestation by key needs,
// written out by hand for the reason that package sign has.
type envelope struct {
	MediaType            string `json:"mediaType"`
	VerificationMaterial struct {
		PublicKey struct {
			Hint []byte `json:"hint"`
		} `json:"publicKey"`
	} `json:"verificationMaterial"`
	DSSE struct {
		Payload     []byte              `json:"payload"`
		PayloadType string              `json:"payloadType"`
		Signatures  []envelopeSignature `json:"signatures"`
	} `json:"dsseEnvelope"`
}

type envelopeSignature struct {
	Sig []byte `json:"sig"`
}

// Attestation is the referrer that holds a statement with a signature over its
// verify.PreAuthentication by key.
func Attestation(statement, signature []byte, key verify.Key, subject ocispec.Descriptor, predicateType string) (*Artifact, error) {
	fingerprint, err := hex.DecodeString(key.Fingerprint())
	if err != nil {
		return nil, fmt.Errorf("making an attestation: %w", err)
	}
	e := envelope{MediaType: verify.MediaType}
	e.VerificationMaterial.PublicKey.Hint = fingerprint
	e.DSSE.Payload, e.DSSE.PayloadType = statement, verify.PayloadType
	e.DSSE.Signatures = []envelopeSignature{{signature}}
	bundle, err := encode(e)
	if err != nil {
		return nil, err
	}
	layer := newBlob(verify.MediaType, bundle)
	config := newBlob(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	data, err := encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: verify.MediaType,
		Config: config.Descriptor, Layers: []ocispec.Descriptor{layer.Descriptor},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: map[string]string{
			verify.AnnotationContent:       "dsse-envelope",
			verify.AnnotationPredicateType: predicateType,
		},
	})
	if err != nil {
		return nil, err
	}
	manifestBlob := newBlob(ocispec.MediaTypeImageManifest, data)
	manifestBlob.ArtifactType = verify.MediaType
	return &Artifact{Subject: subject.Digest, Manifest: manifestBlob, Blobs: []Blob{config, layer}}, nil
}

// encode is JSON without a newline at its end.
func encode(v any) ([]byte, error) {
	data, err := manifest.EncodeJSON(v)
	if err != nil {
		return nil, fmt.Errorf("writing a signature: %w", err)
	}
	return data[:len(data)-1], nil
}
