package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigverify "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"naru/pkg/sign/verify"
)

var document = []byte(`{"apiVersion":"naru/v1","kind":"Bundle","release":"demo"}` + "\n")

func password(s string) PasswordFunc {
	return func(context.Context, bool) ([]byte, error) { return []byte(s), nil }
}

func generate(t *testing.T) KeyPair {
	t.Helper()
	pair, err := GenerateKeyPair(t.Context(), filepath.Join(t.TempDir(), "cosign"), password("pw"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// importKey puts a private key into the form that `cosign import-key-pair` gives it.
func importKey(t *testing.T, private crypto.PrivateKey) (path string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "plain.pem")
	if err := os.WriteFile(plain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := cosign.ImportKeyPair(plain, func(bool) ([]byte, error) { return []byte("pw"), nil })
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "cosign.key")
	if err := os.WriteFile(path, keys.PrivateBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGenerateKeyPairIsCosigns(t *testing.T) {
	var confirmed bool
	prefix := filepath.Join(t.TempDir(), "cosign")
	pair, err := GenerateKeyPair(t.Context(), prefix, func(_ context.Context, confirm bool) ([]byte, error) {
		confirmed = confirm
		return []byte("pw"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !confirmed {
		t.Error("the password of a new key was not confirmed")
	}
	for path, mode := range map[string]os.FileMode{prefix + ".key": 0o600, prefix + ".pub": 0o644} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("%q has mode %v, want %v", path, info.Mode(), mode)
		}
	}
	data, err := os.ReadFile(pair.PrivatePath)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" || len(rest) > 0 {
		t.Fatalf("private key: %q", data)
	}
	var envelope struct {
		KDF struct {
			Name   string
			Params map[string]int
		}
		Cipher struct{ Name string }
	}
	if err := json.Unmarshal(block.Bytes, &envelope); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"N": 65536, "r": 8, "p": 1}, envelope.KDF.Params); diff != "" ||
		envelope.KDF.Name != "scrypt" || envelope.Cipher.Name != "nacl/secretbox" {
		t.Errorf("%+v %s", envelope, diff)
	}
	loaded, err := cosign.LoadPrivateKey(data, []byte("pw"), nil)
	if err != nil {
		t.Fatal("cosign:", err)
	}
	public, err := loaded.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if p256, ok := public.(*ecdsa.PublicKey); !ok || p256.Curve != elliptic.P256() {
		t.Errorf("public key %T, want ECDSA P-256", public)
	}
	written, err := verify.LoadKeys(pair.PublicPath)
	if err != nil {
		t.Fatal(err)
	}
	if got := written.Keys()[0].Fingerprint(); got != pair.Public.Fingerprint() {
		t.Errorf("fingerprint %s on disk, %s returned", got, pair.Public.Fingerprint())
	}
}

func TestGenerateKeyPairOverwritesNothing(t *testing.T) {
	for _, name := range []string{"cosign.key", "cosign.pub"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := GenerateKeyPair(t.Context(), filepath.Join(dir, "cosign"), func(context.Context, bool) ([]byte, error) {
			t.Error("asked for a password in vain")
			return nil, nil
		})
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v, want fs.ErrExist", name, err)
		}
		if left := files(t, dir); !cmp.Equal(left, []string{name}) {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

func TestGenerateKeyPairLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	refuse := func(context.Context, bool) ([]byte, error) { return nil, ErrNoPassword }
	if _, err := GenerateKeyPair(t.Context(), filepath.Join(dir, "cosign"), refuse); !errors.Is(err, ErrNoPassword) {
		t.Errorf("got %v, want ErrNoPassword", err)
	}
	// The public half appears while the password is asked for: the private half,
	// written first, must go again, and what is there must stay.
	meanwhile := func(context.Context, bool) ([]byte, error) {
		return []byte("pw"), os.WriteFile(filepath.Join(dir, "cosign.pub"), []byte("mine"), 0o600)
	}
	if _, err := GenerateKeyPair(t.Context(), filepath.Join(dir, "cosign"), meanwhile); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if left := files(t, dir); !cmp.Equal(left, []string{"cosign.pub"}) {
		t.Errorf("left %q", left)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "cosign.pub")); err != nil || string(data) != "mine" {
		t.Errorf("%v, %q", err, data)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestSignatures has every kind of key sign, and the library that cosign is made
// of agree, given nothing but the public key and our empty trusted root.
func TestSignatures(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"generated": generate(t).PrivatePath, "rsa": importKey(t, rsaKey)}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		paths[name] = importKey(t, private)
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			signer, err := LoadSigner(t.Context(), path, password("pw"))
			if err != nil {
				t.Fatal(err)
			}
			checkSigner(t, signer)
		})
	}
}

func checkSigner(t *testing.T, signer *Signer) {
	t.Helper()
	signed, err := signer.SignBundle(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	detached, err := signer.SignDetached(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	public, err := signer.PublicKeyPEM(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := verify.ParseKey("public", public)
	if err != nil || key.Fingerprint() != signer.Key().Fingerprint() {
		t.Fatalf("public key: %v", err)
	}
	if err := cosignVerify(t, key.Public(), document, signed); err != nil {
		t.Errorf("cosign: %v", err)
	}
	if err := cosignVerify(t, key.Public(), append([]byte("x"), document...), signed); err == nil {
		t.Error("cosign takes another document")
	}
	ring := verify.NewKeyring(key)
	if _, err := ring.VerifyBundle(document, signed); err != nil {
		t.Error(err)
	}
	if _, err := ring.VerifyFile(bytes.NewReader(document), detached); err != nil {
		t.Error(err)
	}
}

// cosignVerify does what `cosign verify-blob --key --new-bundle-format
// --trusted-root --private-infrastructure` does.
func cosignVerify(t *testing.T, public crypto.PublicKey, data, signed []byte) error {
	t.Helper()
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := root.NewTrustedRootFromJSON(EmptyTrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(signed); err != nil {
		t.Fatal(err)
	}
	options := &cosign.CheckOpts{SigVerifier: verifier, TrustedMaterial: trusted, NewBundleFormat: true, IgnoreTlog: true, IgnoreSCT: true}
	_, err = cosign.VerifyNewBundle(t.Context(), options, sigverify.WithArtifact(bytes.NewReader(data)), &b)
	return err
}

// TestSignBundleBytes fixes everything of the bundle but the signature.
func TestSignBundleBytes(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := LoadSigner(t.Context(), importKey(t, rsaKey), password("pw"))
	if err != nil {
		t.Fatal(err)
	}
	one, err := signer.SignBundle(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	two, err := signer.SignBundle(t.Context(), document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) { // PKCS #1 v1.5 has no randomness
		t.Errorf("%s\n%s", one, two)
	}
	if want := []byte(`{"mediaType":"` + verify.MediaType + `","verificationMaterial":{"publicKey":{"hint":"`); !bytes.HasPrefix(one, want) {
		t.Errorf("got %s", one)
	}
}

func TestSignStops(t *testing.T) {
	signer, err := LoadSigner(t.Context(), generate(t).PrivatePath, password("pw"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := signer.SignBundle(ctx, document); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := signer.SignDetached(ctx, document); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLoadSignerFromEnvironment(t *testing.T) {
	pair := generate(t)
	data, err := os.ReadFile(pair.PrivatePath)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NARU_TEST_KEY", string(data))
	signer, err := LoadSigner(t.Context(), "env://NARU_TEST_KEY", password("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if signer.Key().Fingerprint() != pair.Public.Fingerprint() {
		t.Error("another key")
	}
}

func TestLoadSignerRefusesKeys(t *testing.T) {
	pair := generate(t)
	good, err := os.ReadFile(pair.PrivatePath)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("x")}) }
	tests := map[string][]byte{
		"empty":         nil,
		"text":          []byte("key"),
		"public half":   pair.Public.PEM(),
		"plain PKCS8":   block("PRIVATE KEY"),
		"plain EC":      block("EC PRIVATE KEY"),
		"plain RSA":     block("RSA PRIVATE KEY"),
		"openssh":       block("OPENSSH PRIVATE KEY"),
		"damaged":       block("ENCRYPTED SIGSTORE PRIVATE KEY"),
		"cut":           good[:len(good)/2],
		"larger than k": bytes.Repeat(good, 200),
	}
	never := func(context.Context, bool) ([]byte, error) {
		t.Error("asked for a password in vain")
		return nil, nil
	}
	for name, data := range tests {
		path := filepath.Join(t.TempDir(), "cosign.key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadSigner(t.Context(), path, never)
		var format *KeyFormatError
		if !errors.As(err, &format) || format.Ref != path {
			t.Errorf("%s: got %v, want a KeyFormatError", name, err)
		}
	}
	if _, err := LoadSigner(t.Context(), filepath.Join(t.TempDir(), "missing.key"), never); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	var format *KeyFormatError
	if _, err := LoadSigner(t.Context(), "env://NARU_TEST_UNSET", never); !errors.As(err, &format) {
		t.Errorf("got %v, want a KeyFormatError", err)
	}
}

func TestLoadSignerPassword(t *testing.T) {
	path := generate(t).PrivatePath
	if _, err := LoadSigner(t.Context(), path, password("other")); !errors.Is(err, ErrPassword) {
		t.Errorf("got %v, want ErrPassword", err)
	}
	none := func(context.Context, bool) ([]byte, error) { return nil, ErrNoPassword }
	if _, err := LoadSigner(t.Context(), path, none); !errors.Is(err, ErrNoPassword) {
		t.Errorf("got %v, want ErrNoPassword", err)
	}
}

func TestLoadSignerRefusesEd25519(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var kind *KeyTypeError
	if _, err := LoadSigner(t.Context(), importKey(t, private), password("pw")); !errors.As(err, &kind) {
		t.Errorf("got %v, want a KeyTypeError", err)
	}
}
