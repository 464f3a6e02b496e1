package deb

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"naru/manifest"
)

// maxRelease bounds an InRelease file, in bytes.
const maxRelease = 16 << 20

// Errors about InRelease files.
var (
	// ErrNotClearsigned says that a file is not one signed text and nothing else.
	ErrNotClearsigned = errors.New("not one clear-signed text")
	// ErrWeakHash says that a signature is over a hash that can be forged, or not one
	// that vendors use.
	ErrWeakHash = errors.New("signed over a weak hash")
	// ErrRelease says that the signed text is not a Release file.
	ErrRelease = errors.New("not a Release file")
)

// Release is what a signed InRelease says.
type Release struct {
	Suite, Codename string
	Date            time.Time
	Components      []string
	Architectures   []string
	ByHash          bool
	// NoAll says that the indexes of an architecture hold packages of "all" too.
	NoAll bool
	// NotAutomatic says that apt prefers every other suite to this one.
	NotAutomatic bool
	// Files are the indexes by path below dists/<suite>/.
	Files map[string]IndexFile
	// Signer is the fingerprint of the key that made the signature that was verified.
	Signer string
}

// IndexFile is what a Release file says of an index.
type IndexFile struct {
	SHA256 string
	Size   int64
}

// ReadRelease verifies an InRelease file with the keys given and parses what they
// signed. One good signature by any of the keys is enough.
func ReadRelease(data, keyring []byte) (*Release, error) {
	keys, err := readKeys(keyring)
	if err != nil {
		return nil, err
	}
	text, signer, err := verifyClearsigned(data, keys)
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(text)
	if err != nil {
		return nil, err
	}
	r.Signer = signer
	return r, nil
}

// readKeys reads an armoured or binary keyring.
func readKeys(keyring []byte) (openpgp.EntityList, error) {
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(keyring), []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(keyring))
	if err != nil {
		return nil, fmt.Errorf("reading the keyring: %w", err)
	}
	return keys, nil
}

// verifyClearsigned is the text that was signed, and the fingerprint of the key.
func verifyClearsigned(data []byte, keys openpgp.EntityList) ([]byte, string, error) {
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, "", ErrNotClearsigned
	}
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", ErrNotClearsigned
	}
	signature, err := io.ReadAll(io.LimitReader(block.ArmoredSignature.Body, maxRelease))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNotClearsigned, err)
	}
	sig, signer, err := openpgp.VerifyDetachedSignature(keys, bytes.NewReader(block.Bytes), bytes.NewReader(signature), &packet.Config{})
	if err != nil {
		return nil, "", err
	}
	if h := sig.Hash; h != crypto.SHA256 && h != crypto.SHA384 && h != crypto.SHA512 {
		return nil, "", fmt.Errorf("%w: %v", ErrWeakHash, h)
	}
	fingerprint := signer.PrimaryKey.Fingerprint
	if len(sig.IssuerFingerprint) > 0 {
		fingerprint = sig.IssuerFingerprint
	}
	return block.Plaintext, strings.ToUpper(hex.EncodeToString(fingerprint)), nil
}

func parseRelease(text []byte) (*Release, error) {
	reader := NewReader(bytes.NewReader(text))
	p, err := reader.Next()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelease, err)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one paragraph", ErrRelease)
	}
	r := &Release{
		Suite: p["suite"], Codename: p["codename"],
		Components: strings.Fields(p["components"]), Architectures: strings.Fields(p["architectures"]),
		ByHash: p["acquire-by-hash"] == "yes", NotAutomatic: p["notautomatic"] == "yes",
		NoAll: slices.Contains(strings.Fields(p["no-support-for-architecture-all"]), "Packages"),
		Files: map[string]IndexFile{},
	}
	if r.Date, err = parseDate(p["date"]); err != nil {
		return nil, fmt.Errorf("%w: date %q", ErrRelease, p["date"])
	}
	for _, line := range strings.Split(p["sha256"], "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if err := r.addFile(fields); err != nil {
			return nil, err
		}
	}
	if len(r.Files) == 0 {
		return nil, fmt.Errorf("%w: no SHA256 of any index", ErrRelease)
	}
	return r, nil
}

func (r *Release) addFile(fields []string) error {
	if len(fields) != 3 || !isSHA256(fields[0]) || !manifest.CleanPath(fields[2]) {
		return fmt.Errorf("%w: checksum line %q", ErrRelease, strings.Join(fields, " "))
	}
	size, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("%w: size of %q is %q", ErrRelease, fields[2], fields[1])
	}
	if old, ok := r.Files[fields[2]]; ok && old != (IndexFile{fields[0], size}) {
		return fmt.Errorf("%w: two checksums for %q", ErrRelease, fields[2])
	}
	r.Files[fields[2]] = IndexFile{SHA256: fields[0], Size: size}
	return nil
}

func isSHA256(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32 && strings.ToLower(s) == s
}

// parseDate reads the date of a Release file, which is always in UTC.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 MST", time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: no date", ErrRelease)
}

// Is tells whether the release is the suite that was asked for: a mirror may serve a
// file of the vendor's that is signed, but another.
func (r *Release) Is(suite string) bool {
	return r.Suite == "" && r.Codename == "" || suite == r.Suite || suite == r.Codename
}

// indexes are the paths of the Packages files that apt asks for, for a section and an
// architecture, the best compressed form of each.
func (r *Release) indexes(section, arch string) ([]string, error) {
	first, ok := r.packages(section, arch)
	if !ok {
		return nil, fmt.Errorf("finding the index of section %q for %s: %w names none", section, arch, errors.New("the InRelease"))
	}
	out := []string{first}
	if all, ok := r.packages(section, "all"); ok && !r.NoAll && slices.Contains(r.Architectures, "all") {
		out = append(out, all)
	}
	return out, nil
}

func (r *Release) packages(section, arch string) (string, bool) {
	for _, ext := range []string{".xz", ".gz", ""} {
		p := section + "/binary-" + arch + "/Packages" + ext
		if _, ok := r.Files[p]; ok {
			return p, true
		}
	}
	return "", false
}
