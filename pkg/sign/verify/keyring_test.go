package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

var document = []byte(`{"apiVersion":"naru/v1","kind":"Bundle","release":"demo"}` + "\n")

func TestVerifyEveryKindOfKey(t *testing.T) {
	all := signers(t)
	ring := NewKeyring()
	for _, s := range all {
		ring.Trust(s.key)
	}
	for name, s := range all {
		key, err := ring.VerifyBundle(document, s.bundle(t, document))
		if err != nil || key.Fingerprint() != s.key.Fingerprint() {
			t.Errorf("%s: bundle: %v, by %q", name, err, key.Name())
		}
		key, err = ring.VerifyFile(bytes.NewReader(document), s.detached(t, document))
		if name == "ed25519" {
			var noMatch *NoMatchError
			if !errors.As(err, &noMatch) {
				t.Errorf("%s: file: got %v, want a NoMatchError", name, err)
			}
			continue
		}
		if err != nil || key.Fingerprint() != s.key.Fingerprint() {
			t.Errorf("%s: file: %v, by %q", name, err, key.Name())
		}
	}
}

// TestVerifyWhatCosignMade takes signatures of the real program: cosign 2.6.5, with
// the spaces protojson puts in, and 3.1.3.
func TestVerifyWhatCosignMade(t *testing.T) {
	key, err := ParseKey("cosign.pub", []byte(cosignPub))
	if err != nil {
		t.Fatal(err)
	}
	ring := NewKeyring(key)
	two := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial":{"publicKey":{"hint":"NCv/2Ghs2hsNdtQgrqZw0DqcCdqrhQREhbop7EpLPhY="}}, "messageSignature":{"messageDigest":{"algorithm":"SHA2_256", "digest":"40ZDICGwQXlRjZYU81YMzXE1Sk7hAd3LiT1pWanWMBw="}, "signature":"MEYCIQC8e72+tgeFEkm5YeGcN4jx0VlPN6RlTBDwEB/kB6YYdwIhAIa7F7ea+DgtotwIKmvJnbgNYzhX+fzUUwa/TOSsVUTX"}}`
	three := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"NCv/2Ghs2hsNdtQgrqZw0DqcCdqrhQREhbop7EpLPhY="}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"40ZDICGwQXlRjZYU81YMzXE1Sk7hAd3LiT1pWanWMBw="},"signature":"MEYCIQDW35UnIhQqxKahS0LLgwDpXVfTw6X7LCV7M4CYqiAKwwIhAJ9n55BM+TJw+KvPUvLpEF+EEF1km7LOXffX5KUuLJZ3"}}`
	for name, signature := range map[string]string{"cosign 2": two, "cosign 3": three} {
		if _, err := ring.VerifyBundle([]byte(`{"a":1}`+"\n"), []byte(signature)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ring.VerifyBundle([]byte(`{"a":2}`+"\n"), []byte(signature)); err == nil {
			t.Errorf("%s: another document verified", name)
		}
	}
}

func TestEmptyKeyringVerifiesNothing(t *testing.T) {
	s := newSigner(t, "a")
	revokedOnly := &Keyring{}
	revokedOnly.Revoke(s.key)
	zeroKey := NewKeyring(Key{})
	for name, ring := range map[string]*Keyring{"nil": nil, "zero": {}, "revoked only": revokedOnly, "zero key": zeroKey} {
		if !ring.Empty() {
			t.Errorf("%s: not empty", name)
		}
		if _, err := ring.VerifyBundle(document, s.bundle(t, document)); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: bundle: got %v, want ErrNoKey", name, err)
		}
		if _, err := ring.VerifyFile(bytes.NewReader(document), s.detached(t, document)); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: file: got %v, want ErrNoKey", name, err)
		}
	}
}

func TestWrongKey(t *testing.T) {
	a, b, stranger := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "stranger")
	ring := NewKeyring(a.key, b.key, a.key)
	want := []string{a.key.Fingerprint(), b.key.Fingerprint()}
	for name, verify := range map[string]func() (Key, error){
		"bundle": func() (Key, error) { return ring.VerifyBundle(document, stranger.bundle(t, document)) },
		"file": func() (Key, error) {
			return ring.VerifyFile(bytes.NewReader(document), stranger.detached(t, document))
		},
	} {
		key, err := verify()
		var noMatch *NoMatchError
		if !errors.As(err, &noMatch) {
			t.Fatalf("%s: got %v, want a NoMatchError", name, err)
		}
		if diff := cmp.Diff(want, noMatch.Tried); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if key.Fingerprint() != "" {
			t.Errorf("%s: a key came with the error", name)
		}
	}
}

func TestRevokedKey(t *testing.T) {
	old, current := newSigner(t, "old"), newSigner(t, "current")
	ring := NewKeyring(old.key, current.key)
	ring.Revoke(old.key)
	check := func(name string, ring *Keyring) {
		t.Helper()
		var revoked *RevokedError
		_, err := ring.VerifyBundle(document, old.bundle(t, document))
		if !errors.As(err, &revoked) || revoked.Key.Fingerprint() != old.key.Fingerprint() {
			t.Errorf("%s: bundle: got %v, want a RevokedError", name, err)
		}
		_, err = ring.VerifyFile(bytes.NewReader(document), old.detached(t, document))
		if !errors.As(err, &revoked) {
			t.Errorf("%s: file: got %v, want a RevokedError", name, err)
		}
	}
	check("revoked after it was trusted", ring)
	if _, err := ring.VerifyBundle(document, current.bundle(t, document)); err != nil {
		t.Error("the other key:", err)
	}
	other := NewKeyring(old.key)
	other.Merge(ring)
	check("revoked by a merge", other)
	ring.Trust(old.key)
	check("trusted again", ring)
	if got := ring.Keys(); len(got) != 1 || got[0].Fingerprint() != current.key.Fingerprint() {
		t.Errorf("keys that count: %v", got)
	}
	if got := ring.Revoked(); len(got) != 1 || got[0].Fingerprint() != old.key.Fingerprint() {
		t.Errorf("revoked keys: %v", got)
	}
	only := NewKeyring(old.key)
	only.Revoke(old.key)
	check("the only key", only)
	_, err := only.VerifyBundle(document, current.bundle(t, document))
	var noMatch *NoMatchError
	if !errors.As(err, &noMatch) || len(noMatch.Tried) != 0 {
		t.Errorf("a stranger, with all keys revoked: got %v", err)
	}
}

// TestHintIsOnlyAHint has a signature that names another trusted key, and none.
func TestHintIsOnlyAHint(t *testing.T) {
	a, b, c := newSigner(t, "a"), newSigner(t, "b"), newSigner(t, "c")
	ring := NewKeyring(a.key, b.key, c.key)
	sum := sha256.Sum256(document)
	sig := b.detached(t, document)
	for _, hint := range []string{"", "nonsense", cosignHint(a.key), cosignHint(b.key), cosignHint(c.key)} {
		key, err := ring.VerifyBundle(document, sigstoreJSON(hint, sum, sig))
		if err != nil || key.Name() != "b" {
			t.Errorf("hint %q: %v, by %q", hint, err, key.Name())
		}
	}
	_, err := ring.VerifyBundle(document, sigstoreJSON(cosignHint(a.key), sum, newSigner(t, "x").detached(t, document)))
	var noMatch *NoMatchError
	if !errors.As(err, &noMatch) || noMatch.Hint != cosignHint(a.key) || len(noMatch.Tried) != 3 {
		t.Errorf("a stranger with the hint of a trusted key: got %v", err)
	}
}

func TestEveryChangedByteIsRefused(t *testing.T) {
	s := newSigner(t, "a")
	ring := NewKeyring(s.key)
	signature, detached := s.bundle(t, document), s.detached(t, document)
	for i := range document {
		for _, bit := range []byte{1, 0x20, 0x80} {
			changed := bytes.Clone(document)
			changed[i] ^= bit
			var changedErr *DigestError
			if _, err := ring.VerifyBundle(changed, signature); !errors.As(err, &changedErr) {
				t.Errorf("document byte %d: got %v, want a DigestError", i, err)
			}
			var noMatch *NoMatchError
			if _, err := ring.VerifyFile(bytes.NewReader(changed), detached); !errors.As(err, &noMatch) {
				t.Errorf("document byte %d: got %v, want a NoMatchError", i, err)
			}
		}
	}
	for i := range detached {
		for delta := 1; delta < 256; delta++ {
			changed := bytes.Clone(detached)
			changed[i] ^= byte(delta)
			if _, err := ring.VerifyFile(bytes.NewReader(document), changed); err == nil {
				t.Fatalf("byte %d of the signature changed by %#x: verified", i, delta)
			}
		}
	}
	for _, n := range []int{0, 1, len(detached) - 1} {
		if _, err := ring.VerifyFile(bytes.NewReader(document), detached[:n]); err == nil {
			t.Errorf("signature cut to %d bytes: verified", n)
		}
	}
	if _, err := ring.VerifyFile(bytes.NewReader(document), append(bytes.Clone(detached), 0)); err == nil {
		t.Error("signature with a byte after it: verified")
	}
}

// TestEveryChangedByteOfTheSigstoreBundle allows for one thing only: another hint.
func TestEveryChangedByteOfTheSigstoreBundle(t *testing.T) {
	s := newSigner(t, "a")
	ring := NewKeyring(s.key)
	signature := s.bundle(t, document)
	hint := cosignHint(s.key)
	start := bytes.Index(signature, []byte(hint))
	for i := range signature {
		inHint := i >= start && i < start+len(hint)
		for delta := 1; delta < 256; delta++ {
			changed := bytes.Clone(signature)
			changed[i] ^= byte(delta)
			key, err := ring.VerifyBundle(document, changed)
			if err == nil && (!inHint || key.Fingerprint() != s.key.Fingerprint()) {
				t.Fatalf("byte %d (%q) changed by %#x: verified", i, signature[i], delta)
			}
		}
	}
	for n := range signature {
		var malformed *MalformedError
		if _, err := ring.VerifyBundle(document, signature[:n]); !errors.As(err, &malformed) {
			t.Errorf("cut to %d bytes: got %v, want a MalformedError", n, err)
		}
	}
}

func TestVerifyBundleIsMalformed(t *testing.T) {
	s := newSigner(t, "a")
	ring := NewKeyring(s.key)
	good := string(s.bundle(t, document))
	sum := sha256.Sum256(document)
	b64 := base64.StdEncoding.EncodeToString(sum[:])
	replace := func(old, replacement string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	tests := map[string]string{
		"empty":             "",
		"not JSON":          "signature",
		"null":              "null",
		"a list":            "[" + good + "]",
		"twice":             good + good,
		"text after":        good + "x",
		"not UTF-8":         replace(`"hint":"`, `"hint":"`+"\xff"),
		"other media type":  replace("v0.3+json", "v0.4+json"),
		"no media type":     replace(`"mediaType"`, `"mediatype"`),
		"unknown field":     replace(`{"mediaType"`, `{"x":1,"mediaType"`),
		"unknown in inner":  replace(`{"hint"`, `{"rawBytes":"","hint"`),
		"field twice":       replace(`"signature":`, `"signature":"AAAA","signature":`),
		"field twice, case": replace(`"signature":`, `"Signature":"AAAA","signature":`),
		"snake case":        replace(`messageSignature`, `message_signature`),
		"hint a number":     replace(`"hint":"`+cosignHint(s.key)+`"`, `"hint":7`),
		"no key":            replace(`"publicKey":{"hint":"`+cosignHint(s.key)+`"}`, ``),
		"certificate":       replace(`"publicKey":{`, `"certificate":{"rawBytes":""},"publicKey":{`),
		"log entries":       replace(`"publicKey":{`, `"tlogEntries":[{}],"publicKey":{`),
		"attestation":       replace(`"messageSignature"`, `"dsseEnvelope"`),
		"no digest":         replace(`"messageDigest":{"algorithm":"SHA2_256","digest":"`+b64+`"},`, ``),
		"other algorithm":   replace(`SHA2_256`, `SHA2_512`),
		"short digest":      replace(b64, base64.StdEncoding.EncodeToString(sum[:31])),
		"unpadded digest":   replace(b64, strings.TrimRight(b64, "=")),
		"newline in digest": replace(b64, b64[:8]+`\n`+b64[8:]),
		"empty signature":   replace(`"signature":"`, `"signature":"","x":"`),
		"deep":              replace(`{"mediaType"`, `{"x":`+deep+`,"mediaType"`),
		"too large":         good + strings.Repeat(" ", MaxSigstoreSize),
		"huge signature":    string(sigstoreJSON("", sum, make([]byte, MaxDetachedSize+1))),
	}
	for name, signature := range tests {
		var malformed *MalformedError
		if _, err := ring.VerifyBundle(document, []byte(signature)); !errors.As(err, &malformed) {
			t.Errorf("%s: got %v, want a MalformedError", name, err)
		}
	}
	spaced := strings.ReplaceAll(good, `":`, "\" :\n\t") + "\n"
	if _, err := ring.VerifyBundle(document, []byte(spaced)); err != nil {
		t.Errorf("with white space: %v", err)
	}
}

func TestVerifyFileReading(t *testing.T) {
	s := newSigner(t, "a")
	ring := NewKeyring(s.key)
	sig := s.detached(t, document)
	broken := io.MultiReader(bytes.NewReader(document), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := ring.VerifyFile(broken, sig); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want what reading failed with", err)
	}
	var malformed *MalformedError
	if _, err := ring.VerifyFile(bytes.NewReader(document), make([]byte, MaxDetachedSize+1)); !errors.As(err, &malformed) {
		t.Errorf("huge signature: got %v, want a MalformedError", err)
	}
}
