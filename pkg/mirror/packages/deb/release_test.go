package deb

import (
	"testing"

	"naru/manifest"
)

// FuzzInRelease holds that no text is taken for signed by Debian, and that what is no
// text of the form is an error.
func FuzzInRelease(f *testing.F) {
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nx\n-----BEGIN PGP SIGNATURE-----\n\nwsBc\n-----END PGP SIGNATURE-----\n"), "Date: Sat, 11 Jul 2026 10:16:37 UTC\nSHA256:\n a 1 b\n")
	data, err := manifest.Keyring("debian-12")
	if err != nil {
		f.Fatal(err)
	}
	keys, err := readKeys(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if _, _, err := verifyClearsigned(data, keys); err == nil {
			t.Error("a signature by Debian was made up")
		}
		r, err := parseRelease([]byte(text))
		if err == nil && (len(r.Files) == 0 || r.Date.IsZero()) {
			t.Errorf("taken for a Release file: %q", text)
		}
	})
}
