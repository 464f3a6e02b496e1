package packages

import (
	"bytes"
	"errors"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// armoured is a keyring in the form that apt and dnf take, text.
func armoured(keyring []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimSpace(keyring), []byte("-----BEGIN")) {
		return keyring, nil
	}
	var buf bytes.Buffer
	w, err := armor.Encode(&buf, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(keyring)
	err = errors.Join(err, w.Close())
	return append(buf.Bytes(), '\n'), err
}
