package manifest_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"naru/manifest"
)

// TestKeyringsAreThoseOfTheTable holds that every keyring parses, is public, and has
// the keys that the README of the folder gives fingerprints of, and no others.
func TestKeyringsAreThoseOfTheTable(t *testing.T) {
	table, err := os.ReadFile("keyrings/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range manifest.KeyringNames() {
		data, err := manifest.Keyring(name)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
		if err != nil {
			t.Errorf("keyring %q: %v", name, err)
			continue
		}
		_, row, found := strings.Cut(string(table), "\n| "+name+" | ")
		row, _, _ = strings.Cut(row, "\n")
		if !found || strings.Count(row, "`") != 2*len(keys) {
			t.Errorf("keyring %q has %d keys, its row in the table is %q", name, len(keys), row)
		}
		for _, k := range keys {
			fingerprint := strings.ToUpper(hex.EncodeToString(k.PrimaryKey.Fingerprint))
			if k.PrivateKey != nil || !strings.Contains(row, "`"+fingerprint+"`") {
				t.Errorf("keyring %q: %s is not in its row of the table, or private", name, fingerprint)
			}
		}
	}
}
