package attest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/pkg/sign"
	"naru/pkg/sign/attest"
	"naru/pkg/sign/verify"
)

func signer(t *testing.T) *sign.Signer {
	t.Helper()
	password := func(context.Context, bool) ([]byte, error) { return []byte("test"), nil }
	pair, err := sign.GenerateKeyPair(t.Context(), filepath.Join(t.TempDir(), "k"), password)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sign.LoadSigner(t.Context(), pair.PrivatePath, password)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var image = digest.FromString("image")

// signed is a signature of image as OCI content.
func signed(t *testing.T, s *sign.Signer) (payload, signature []byte) {
	t.Helper()
	payload, err := attest.Payload("registry.lab.test/app", image)
	if err != nil {
		t.Fatal(err)
	}
	if signature, err = s.SignDetached(t.Context(), payload); err != nil {
		t.Fatal(err)
	}
	a, err := attest.Signature(payload, signature, image, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Tag != "sha256-"+image.Encoded()+".sig" {
		t.Errorf("tag %q", a.Tag)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(a.Manifest.Data, &m); err != nil {
		t.Fatal(err)
	}
	if got := m.Layers[0].Annotations[verify.AnnotationSignature]; got != base64.StdEncoding.EncodeToString(signature) {
		t.Errorf("annotation %q", got)
	}
	return payload, signature
}

func TestSignature(t *testing.T) {
	s, other := signer(t), signer(t)
	payload, signature := signed(t, s)
	ring := verify.NewKeyring(other.Key(), s.Key())
	if key, err := ring.VerifyImage(payload, signature, image); err != nil || key.Fingerprint() != s.Key().Fingerprint() {
		t.Errorf("by %q: %v", key.Fingerprint(), err)
	}
	var foreign *verify.NoMatchError
	if _, err := verify.NewKeyring(other.Key()).VerifyImage(payload, signature, image); !errors.As(err, &foreign) {
		t.Errorf("a foreign signature: %v", err)
	}
	var another *verify.DigestError
	if _, err := ring.VerifyImage(payload, signature, digest.FromString("other")); !errors.As(err, &another) {
		t.Errorf("the signature of another image: %v", err)
	}
	ring.Revoke(s.Key())
	var revoked *verify.RevokedError
	if _, err := ring.VerifyImage(payload, signature, image); !errors.As(err, &revoked) {
		t.Errorf("a revoked key: %v", err)
	}
}

func attested(t *testing.T, s *sign.Signer, predicateType string) []byte {
	t.Helper()
	statement, err := attest.Statement("registry.lab.test/app", image, predicateType, []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.SignDetached(t.Context(), verify.PreAuthentication(verify.PayloadType, statement))
	if err != nil {
		t.Fatal(err)
	}
	a, err := attest.Attestation(statement, signature, s.Key(), ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: image, Size: 5}, predicateType)
	if err != nil {
		t.Fatal(err)
	}
	return a.Blobs[1].Data
}

func TestAttestation(t *testing.T) {
	s := signer(t)
	bundle := attested(t, s, verify.PredicateCycloneDX)
	ring := verify.NewKeyring(s.Key())
	predicate, _, err := ring.VerifyAttestation(bundle, image, verify.PredicateCycloneDX)
	if err != nil || string(predicate) != `{"a":1}` {
		t.Errorf("predicate %s: %v", predicate, err)
	}
	var kind *verify.PredicateError
	if _, _, err := ring.VerifyAttestation(bundle, image, verify.PredicateVulnerability); !errors.As(err, &kind) {
		t.Errorf("another predicate type: %v", err)
	}
	var another *verify.DigestError
	if _, _, err := ring.VerifyAttestation(bundle, digest.FromString("x"), verify.PredicateCycloneDX); !errors.As(err, &another) {
		t.Errorf("another subject: %v", err)
	}
	var foreign *verify.NoMatchError
	if _, _, err := verify.NewKeyring(signer(t).Key()).VerifyAttestation(bundle, image, verify.PredicateCycloneDX); !errors.As(err, &foreign) {
		t.Errorf("a foreign attestation: %v", err)
	}
	var malformed *verify.MalformedError
	for name, bad := range map[string]string{
		"twice":            strings.Replace(string(bundle), `{"mediaType"`, `{"mediaType":"x","mediaType"`, 1),
		"a field too many": strings.Replace(string(bundle), `{"mediaType"`, `{"more":1,"mediaType"`, 1),
		"payload type":     strings.Replace(string(bundle), verify.PayloadType, "text/plain", 1),
		"no signature":     strings.Replace(string(bundle), `"signatures":[{`, `"signatures":[],"x":[{`, 1),
	} {
		if _, _, err := ring.VerifyAttestation([]byte(bad), image, verify.PredicateCycloneDX); !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ring.Revoke(s.Key())
	var revoked *verify.RevokedError
	if _, _, err := ring.VerifyAttestation(bundle, image, verify.PredicateCycloneDX); !errors.As(err, &revoked) {
		t.Errorf("a revoked key: %v", err)
	}
}

func FuzzVerifyAttestation(f *testing.F) {
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"eA=="}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"eA=="}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := verify.ParseKey("k", []byte(fuzzKey))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := verify.NewKeyring(key).VerifyAttestation(data, image, verify.PredicateCycloneDX); err == nil {
			t.Fatal("an attestation by nobody was accepted")
		}
		if _, err := verify.NewKeyring(key).VerifyImage(data, []byte{1}, image); err == nil {
			t.Fatal("a signature by nobody was accepted")
		}
	})
}

// fuzzKey is a public key whose private half nobody has.
const fuzzKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
`
