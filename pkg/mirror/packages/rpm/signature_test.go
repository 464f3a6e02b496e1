package rpm

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// signer is a key pair made for a test, with its ring.
func signer(t *testing.T) (*openpgp.Entity, *Keyring) {
	t.Helper()
	e, err := openpgp.NewEntity("test", "", "test@lab.test", &packet.Config{RSABits: 2048, Time: func() time.Time { return time.Unix(1_700_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := e.Serialize(&buf); err != nil {
		t.Fatal(err)
	}
	k, err := ReadKeyring(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return e, k
}

// signV3 makes a signature packet of version 3, as the Open Build Service does.
func signV3(t *testing.T, e *openpgp.Entity, data []byte, at time.Time, hashID byte) []byte {
	t.Helper()
	tail := binary.BigEndian.AppendUint32([]byte{0}, uint32(at.Unix()))
	h := crypto.SHA256.New()
	h.Write(data)
	h.Write(tail)
	sum := h.Sum(nil)
	value, err := rsa.SignPKCS1v15(rand.Reader, e.PrivateKey.PrivateKey.(*rsa.PrivateKey), crypto.SHA256, sum)
	if err != nil {
		t.Fatal(err)
	}
	value = bytes.TrimLeft(value, "\x00")
	bits := len(value) * 8
	for b := value[0]; b&0x80 == 0; b <<= 1 {
		bits--
	}
	body := append([]byte{3, 5}, tail...)
	body = binary.BigEndian.AppendUint64(body, e.PrimaryKey.KeyId)
	body = append(body, 1, hashID, sum[0], sum[1])
	body = binary.BigEndian.AppendUint16(body, uint16(bits))
	body = append(body, value...)
	return append(binary.BigEndian.AppendUint16([]byte{0x89}, uint16(len(body))), body...)
}

func TestSignatureV3(t *testing.T) {
	e, k := signer(t)
	data := []byte("repomd")
	at := time.Unix(1_710_000_000, 0)
	good := signV3(t, e, data, at, 8)
	if s, err := k.VerifyDetached("x", data, good); err != nil || s.Fingerprint != k.Fingerprints()[0] {
		t.Errorf("a good signature of version 3: %v, %v", s, err)
	}
	_, other := signer(t)
	for name, c := range map[string]struct {
		ring *Keyring
		data []byte
		sig  []byte
	}{
		"other data":     {k, []byte("repomD"), good},
		"unknown key":    {other, data, good},
		"SHA-1":          {k, data, signV3(t, e, data, at, 2)},
		"before the key": {k, data, signV3(t, e, data, time.Unix(1_600_000_000, 0), 8)},
		"cut":            {k, data, good[:len(good)-1]},
		"empty":          {k, data, nil},
	} {
		var bad *SignatureError
		if _, err := c.ring.VerifyDetached("x", c.data, c.sig); !errors.As(err, &bad) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := k.VerifyDetached("x", data, bad); err == nil {
			t.Errorf("byte %d of the signature changed, and it verifies", i)
		}
	}
}

func TestSignatureV4(t *testing.T) {
	e, k := signer(t)
	data := []byte("repomd")
	var sig bytes.Buffer
	config := &packet.Config{Time: func() time.Time { return time.Unix(1_710_000_000, 0) }}
	if err := openpgp.ArmoredDetachSign(&sig, e, bytes.NewReader(data), config); err != nil {
		t.Fatal(err)
	}
	if _, err := k.VerifyDetached("x", data, sig.Bytes()); err != nil {
		t.Error(err)
	}
	if _, err := k.VerifyDetached("x", []byte("other"), sig.Bytes()); err == nil {
		t.Error("another content verifies")
	}
}

func FuzzVerifyPackage(f *testing.F) {
	head := append(bytes.Clone(leadMagic), make([]byte, leadSize-4)...)
	intro := append(bytes.Clone(headerMagic), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8)
	entry := []byte{0, 0, 1, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8}
	one := append(append(bytes.Clone(intro), entry...), "12345678"...)
	f.Add(append(append(head, one...), one...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := new(Keyring).VerifyPackage("x", bytes.NewReader(data)); err == nil {
			t.Error("an empty keyring verifies a package")
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add([]byte{0x89, 0, 3, 3, 5, 0})
	f.Add([]byte{0xc2, 0x05, 4, 0, 1, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := new(Keyring).VerifyDetached("x", nil, data); err == nil {
			t.Error("an empty keyring verifies a signature")
		}
	})
}
