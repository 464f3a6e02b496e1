package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// testSigner signs as cosign does, written out apart from package sign.
type testSigner struct {
	key     Key
	private crypto.Signer
}

func newSigner(t testing.TB, name string) testSigner {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, name, private)
}

func signerOf(t testing.TB, name string, private crypto.Signer) testSigner {
	t.Helper()
	key, err := NewKey(name, private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return testSigner{key: key, private: private}
}

// signers is one of every kind of key that counts.
func signers(t testing.TB) map[string]testSigner {
	t.Helper()
	out := map[string]testSigner{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = signerOf(t, name, private)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	out["rsa"] = signerOf(t, "rsa", private)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["ed25519"] = signerOf(t, "ed25519", edwards)
	return out
}

func (s testSigner) detached(t testing.TB, data []byte) []byte {
	t.Helper()
	message, opts := data, crypto.SignerOpts(crypto.Hash(0))
	if _, edwards := s.private.(ed25519.PrivateKey); !edwards {
		sum := sha256.Sum256(data)
		message, opts = sum[:], crypto.SHA256
	}
	sig, err := s.private.Sign(rand.Reader, message, opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (s testSigner) bundle(t testing.TB, data []byte) []byte {
	t.Helper()
	return sigstoreJSON(cosignHint(s.key), sha256.Sum256(data), s.detached(t, data))
}

func sigstoreJSON(hint string, sum [sha256.Size]byte, sig []byte) []byte {
	return fmt.Appendf(nil, `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json",`+
		`"verificationMaterial":{"publicKey":{"hint":%q}},`+
		`"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":%q},"signature":%q}}`,
		hint, base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sig))
}

// write puts a file into a temporary folder, with folders above it.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sparse makes a file of that size that takes no space.
func sparse(t testing.TB, path string, size int64) {
	t.Helper()
	write(t, path, nil)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}
