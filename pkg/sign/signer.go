package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"naru/manifest"
	"naru/pkg/sign/verify"
)

// trustedRootType is the media type of a sigstore trusted root.
const trustedRootType = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"

// Signer signs with one private key. It may be used by several goroutines.
type Signer struct {
	signer signature.Signer
	key    verify.Key
}

// Key is the public half.
func (s *Signer) Key() verify.Key { return s.key }

// PublicKeyPEM is the public half as cosign writes it.
func (s *Signer) PublicKeyPEM(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return s.key.PEM(), nil
}

// SignDetached returns a signature over the SHA-256 of data that `openssl dgst
// -sha256 -verify` checks: ASN.1 of an ECDSA key, PKCS #1 v1.5 of an RSA key. An
// ECDSA signature is another one each time.
func (s *Signer) SignDetached(ctx context.Context, data []byte) ([]byte, error) {
	sig, err := s.sign(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("making a detached signature: %w", err)
	}
	if _, err := verify.NewKeyring(s.key).VerifyFile(bytes.NewReader(data), sig); err != nil {
		return nil, fmt.Errorf("checking the signature just made: %w", err)
	}
	return sig, nil
}

// SignBundle returns a sigstore bundle v0.3 over data, as `cosign sign-blob
// --new-bundle-format --tlog-upload=false` makes it: the key as a hint, the
// SHA-256, the signature, and no entry of a transparency log.
func (s *Signer) SignBundle(ctx context.Context, data []byte) ([]byte, error) {
	sig, err := s.sign(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("making a sigstore bundle: %w", err)
	}
	out, err := s.encodeBundle(sha256.Sum256(data), sig)
	if err != nil {
		return nil, fmt.Errorf("making a sigstore bundle: %w", err)
	}
	if _, err := verify.NewKeyring(s.key).VerifyBundle(data, out); err != nil {
		return nil, fmt.Errorf("checking the signature just made: %w", err)
	}
	return out, nil
}

// sign makes one signature over SHA-256; without the option cosign's signers would
// take a longer hash with P-384 and P-521, which cosign then fails to verify.
func (s *Signer) sign(ctx context.Context, data []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.signer.SignMessage(bytes.NewReader(data), options.WithContext(ctx), options.WithCryptoSignerOpts(crypto.SHA256))
}

// sigstoreBundle is the part of a sigstore bundle v0.3 that a signature by key
// needs. It is written out by hand since protojson, which cosign writes it with,
// puts in spaces at random.
type sigstoreBundle struct {
	MediaType            string `json:"mediaType"`
	VerificationMaterial struct {
		PublicKey struct {
			Hint []byte `json:"hint"` // the fingerprint; base64 in JSON, as cosign writes it
		} `json:"publicKey"`
	} `json:"verificationMaterial"`
	MessageSignature struct {
		MessageDigest struct {
			Algorithm string `json:"algorithm"`
			Digest    []byte `json:"digest"`
		} `json:"messageDigest"`
		Signature []byte `json:"signature"`
	} `json:"messageSignature"`
}

func (s *Signer) encodeBundle(sum [sha256.Size]byte, sig []byte) ([]byte, error) {
	fingerprint, err := hex.DecodeString(s.key.Fingerprint())
	if err != nil {
		return nil, err
	}
	b := sigstoreBundle{MediaType: verify.MediaType}
	b.VerificationMaterial.PublicKey.Hint = fingerprint
	b.MessageSignature.MessageDigest.Algorithm = "SHA2_256"
	b.MessageSignature.MessageDigest.Digest = sum[:]
	b.MessageSignature.Signature = sig
	return manifest.EncodeJSON(b)
}

// EmptyTrustedRoot is a sigstore trusted root that trusts no service. cosign 2
// demands a trusted root even where a key is given; with this one it verifies by
// the key alone and contacts nobody.
func EmptyTrustedRoot() []byte {
	return []byte(`{"mediaType":"` + trustedRootType + `"}` + "\n")
}

// signsDigests tells whether a key of this kind signs a SHA-256, as cosign and
// openssl both check it.
func signsDigests(public crypto.PublicKey) bool {
	switch public.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		return true
	}
	return false
}
