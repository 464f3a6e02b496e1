package sign

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore-go/pkg/root"

	"naru/manifest"
	"naru/pkg/sign/verify"
)

// Annotations that cosign puts on a keyless signature.
const (
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationChain       = "dev.sigstore.cosign/chain"
	annotationBundle      = "dev.sigstore.cosign/bundle"
)

// UpstreamSignature is one signature that came along with an image: a layer of the
// image under cosign's tag.
type UpstreamSignature struct {
	Payload     []byte
	Annotations map[string]string
}

// ErrNoTrustedRoot says that a keyless signature is to be verified and there is no
// trusted root to do it with.
var ErrNoTrustedRoot = errors.New("verifying a keyless signature: no trusted root given")

// VerifyUpstream checks that a signature of subject is by whom by names: a key, or an
// identity whose certificate and log entry hold by trustedRoot, a sigstore trusted
// root in JSON. Nothing is asked of a network. Errors: those of package verify,
// ErrNoTrustedRoot, what cosign says.
func VerifyUpstream(ctx context.Context, s UpstreamSignature, subject digest.Digest, by *manifest.SignedBy, trustedRoot []byte) error {
	encoded := s.Annotations[verify.AnnotationSignature]
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return &verify.MalformedError{What: "signature", Err: err}
	}
	if by.Keyless() {
		return verifyKeyless(ctx, s, encoded, subject, by, trustedRoot)
	}
	key, err := verify.ParseKey("signedBy", []byte(by.Key))
	if err != nil {
		return err
	}
	_, err = verify.NewKeyring(key).VerifyImage(s.Payload, signature, subject)
	return err
}

func verifyKeyless(ctx context.Context, s UpstreamSignature, encoded string, subject digest.Digest, by *manifest.SignedBy, trustedRoot []byte) error {
	if trustedRoot == nil {
		return ErrNoTrustedRoot
	}
	material, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return fmt.Errorf("reading the trusted root: %w", err)
	}
	opts := []static.Option{static.WithCertChain([]byte(s.Annotations[annotationCertificate]), []byte(s.Annotations[annotationChain]))}
	if text := s.Annotations[annotationBundle]; text != "" {
		var entry bundle.RekorBundle
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			return &verify.MalformedError{What: "log entry", Err: err}
		}
		opts = append(opts, static.WithBundle(&entry))
	}
	sig, err := static.NewSignature(s.Payload, encoded, opts...)
	if err != nil {
		return &verify.MalformedError{What: "signature", Err: err}
	}
	hash, err := v1.NewHash(subject.String())
	if err != nil {
		return fmt.Errorf("verifying a keyless signature: %w", err)
	}
	_, err = cosign.VerifyImageSignature(ctx, sig, hash, &cosign.CheckOpts{
		TrustedMaterial: material,
		Identities:      []cosign.Identity{{Issuer: by.Issuer, Subject: by.Identity, SubjectRegExp: anchored(by.IdentityRegexp)}},
		ClaimVerifier:   cosign.SimpleClaimVerifier,
		Offline:         true,
	})
	if err != nil {
		return fmt.Errorf("verifying a keyless signature: %w", err)
	}
	return nil
}

// anchored makes a pattern match whole identities: cosign takes one that is found
// anywhere in them, and "https://github.com/org/" would let in whoever has that in the
// path of a repository.
func anchored(pattern string) string {
	if pattern == "" {
		return ""
	}
	return "^(?:" + pattern + ")$"
}
