package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxKeySize is the largest file, in bytes, that is read as a public key.
const MaxKeySize = 64 << 10

// minRSABits is the smallest RSA key that counts, as for cosign.
const minRSABits = 2048

const publicKeyType = "PUBLIC KEY"

// Key is a public key. The zero Key is none. Keys are immutable and may be used
// by several goroutines.
type Key struct {
	name        string
	fingerprint string
	pem         []byte
	public      crypto.PublicKey
}

// ParseKey reads one public key: a single PEM block of type PUBLIC KEY with
// nothing around it, as in cosign.pub. The name is that of the file, for messages.
// Anything else is a *MalformedError.
func ParseKey(name string, data []byte) (Key, error) {
	der, err := decodePublicPEM(data)
	if err != nil {
		return Key{}, &MalformedError{What: "public key", Name: name, Err: err}
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, &MalformedError{What: "public key", Name: name, Err: err}
	}
	key, err := NewKey(name, public)
	if err != nil {
		return Key{}, &MalformedError{What: "public key", Name: name, Err: err}
	}
	return key, nil
}

// NewKey makes a Key of a public key in memory. A kind, curve or size that naru
// does not verify with is an error.
func NewKey(name string, public crypto.PublicKey) (Key, error) {
	if err := checkPublic(public); err != nil {
		return Key{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return Key{
		name:        name,
		fingerprint: hex.EncodeToString(sum[:]),
		pem:         pem.EncodeToMemory(&pem.Block{Type: publicKeyType, Bytes: der}),
		public:      public,
	}, nil
}

// decodePublicPEM returns the content of the one PEM block that data must be.
func decodePublicPEM(data []byte) ([]byte, error) {
	if len(data) > MaxKeySize {
		return nil, fmt.Errorf("%d bytes are more than the %d a key may have", len(data), MaxKeySize)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN ")) {
		return nil, errors.New("want a PEM block and nothing before it")
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("no whole PEM block")
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("this is a private key; give the public half")
	case block.Type != publicKeyType:
		return nil, fmt.Errorf("PEM block is a %q, want %q", block.Type, publicKeyType)
	case len(block.Headers) > 0:
		return nil, errors.New("PEM block has headers")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("more than one PEM block; give each key in a file of its own")
	}
	return block.Bytes, nil
}

// checkPublic admits the keys of which the package doc speaks.
func checkPublic(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("elliptic curve %q, want P-256, P-384 or P-521", k.Params().Name)
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("RSA key of %d bits, want %d or more", k.N.BitLen(), minRSABits)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("key of type %T, want ECDSA, RSA or Ed25519", public)
}

// Name is what the key was read as, for messages.
func (k Key) Name() string { return k.name }

// Fingerprint is the SHA-256 of the key's DER SubjectPublicKeyInfo in 64
// lower-case hex digits; of the zero Key it is empty.
func (k Key) Fingerprint() string { return k.fingerprint }

// PEM is the key as cosign writes it, the caller's to keep.
func (k Key) PEM() []byte { return bytes.Clone(k.pem) }

// Public is the key for package crypto: *ecdsa.PublicKey, *rsa.PublicKey or
// ed25519.PublicKey.
func (k Key) Public() crypto.PublicKey { return k.public }

// GroupFingerprint writes a fingerprint in groups of four digits, as it is printed
// on an approval form and read out over a telephone.
func GroupFingerprint(fingerprint string) string {
	var groups []string
	for group := range slices.Chunk([]byte(fingerprint), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}

// verifyDigest tells whether sig is a signature of k over a SHA-256 digest. An
// Ed25519 key signs no digests.
func (k Key) verifyDigest(sum [sha256.Size]byte, sig []byte) bool {
	switch pub := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(pub, sum[:], sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig) == nil
	}
	return false
}

// verifyMessage tells whether sig is a signature of k over document, whose
// SHA-256 is sum.
func (k Key) verifyMessage(document []byte, sum [sha256.Size]byte, sig []byte) bool {
	if pub, ok := k.public.(ed25519.PublicKey); ok {
		return ed25519.Verify(pub, document, sig)
	}
	return k.verifyDigest(sum, sig)
}
