package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// Types of the signatures and attestations of OCI content.
const (
	// SignatureType is what the payload of a signature says it is.
	SignatureType = "cosign container image signature"
	// SimpleSigningType is the media type of that payload, AnnotationSignature the
	// annotation that holds the signature over it, in base64.
	SimpleSigningType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	AnnotationSignature = "dev.cosignproject.cosign/signature"
	// StatementType and PayloadType are those of what an attestation signs.
	StatementType = "https://in-toto.io/Statement/v0.1"
	PayloadType   = "application/vnd.in-toto+json"
	// AnnotationContent and AnnotationPredicateType say on the manifest what a
	// sigstore bundle holds. They are not signed and prove nothing.
	AnnotationContent       = "dev.sigstore.bundle.content"
	AnnotationPredicateType = "dev.sigstore.bundle.predicateType"
	// Predicate types, as cosign spells them.
	PredicateCycloneDX     = "https://cyclonedx.org/bom"
	PredicateVulnerability = "https://cosign.sigstore.dev/attestation/vuln/v1"
)

// MaxAttestationSize is the largest attestation, in bytes, that is looked at.
const MaxAttestationSize = 64 << 20

// PredicateError says that an attestation is good, and is not about what was asked.
type PredicateError struct{ Want, Got string }

func (e *PredicateError) Error() string {
	return fmt.Sprintf("attestation is of type %q, want %q", e.Got, e.Want)
}

// VerifyImage checks that signature is one over payload by a key of k, and that the
// payload is a cosign signature of subject. Errors: those of VerifyFile, *DigestError
// when it is of another image, *MalformedError.
func (k *Keyring) VerifyImage(payload, signature []byte, subject digest.Digest) (Key, error) {
	key, err := k.VerifyFile(bytes.NewReader(payload), signature)
	if err != nil {
		return Key{}, fmt.Errorf("verifying the signature of %s: %w", subject, err)
	}
	signed, err := payloadSubject(payload)
	if err != nil {
		return Key{}, fmt.Errorf("verifying the signature of %s: %w", subject, &MalformedError{What: "signature payload", Err: err})
	}
	if signed != subject {
		return Key{}, fmt.Errorf("verifying the signature of %s: %w", subject, &DigestError{Signed: signed, Got: subject})
	}
	return key, nil
}

// payloadSubject is the digest that a payload is about. What it says besides is not
// looked at, but must not be there twice.
func payloadSubject(payload []byte) (digest.Digest, error) {
	top, err := decodeObject(payload)
	if err != nil {
		return "", err
	}
	critical := top.object("critical")
	kind := critical.text("type")
	signed := digest.Digest(critical.object("image").text("docker-manifest-digest"))
	if err := top.err(); err != nil {
		return "", err
	}
	if kind != SignatureType {
		return "", fmt.Errorf("type is %q, want %q", kind, SignatureType)
	}
	return signed, nil
}

// PreAuthentication is what a DSSE envelope signs for a payload.
func PreAuthentication(payloadType string, payload []byte) []byte {
	var b bytes.Buffer
	for i, part := range [][]byte{[]byte(payloadType), payload} {
		if i == 0 {
			b.WriteString("DSSEv1")
		}
		b.WriteString(" " + strconv.Itoa(len(part)) + " ")
		b.Write(part)
	}
	return b.Bytes()
}

// VerifyAttestation checks that bundle, a sigstore bundle v0.3, holds an attestation of
// subject by a key of k, of the predicate type wanted, and returns the predicate.
// Errors: ErrNoKey, *MalformedError, *NoMatchError, *RevokedError; *PredicateError for
// another predicate type, *DigestError for another subject.
func (k *Keyring) VerifyAttestation(bundle []byte, subject digest.Digest, predicateType string) (json.RawMessage, Key, error) {
	if k.Empty() {
		return nil, Key{}, fmt.Errorf("verifying an attestation of %s: %w", subject, ErrNoKey)
	}
	predicate, key, err := k.attestation(bundle, subject, predicateType)
	if err != nil {
		return nil, Key{}, fmt.Errorf("verifying an attestation of %s: %w", subject, err)
	}
	return predicate, key, nil
}

func (k *Keyring) attestation(bundle []byte, subject digest.Digest, predicateType string) (json.RawMessage, Key, error) {
	env, err := decodeEnvelope(bundle)
	if err != nil {
		return nil, Key{}, &MalformedError{What: "attestation", Err: err}
	}
	message := PreAuthentication(PayloadType, env.payload)
	sum := sha256.Sum256(message)
	key, err := k.find(env.hint, func(key Key) bool { return key.verifyMessage(message, sum, env.signature) })
	if err != nil {
		return nil, Key{}, err
	}
	s, err := decodeStatement(env.payload)
	if err != nil {
		return nil, Key{}, &MalformedError{What: "attestation", Err: err}
	}
	if s.PredicateType != predicateType {
		return nil, Key{}, &PredicateError{Want: predicateType, Got: s.PredicateType}
	}
	if s.subject != subject {
		return nil, Key{}, &DigestError{Signed: s.subject, Got: subject}
	}
	return s.Predicate, key, nil
}

// dsse is what an attestation's sigstore bundle holds.
type dsse struct {
	hint      string
	payload   []byte
	signature []byte
}

// decodeEnvelope reads a sigstore bundle of the one shape that cosign gives an
// attestation by key without transparency log.
func decodeEnvelope(data []byte) (*dsse, error) {
	if len(data) > MaxAttestationSize {
		return nil, fmt.Errorf("%d bytes are more than the %d it may have", len(data), MaxAttestationSize)
	}
	top, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	if mediaType := top.text("mediaType"); mediaType != MediaType && top.err() == nil {
		return nil, fmt.Errorf("mediaType is %q, want %q", mediaType, MediaType)
	}
	if top.has("messageSignature") {
		return nil, errors.New("it holds the signature of a file, not an attestation")
	}
	out := &dsse{}
	publicKey := top.object("verificationMaterial").object("publicKey")
	if publicKey.has("hint") {
		out.hint = publicKey.text("hint")
	}
	envelope := top.object("dsseEnvelope")
	out.payload = envelope.bytes("payload")
	payloadType := envelope.text("payloadType")
	list, _ := envelope.take("signatures").([]any)
	if err := top.done(); err != nil {
		return nil, err
	}
	if payloadType != PayloadType {
		return nil, fmt.Errorf("payload type is %q, want %q", payloadType, PayloadType)
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d signatures, want one", len(list))
	}
	fields, _ := list[0].(map[string]any)
	sig, _ := fields["sig"].(string)
	if out.signature, err = base64.StdEncoding.Strict().DecodeString(sig); err != nil || len(out.signature) == 0 || len(out.signature) > MaxDetachedSize {
		return nil, errors.New("the signature is missing or is not base64")
	}
	return out, nil
}

// statement is an in-toto statement about one thing.
type statement struct {
	Type          string          `json:"_type"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	subject digest.Digest
}

// decodeStatement reads what was signed; it is trusted by now, and read strictly
// enough that it cannot mean two things.
func decodeStatement(payload []byte) (*statement, error) {
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, fmt.Errorf("reading the statement: %w", err)
	}
	if s.Type != StatementType {
		return nil, fmt.Errorf("statement is of type %q, want %q", s.Type, StatementType)
	}
	if len(s.Subject) != 1 || len(s.Subject[0].Digest) != 1 {
		return nil, fmt.Errorf("statement has %d subjects, want one with one digest", len(s.Subject))
	}
	s.subject = digest.NewDigestFromEncoded(digest.SHA256, s.Subject[0].Digest["sha256"])
	if err := s.subject.Validate(); err != nil {
		return nil, fmt.Errorf("subject of the statement: %w", err)
	}
	return &s, nil
}
