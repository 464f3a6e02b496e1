package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// MediaType is that of the sigstore bundles naru reads and writes.
const MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// MaxSigstoreSize is the largest sigstore bundle, in bytes, that is looked at; a
// signature by key has less than 1 KiB.
const MaxSigstoreSize = 64 << 10

const digestAlgorithm = "SHA2_256"

// messageSignature is what a sigstore bundle says that holds a signature by key.
type messageSignature struct {
	hint      string // which key it claims to be by; may be empty
	digest    [sha256.Size]byte
	signature []byte
}

// parseSigstore reads a sigstore bundle of the one shape that cosign gives a
// signature by key without transparency log. Everything else, a field too many
// included, is a *MalformedError: what is not checked must not be there.
func parseSigstore(data []byte) (*messageSignature, error) {
	sig, err := decodeSigstore(data)
	if err != nil {
		return nil, &MalformedError{What: "sigstore bundle", Err: err}
	}
	return sig, nil
}

func decodeSigstore(data []byte) (*messageSignature, error) {
	if len(data) > MaxSigstoreSize {
		return nil, fmt.Errorf("%d bytes are more than the %d it may have", len(data), MaxSigstoreSize)
	}
	top, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	if mediaType := top.text("mediaType"); mediaType != MediaType && top.err() == nil {
		return nil, fmt.Errorf("mediaType is %q, want %q", mediaType, MediaType)
	}
	if top.has("dsseEnvelope") {
		return nil, errors.New("it holds an attestation, not the signature of a file")
	}
	material := top.object("verificationMaterial")
	if material.has("certificate") || material.has("x509CertificateChain") {
		return nil, errors.New("it is signed with a certificate, not with a key")
	}
	if material.has("tlogEntries") || material.has("timestampVerificationData") {
		return nil, errors.New("it has entries of a transparency log or time stamps, which are not checked here")
	}
	publicKey := material.object("publicKey")
	message := top.object("messageSignature")
	messageDigest := message.object("messageDigest")
	sig := &messageSignature{}
	if publicKey.has("hint") {
		sig.hint = publicKey.text("hint")
	}
	algorithm := messageDigest.text("algorithm")
	sum := messageDigest.bytes("digest")
	sig.signature = message.bytes("signature")
	if err := top.done(); err != nil {
		return nil, err
	}
	if algorithm != digestAlgorithm {
		return nil, fmt.Errorf("digest algorithm is %q, want %q", algorithm, digestAlgorithm)
	}
	if len(sum) != sha256.Size {
		return nil, fmt.Errorf("digest has %d bytes, want %d", len(sum), sha256.Size)
	}
	if len(sig.signature) == 0 || len(sig.signature) > MaxDetachedSize {
		return nil, fmt.Errorf("signature has %d bytes, want 1 to %d", len(sig.signature), MaxDetachedSize)
	}
	sig.digest = [sha256.Size]byte(sum)
	return sig, nil
}

// decodeBase64 decodes standard base64 in its one canonical spelling.
func decodeBase64(s string) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodeToString(raw) != s {
		return nil, errors.New("base64 is not canonical")
	}
	return raw, nil
}
