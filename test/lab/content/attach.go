package content

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"naru/test/lab/layout"
)

// sbomType is the artifact type of the SBOMs.
const sbomType = "application/vnd.cyclonedx+json"

// labKey is the key of the lab's upstream vendor. It is no secret: it comes from a
// fixed string, so that signatures are the same in every build.
func labKey() (*ecdsa.PrivateKey, error) {
	seed := sha256.Sum256([]byte("naru lab: an upstream vendor's cosign key"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		return nil, fmt.Errorf("making the lab's key: %w", err)
	}
	return key, nil
}

// PublicKey is the PEM of the key that the lab's images are signed with.
func PublicKey() ([]byte, error) {
	key, err := labKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding the lab's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// sign stores a cosign signature of subject under the tag cosign looks for.
func (b *builder) sign(repo string, subject ocispec.Descriptor) error {
	ref, err := name.NewDigest(repo + "@" + subject.Digest.String())
	if err != nil {
		return fmt.Errorf("signing %s: %w", subject.Digest, err)
	}
	data, err := payload.Cosign{Image: ref, ClaimedIdentity: repo}.MarshalJSON()
	if err != nil {
		return fmt.Errorf("signing %s: %w", subject.Digest, err)
	}
	key, err := labKey()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	sig, err := key.Sign(nil, sum[:], crypto.SHA256) // nil: deterministic, RFC 6979
	if err != nil {
		return fmt.Errorf("signing %s: %w", subject.Digest, err)
	}
	desc, err := b.w.Bytes("application/vnd.dev.cosign.simplesigning.v1+json", data)
	if err != nil {
		return err
	}
	desc.Annotations = map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)}
	img, err := b.w.Image(layout.ImageSpec{Layers: []layout.Layer{{Descriptor: desc, DiffID: desc.Digest}}})
	if err != nil {
		return err
	}
	tag := strings.ReplaceAll(subject.Digest.String(), ":", "-") + ".sig"
	b.w.Name(layout.Image{Ref: repo + ":" + tag, Subject: subject.Digest}, img)
	return nil
}

// attachSBOM stores what binaries were built from as a referrer of image.
func (b *builder) attachSBOM(repo string, image ocispec.Descriptor, dir string, names []string) error {
	components, err := goComponents(dir, names)
	if err != nil {
		return err
	}
	hex := image.Digest.Encoded()
	doc := map[string]any{
		"bomFormat":    "CycloneDX",
		"specVersion":  "1.5",
		"serialNumber": fmt.Sprintf("urn:uuid:%s-%s-5%s-8%s-%s", hex[:8], hex[8:12], hex[13:16], hex[17:20], hex[20:32]),
		"version":      1,
		"metadata": map[string]any{"component": map[string]string{
			"type": "container", "name": repo, "version": image.Digest.String(),
		}},
		"components": components,
	}
	layer, err := b.w.JSON(sbomType, doc)
	if err != nil {
		return err
	}
	subject := plain(image)
	art, err := b.w.Artifact(layout.ArtifactSpec{ArtifactType: sbomType, Layers: []ocispec.Descriptor{layer}, Subject: &subject})
	if err != nil {
		return err
	}
	b.w.Name(layout.Image{Ref: repo + "@" + art.Digest.String(), Subject: image.Digest}, art)
	return nil
}

// sbomComponent is a library of a CycloneDX document.
type sbomComponent struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl"`
}

// goComponents reads from Go binaries which modules went into them.
func goComponents(dir string, names []string) ([]sbomComponent, error) {
	seen := map[string]bool{}
	out := []sbomComponent{}
	for _, n := range names {
		info, err := buildinfo.ReadFile(filepath.Join(dir, n))
		if err != nil {
			return nil, fmt.Errorf("reading modules of %q: %w", n, err)
		}
		for _, m := range info.Deps {
			purl := "pkg:golang/" + m.Path + "@" + m.Version
			if !seen[purl] {
				seen[purl] = true
				out = append(out, sbomComponent{Type: "library", Name: m.Path, Version: m.Version, PURL: purl})
			}
		}
	}
	slices.SortFunc(out, func(a, b sbomComponent) int { return strings.Compare(a.PURL, b.PURL) })
	return out, nil
}

// provenance stores an attestation manifest for image as BuildKit puts it into an
// index: an image without a platform that points back by annotation.
func (b *builder) provenance(image ocispec.Descriptor) (ocispec.Descriptor, error) {
	const predicate = "https://slsa.dev/provenance/v0.2"
	statement, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": predicate,
		"subject": []any{map[string]any{
			"name":   "pkg:docker/naru-lab?platform=" + image.Platform.OS + "%2F" + image.Platform.Architecture,
			"digest": map[string]string{"sha256": image.Digest.Encoded()},
		}},
		"predicate": map[string]any{
			"builder":   map[string]string{"id": ""},
			"buildType": "https://mobyproject.org/buildkit@v1",
			"metadata":  map[string]any{"buildFinishedOn": layout.Epoch(), "reproducible": true},
		},
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encoding provenance: %w", err)
	}
	layer, err := b.w.Bytes("application/vnd.in-toto+json", statement)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	layer.Annotations = map[string]string{"in-toto.io/predicate-type": predicate}
	unknown := ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	desc, err := b.w.Image(layout.ImageSpec{
		Platform: unknown,
		Layers:   []layout.Layer{{Descriptor: layer, DiffID: digest.FromBytes(statement)}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc.Annotations = map[string]string{
		"vnd.docker.reference.digest": image.Digest.String(),
		"vnd.docker.reference.type":   "attestation-manifest",
	}
	return desc, nil
}

// plain is d without platform and annotations, as subjects are given.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
