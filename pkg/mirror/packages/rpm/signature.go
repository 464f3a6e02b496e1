package rpm

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that signatures may use
	_ "crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// signature is an OpenPGP signature over bytes, of version 3 or later. Version 3
// is what the Open Build Service and older rpm sign with, and no maintained
// library reads it any more.
type signature struct {
	v4 *packet.Signature // nil for version 3
	v3 *signatureV3
}

// signatureV3 is a signature packet of version 3 (RFC 4880, 5.2.2) by an RSA key.
type signatureV3 struct {
	hash    crypto.Hash
	kind    byte
	created uint32
	key     uint64
	left    [2]byte // of the hash
	value   []byte
}

// goodHashes are the hash algorithms of signatures that are believed, by their
// OpenPGP number.
var goodHashes = map[byte]crypto.Hash{8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512}

// parseSignatures reads signature packets.
func parseSignatures(data []byte) ([]*signature, error) {
	var out []*signature
	for len(data) > 0 {
		tag, body, rest, err := splitPacket(data)
		if err != nil {
			return nil, err
		}
		if tag != 2 {
			return nil, fmt.Errorf("it holds an OpenPGP packet of type %d where a signature should be", tag)
		}
		var s *signature
		if len(body) > 0 && body[0] == 3 {
			s, err = parseV3(body)
		} else {
			s, err = parseV4(data[:len(data)-len(rest)])
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
		data = rest
	}
	if len(out) == 0 {
		return nil, errors.New("the signature is empty")
	}
	return out, nil
}

// splitPacket cuts off the first OpenPGP packet, of old or new format (RFC 4880,
// 4.2). Partial and open-ended lengths are not for signatures.
func splitPacket(data []byte) (tag byte, body, rest []byte, err error) {
	bad := errors.New("the signature is no OpenPGP packet")
	if len(data) < 2 || data[0]&0x80 == 0 {
		return 0, nil, nil, bad
	}
	var head, size int
	if data[0]&0x40 != 0 { // new format
		tag = data[0] & 0x3f
		switch n := int(data[1]); {
		case n < 192:
			head, size = 2, n
		case n < 224 && len(data) > 2:
			head, size = 3, (n-192)<<8+int(data[2])+192
		case n == 255 && len(data) > 5:
			head, size = 6, int(binary.BigEndian.Uint32(data[2:6]))
		default:
			return 0, nil, nil, bad
		}
	} else {
		tag = data[0] >> 2 & 0xf
		switch n := data[0] & 3; {
		case n == 0:
			head, size = 2, int(data[1])
		case n == 1 && len(data) > 2:
			head, size = 3, int(binary.BigEndian.Uint16(data[1:3]))
		case n == 2 && len(data) > 4:
			head, size = 5, int(binary.BigEndian.Uint32(data[1:5]))
		default:
			return 0, nil, nil, bad
		}
	}
	if size > len(data)-head {
		return 0, nil, nil, errors.New("the signature ends early")
	}
	return tag, data[head : head+size], data[head+size:], nil
}

func parseV4(raw []byte) (*signature, error) {
	p, err := packet.Read(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading the signature: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, errors.New("reading the signature: it is none")
	}
	if !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, sig.Hash) {
		return nil, fmt.Errorf("the signature uses hash %v, which is not believed", sig.Hash)
	}
	if sig.SigType != packet.SigTypeBinary {
		return nil, fmt.Errorf("the signature is of type %d, not one over bytes", sig.SigType)
	}
	return &signature{v4: sig}, nil
}

func parseV3(body []byte) (*signature, error) {
	// version, 5, type, time, key id, key algorithm, hash algorithm, 2 bytes of hash
	const head = 1 + 1 + 1 + 4 + 8 + 1 + 1 + 2
	if len(body) < head+2 || body[1] != 5 {
		return nil, errors.New("the signature of version 3 is malformed")
	}
	s := &signatureV3{kind: body[2], created: binary.BigEndian.Uint32(body[3:7]), key: binary.BigEndian.Uint64(body[7:15]), left: [2]byte(body[17:19])}
	if s.kind != 0 {
		return nil, fmt.Errorf("the signature is of type %d, not one over bytes", s.kind)
	}
	if body[15] != 1 && body[15] != 3 {
		return nil, fmt.Errorf("the signature of version 3 uses key algorithm %d, only RSA is read", body[15])
	}
	var ok bool
	if s.hash, ok = goodHashes[body[16]]; !ok {
		return nil, fmt.Errorf("the signature uses hash algorithm %d, which is not believed", body[16])
	}
	size := int(binary.BigEndian.Uint16(body[head : head+2])) // in bits
	s.value = body[head+2:]
	if len(s.value) == 0 || size != (len(s.value)-1)*8+bits.Len8(s.value[0]) {
		return nil, errors.New("the signature of version 3 is malformed")
	}
	return &signature{v3: s}, nil
}

// newHash is the hash to write what is signed to.
func (s *signature) newHash() (hash.Hash, error) {
	if s.v3 != nil {
		return s.v3.hash.New(), nil
	}
	return s.v4.PrepareVerify()
}

func (s *signature) by(key *packet.PublicKey) bool {
	if s.v3 != nil {
		return s.v3.key == key.KeyId
	}
	return s.v4.CheckKeyIdOrFingerprint(key)
}

func (s *signature) issuer() string {
	switch {
	case s.v3 != nil:
		return fmt.Sprintf("%016X", s.v3.key)
	case len(s.v4.IssuerFingerprint) > 0:
		return fmt.Sprintf("%X", s.v4.IssuerFingerprint)
	case s.v4.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *s.v4.IssuerKeyId)
	}
	return "of no name"
}

func (s *signature) created() time.Time {
	if s.v3 != nil {
		return time.Unix(int64(s.v3.created), 0)
	}
	return s.v4.CreationTime
}

// check verifies a signature over what h was fed with. The key must have been
// valid when it signed; that it expired since does not take back what it signed.
func (k *Keyring) check(s *signature, h hash.Hash) (*Signer, error) {
	entity, key, err := k.find(s)
	if err != nil {
		return nil, err
	}
	if err := valid(entity, key, s.created()); err != nil {
		return nil, err
	}
	if s.v3 != nil {
		err = s.v3.verify(key, h)
	} else {
		err = key.VerifySignature(h, s.v4)
	}
	if err != nil {
		return nil, errors.New("the signature does not fit the content")
	}
	return &Signer{Fingerprint: fmt.Sprintf("%X", key.Fingerprint), Identity: identityOf(entity)}, nil
}

// valid tells whether a key of an entity could sign at a time.
func valid(e *openpgp.Entity, key *packet.PublicKey, at time.Time) error {
	if e.Revoked(at) {
		return fmt.Errorf("its key %X is revoked", e.PrimaryKey.Fingerprint)
	}
	var self *packet.Signature
	if id := e.PrimaryIdentity(); id != nil {
		self = id.SelfSignature
	}
	for i := range e.Subkeys {
		sub := &e.Subkeys[i]
		if sub.PublicKey == key {
			if sub.Revoked(at) {
				return fmt.Errorf("its subkey %X is revoked", key.Fingerprint)
			}
			self = sub.Sig
		}
	}
	if self != nil && key.KeyExpired(self, at) {
		return fmt.Errorf("its key %X was not valid on %s, when it signed", key.Fingerprint, at.UTC().Format(time.DateOnly))
	}
	return nil
}

func (s *signatureV3) verify(key *packet.PublicKey, h hash.Hash) error {
	pub, ok := key.PublicKey.(*rsa.PublicKey)
	if !ok {
		return errors.New("the key is no RSA key")
	}
	var tail [5]byte
	tail[0] = s.kind
	binary.BigEndian.PutUint32(tail[1:], s.created)
	h.Write(tail[:])
	sum := h.Sum(nil)
	if [2]byte(sum[:2]) != s.left {
		return errors.New("the hash differs")
	}
	value := make([]byte, pub.Size())
	if len(s.value) > len(value) {
		return errors.New("the signature is longer than the key")
	}
	copy(value[len(value)-len(s.value):], s.value) // leading zeros are not in the packet
	return rsa.VerifyPKCS1v15(pub, s.hash, sum, value)
}
