package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cosignPub is a key that cosign 2.6.5 made; the fingerprint is what
// `openssl pkey -pubin -outform DER | sha256sum` says of it.
const (
	cosignPub = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjzUsVWAd9jRaHzwYfTCb/uEpupBE
+d4q51fogAnZARmfgmrEHMfZVZaP7RjVpJ9xT6oLUtprEL0S98sBI4oQ5g==
-----END PUBLIC KEY-----
`
	cosignFingerprint = "342bffd8686cda1b0d76d420aea670d03a9c09daab85044485ba29ec4a4b3e16"
)

func TestParseKey(t *testing.T) {
	key, err := ParseKey("cosign.pub", []byte(cosignPub))
	if err != nil {
		t.Fatal(err)
	}
	if key.Fingerprint() != cosignFingerprint || key.Name() != "cosign.pub" {
		t.Errorf("got %q with fingerprint %s, want %s", key.Name(), key.Fingerprint(), cosignFingerprint)
	}
	if diff := cmp.Diff(cosignPub, string(key.PEM())); diff != "" {
		t.Error(diff)
	}
	key.PEM()[30] ^= 1
	if !bytes.Equal(key.PEM(), []byte(cosignPub)) {
		t.Error("the caller changed the key through PEM")
	}
	windows := strings.ReplaceAll("\n"+cosignPub+"\n", "\n", "\r\n")
	if again, err := ParseKey("", []byte(windows)); err != nil || again.Fingerprint() != cosignFingerprint {
		t.Errorf("with other line ends: %v, %s", err, again.Fingerprint())
	}
}

func TestParseKeyKinds(t *testing.T) {
	for name, s := range signers(t) {
		key, err := ParseKey(name, s.key.PEM())
		if err != nil || key.Fingerprint() != s.key.Fingerprint() {
			t.Errorf("%s: %v, fingerprint %s, want %s", name, err, key.Fingerprint(), s.key.Fingerprint())
		}
	}
}

func publicPEM(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestParseKeyRefuses(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string][]byte{
		"empty":         nil,
		"not PEM":       []byte("ssh-ed25519 AAAA"),
		"text before":   []byte("trust me\n" + cosignPub),
		"text after":    []byte(cosignPub + "trust me\n"),
		"two keys":      []byte(cosignPub + cosignPub),
		"cut":           []byte(cosignPub[:100]),
		"private key":   pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("{}")}),
		"certificate":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"headers":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"a": "b"}, Bytes: []byte("x")}),
		"garbage":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("garbage")}),
		"small RSA key": publicPEM(t, small.Public()),
		"P-224":         publicPEM(t, p224.Public()),
		"too large":     append([]byte(cosignPub), bytes.Repeat([]byte("\n"), MaxKeySize)...),
	}
	for name, data := range tests {
		key, err := ParseKey(name, data)
		var malformed *MalformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: got %v, want a MalformedError", name, err)
		}
		if key.Fingerprint() != "" || key.Public() != nil {
			t.Errorf("%s: a key came with the error", name)
		}
	}
}

func TestGroupFingerprint(t *testing.T) {
	got := GroupFingerprint(cosignFingerprint)
	want := "342b ffd8 686c da1b 0d76 d420 aea6 70d0 3a9c 09da ab85 0444 85ba 29ec 4a4b 3e16"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := GroupFingerprint(Key{}.Fingerprint()); got != "" {
		t.Errorf("zero key: got %q", got)
	}
}
