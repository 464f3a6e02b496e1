package rpm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Keyring holds the public keys of a vendor.
type Keyring struct {
	entities openpgp.EntityList
}

// maxKeyring bounds a keyring file, in bytes, and maxSignature a signature.
const (
	maxKeyring   = 1 << 20
	maxSignature = 1 << 16
)

// ReadKeyring reads public keys: armoured blocks one after the other, as in
// RPM-GPG-KEY files, or binary.
func ReadKeyring(data []byte) (*Keyring, error) {
	if len(data) > maxKeyring {
		return nil, fmt.Errorf("reading a keyring: larger than %d bytes", maxKeyring)
	}
	k := &Keyring{}
	if !bytes.Contains(data, []byte("-----BEGIN PGP")) {
		if err := k.read(bytes.NewReader(data)); err != nil {
			return nil, err
		}
		return k, nil
	}
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	for {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			break
		}
		data = data[i:]
		next := bytes.Index(data[len(begin):], []byte(begin))
		block := data
		if next >= 0 {
			block = data[:len(begin)+next]
		}
		decoded, err := armor.Decode(bytes.NewReader(block))
		if err != nil {
			return nil, fmt.Errorf("reading a keyring: %w", err)
		}
		if err := k.read(decoded.Body); err != nil {
			return nil, err
		}
		data = data[len(begin):]
	}
	if len(k.entities) == 0 {
		return nil, errors.New("reading a keyring: no public key in it")
	}
	return k, nil
}

func (k *Keyring) read(r io.Reader) error {
	list, err := openpgp.ReadKeyRing(r)
	if err != nil {
		return fmt.Errorf("reading a keyring: %w", err)
	}
	k.entities = append(k.entities, list...)
	return nil
}

// Fingerprints of the primary keys, upper-case hex.
func (k *Keyring) Fingerprints() []string {
	var out []string
	for _, e := range k.entities {
		out = append(out, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
	}
	return out
}

// Signer says whose key made a signature that verified.
type Signer struct {
	// Fingerprint of the key that signed, a subkey perhaps; upper-case hex.
	Fingerprint string
	// Identity is the key's first user id.
	Identity string
}

// SignatureError says that a signature is missing, wrong or by nobody known.
type SignatureError struct {
	// What was to be verified.
	What   string
	Reason string
}

func (e *SignatureError) Error() string { return fmt.Sprintf("verifying %s: %s", e.What, e.Reason) }

// VerifyDetached verifies a detached signature, armoured or binary, over data. One
// good signature by a key of the ring is enough. The error is a *SignatureError.
func (k *Keyring) VerifyDetached(what string, data, signature []byte) (*Signer, error) {
	if len(signature) > maxSignature {
		return nil, &SignatureError{what, "the signature is too large"}
	}
	if bytes.HasPrefix(bytes.TrimSpace(signature), []byte("-----BEGIN PGP")) {
		block, err := armor.Decode(bytes.NewReader(signature))
		if err != nil {
			return nil, &SignatureError{what, "its armour cannot be read: " + err.Error()}
		}
		if signature, err = io.ReadAll(io.LimitReader(block.Body, maxSignature)); err != nil {
			return nil, &SignatureError{what, "its armour cannot be read: " + err.Error()}
		}
	}
	sigs, err := parseSignatures(signature)
	if err != nil {
		return nil, &SignatureError{what, err.Error()}
	}
	reason := "no signature"
	for _, s := range sigs {
		h, err := s.newHash()
		if err == nil {
			h.Write(data)
			var signer *Signer
			if signer, err = k.check(s, h); err == nil {
				return signer, nil
			}
		}
		reason = err.Error()
	}
	return nil, &SignatureError{what, reason}
}

// find is the key that a signature says it is by. When it is not there the
// reason names the key wanted.
func (k *Keyring) find(s *signature) (*openpgp.Entity, *packet.PublicKey, error) {
	for _, e := range k.entities {
		keys := []*packet.PublicKey{e.PrimaryKey}
		for _, sub := range e.Subkeys {
			keys = append(keys, sub.PublicKey)
		}
		for _, key := range keys {
			if s.by(key) {
				return e, key, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("it is signed by key %s, which the keyring does not hold", s.issuer())
}

func identityOf(e *openpgp.Entity) string {
	if id := e.PrimaryIdentity(); id != nil {
		return id.Name
	}
	return hex.EncodeToString(e.PrimaryKey.Fingerprint)
}
