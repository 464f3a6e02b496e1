package manifest

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// KindSignatures is the index of what lies in signatures/.
const KindSignatures = "Signatures"

// Names below signatures/ in a bundle. What is there is OCI content: manifests and
// blobs by digest, with an index of its own.
const (
	SignaturesPrefix    = "signatures/"
	SignaturesIndexName = SignaturesPrefix + "index.json"
	signatureBlobs      = SignaturesPrefix + "blobs/sha256/"
)

// SignatureBlobName is the name of a blob of signatures/.
func SignatureBlobName(d digest.Digest) string { return signatureBlobs + d.Encoded() }

// Signatures is signatures/index.json. It is not under the signature of bundle.json:
// each signature in it is checked by itself, by whoever uses it.
type Signatures struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Bundle is the digest of the bundle.json that the signatures were made for.
	Bundle digest.Digest `json:"bundle"`
	// Manifests are as in index.json, of kind ArtifactReferrer, each with its subject.
	Manifests []ocispec.Descriptor `json:"manifests"`
}

// Encode returns the canonical bytes of s.
func (s *Signatures) Encode() ([]byte, error) { return EncodeJSON(s) }

// DecodeSignatures decodes signatures/index.json strictly.
func DecodeSignatures(data []byte) (*Signatures, error) {
	var s Signatures
	if err := DecodeJSON(data, KindSignatures, &s); err != nil {
		return nil, fmt.Errorf("decoding the index of signatures: %w", err)
	}
	for _, d := range append([]digest.Digest{s.Bundle}, digestsOf(s.Manifests)...) {
		if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("decoding the index of signatures: digest %q is none", d)
		}
	}
	return &s, nil
}

func digestsOf(list []ocispec.Descriptor) []digest.Digest {
	out := make([]digest.Digest, len(list))
	for i, d := range list {
		out[i] = d.Digest
	}
	return out
}
