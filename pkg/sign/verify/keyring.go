package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
)

// MaxDetachedSize is the largest detached signature, in bytes, that is looked at.
const MaxDetachedSize = 4 << 10

// Keyring is whose signatures count. The zero Keyring trusts nobody. Once filled
// it may be used by several goroutines.
type Keyring struct {
	trusted []Key
	revoked []Key
}

// NewKeyring trusts keys.
func NewKeyring(keys ...Key) *Keyring {
	k := &Keyring{}
	k.Trust(keys...)
	return k
}

// Trust adds keys; one that is there already, or is the zero Key, is passed over.
func (k *Keyring) Trust(keys ...Key) { k.trusted = addKeys(k.trusted, keys) }

// Revoke refuses keys from now on, trusted or not.
func (k *Keyring) Revoke(keys ...Key) { k.revoked = addKeys(k.revoked, keys) }

// Merge adds what other trusts and what it has revoked.
func (k *Keyring) Merge(other *Keyring) {
	if other != nil {
		k.Trust(other.trusted...)
		k.Revoke(other.revoked...)
	}
}

// Empty tells whether no key was ever trusted. A keyring whose keys are all
// revoked is not empty, yet verifies nothing.
func (k *Keyring) Empty() bool { return k == nil || len(k.trusted) == 0 }

// Keys are the keys whose signatures count: those trusted and not revoked.
func (k *Keyring) Keys() []Key {
	if k == nil {
		return nil
	}
	var out []Key
	for _, key := range k.trusted {
		if !containsKey(k.revoked, key) {
			out = append(out, key)
		}
	}
	return out
}

// Revoked are the keys that are refused.
func (k *Keyring) Revoked() []Key {
	if k == nil {
		return nil
	}
	return slices.Clone(k.revoked)
}

// VerifyBundle checks that signature, a sigstore bundle v0.3, is one over document
// by a key of k, and returns that key. The hint in it decides which key is tried
// first and nothing else. Errors: ErrNoKey, *MalformedError, *DigestError,
// *NoMatchError, *RevokedError; the Key is zero with each of them.
func (k *Keyring) VerifyBundle(document, signature []byte) (Key, error) {
	if k.Empty() {
		return Key{}, fmt.Errorf("verifying the bundle signature: %w", ErrNoKey)
	}
	sig, err := parseSigstore(signature)
	if err != nil {
		return Key{}, fmt.Errorf("verifying the bundle signature: %w", err)
	}
	sum := sha256.Sum256(document)
	if sum != sig.digest {
		return Key{}, fmt.Errorf("verifying the bundle signature: %w", &DigestError{
			Signed: digest.NewDigestFromBytes(digest.SHA256, sig.digest[:]),
			Got:    digest.NewDigestFromBytes(digest.SHA256, sum[:]),
		})
	}
	key, err := k.find(sig.hint, func(key Key) bool { return key.verifyMessage(document, sum, sig.signature) })
	if err != nil {
		return Key{}, fmt.Errorf("verifying the bundle signature: %w", err)
	}
	return key, nil
}

// VerifyFile checks that signature is a detached one over the SHA-256 of what data
// yields, as `openssl dgst -sha256 -verify` does, and returns the key it is by.
// It reads data to its end and keeps none of it: what the caller goes on to use
// must be the same bytes. Ed25519 keys make no such signatures and match none.
// Errors: those of VerifyBundle but *DigestError, and what reading fails with.
func (k *Keyring) VerifyFile(data io.Reader, signature []byte) (Key, error) {
	if k.Empty() {
		return Key{}, fmt.Errorf("verifying a detached signature: %w", ErrNoKey)
	}
	if len(signature) == 0 || len(signature) > MaxDetachedSize {
		return Key{}, fmt.Errorf("verifying a detached signature: %w", &MalformedError{What: "signature",
			Err: fmt.Errorf("%d bytes, want 1 to %d", len(signature), MaxDetachedSize)})
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, data); err != nil {
		return Key{}, fmt.Errorf("reading what was signed: %w", err)
	}
	sum := [sha256.Size]byte(hash.Sum(nil))
	key, err := k.find("", func(key Key) bool { return key.verifyDigest(sum, signature) })
	if err != nil {
		return Key{}, fmt.Errorf("verifying a detached signature: %w", err)
	}
	return key, nil
}

// find returns the key that matches, the one hinted at first. Revoked keys are
// tried last, to tell a withdrawn signer from a stranger.
func (k *Keyring) find(hint string, matches func(Key) bool) (Key, error) {
	keys := k.Keys()
	if i := slices.IndexFunc(keys, func(key Key) bool { return hint != "" && cosignHint(key) == hint }); i > 0 {
		keys[0], keys[i] = keys[i], keys[0]
	}
	tried := make([]string, 0, len(keys))
	for _, key := range keys {
		if matches(key) {
			return key, nil
		}
		tried = append(tried, key.Fingerprint())
	}
	for _, key := range k.revoked {
		if matches(key) {
			return Key{}, &RevokedError{Key: key}
		}
	}
	return Key{}, &NoMatchError{Tried: tried, Hint: hint}
}

// cosignHint is how cosign names a key in a sigstore bundle: the fingerprint in
// base64.
func cosignHint(key Key) string {
	raw, err := hex.DecodeString(key.fingerprint)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func addKeys(list, more []Key) []Key {
	for _, key := range more {
		if key.public != nil && !containsKey(list, key) {
			list = append(list, key)
		}
	}
	return list
}

func containsKey(list []Key, key Key) bool {
	return slices.ContainsFunc(list, func(k Key) bool { return k.fingerprint == key.fingerprint })
}
