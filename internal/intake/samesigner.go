package intake

import (
	"bytes"

	"naru/pkg/sign/verify"
)

// SameSigner tells, for the keys that bundles were opened with, whether one key made two
// detached signatures over the same payload. It is nil where nobody was asked who signed,
// so that nobody knows.
func SameSigner(bundles []*Bundle) func(payload, a, b []byte) bool {
	ring := verify.NewKeyring()
	for _, b := range bundles {
		if b.ring != nil {
			ring.Merge(b.ring)
		}
	}
	if ring.Empty() {
		return nil
	}
	return func(payload, a, b []byte) bool {
		first, err := ring.VerifyFile(bytes.NewReader(payload), a)
		if err != nil {
			return false
		}
		second, err := ring.VerifyFile(bytes.NewReader(payload), b)
		return err == nil && first.Fingerprint() == second.Fingerprint()
	}
}
