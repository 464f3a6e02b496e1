package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Kinds of the documents naru writes. Every one carries APIVersion beside its
// kind and is decoded strictly.
const (
	// APIVersion is the version of every document of this release of naru.
	APIVersion = "naru/v1"

	KindRelease   = "Release"
	KindComponent = "Component"

	// KindDistribution is an operating system whose packages are carried.
	KindDistribution = "Distribution"

	KindContent  = "Content"
	KindLock     = "Lock"
	KindBundle   = "Bundle"
	KindContents = "Contents"
	KindVolume   = "Volume"
)

// Annotations on the descriptors of a bundle's index.json, beside the OCI
// org.opencontainers.image.ref.name, which holds the full reference
// ("registry.k8s.io/pause:3.10", or "host/repo@sha256:..." for an untagged
// manifest such as a referrer).
const (
	// AnnotationKind is one of the ArtifactKind values.
	AnnotationKind = "vnd.naru.kind"
	// AnnotationSubject is the digest of the manifest that a referrer or a
	// cosign tag speaks of.
	AnnotationSubject = "vnd.naru.subject"
)

// ArtifactKind says what an artifact of the lock or of index.json is.
type ArtifactKind string

// The artifact kinds of format v1.
const (
	ArtifactImage    ArtifactKind = "image"
	ArtifactFile     ArtifactKind = "file"
	ArtifactReferrer ArtifactKind = "referrer"
	ArtifactChart    ArtifactKind = "chart"
	ArtifactPackages ArtifactKind = "packages"
)

// Bundle is bundle.json, the one signed document of a bundle: its digest is the
// bundle's identity and everything but signatures/ hangs off it by digest.
type Bundle struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Release names the release the content came from.
	Release string `json:"release"`
	// Profile and Components say what of the release was selected; the
	// components are closed over requires and sorted.
	Profile    string   `json:"profile,omitempty"`
	Components []string `json:"components"`
	// Platforms carried, "os/arch[/variant]", sorted.
	Platforms []string `json:"platforms"`
	// Created is SOURCE_DATE_EPOCH or the time of the build, RFC 3339, UTC.
	Created string  `json:"created"`
	Builder Builder `json:"builder"`
	// Contents, Lock and Index are the digests of contents.json, lock.yaml and
	// index.json in the bundle.
	Contents digest.Digest `json:"contents"`
	Lock     digest.Digest `json:"lock"`
	Index    digest.Digest `json:"index"`
	Scan     Scan          `json:"scan"`
	// NetworkClass is the class of the network it is for, by N2SF: C, S or O; empty
	// where nobody said.
	NetworkClass string `json:"networkClass,omitempty"`
	// Base is, for a delta, the digest of the bundle.json it builds on.
	Base digest.Digest `json:"base,omitempty"`
}

// Builder records the tool and the flags that changed content.
type Builder struct {
	Version     string            `json:"version"`
	RegistryMap map[string]string `json:"registryMap,omitempty"`
	Waivers     []string          `json:"waivers,omitempty"`
	Flags       []string          `json:"flags,omitempty"`
}

// Encode returns the canonical bytes of b: compact JSON, fields in declaration
// order, maps sorted, one trailing newline.
func (b *Bundle) Encode() ([]byte, error) { return EncodeJSON(b) }

// ErrNotCanonical says that a document is not spelled as naru writes it.
var ErrNotCanonical = errors.New("not in canonical form")

// DecodeBundle decodes bundle.json strictly: bytes that Encode would not write are
// ErrNotCanonical, which rules out repeated fields and all that two parsers could take
// for two things. A document of another apiVersion is a *VersionError.
func DecodeBundle(data []byte) (*Bundle, error) {
	var b Bundle
	if err := DecodeJSON(data, KindBundle, &b); err != nil {
		return nil, fmt.Errorf("decoding bundle.json: %w", err)
	}
	again, err := b.Encode()
	if err != nil {
		return nil, fmt.Errorf("decoding bundle.json: %w", err)
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("decoding bundle.json: %w", ErrNotCanonical)
	}
	for name, d := range map[string]digest.Digest{"contents": b.Contents, "lock": b.Lock, "index": b.Index} {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("decoding bundle.json: %s digest %q: %w", name, d, err)
		}
	}
	return &b, nil
}

// VersionError says that a document was written by another version of naru.
type VersionError struct {
	Kind       string // what the document is, or should be
	APIVersion string // what it says
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has apiVersion %q, this version of naru reads %q", e.Kind, e.APIVersion, APIVersion)
}

// EncodeJSON is the canonical JSON encoding of every document naru writes as
// JSON: compact, no HTML escapes, maps sorted, one trailing newline.
func EncodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return buf.Bytes(), nil
}

// DecodeJSON decodes one JSON document of the given kind strictly into v: an
// unknown field, trailing data or another kind is an error, another apiVersion a
// *VersionError.
func DecodeJSON(data []byte, kind string, v any) error {
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(data, &head); err != nil {
		return err
	}
	if head.Kind != kind {
		return fmt.Errorf("kind is %q, want %q", head.Kind, kind)
	}
	if head.APIVersion != APIVersion {
		return &VersionError{Kind: kind, APIVersion: head.APIVersion}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.More() {
		return fmt.Errorf("data after the document")
	}
	return nil
}
