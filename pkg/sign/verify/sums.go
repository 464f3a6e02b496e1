package verify

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// Names of the list of checksums and of its detached signature on a medium.
const (
	SumsName          = "SHA256SUMS"
	SumsSignatureName = "SHA256SUMS.sig"
)

// MaxSumsSize is the largest SHA256SUMS, in bytes, that is read.
const MaxSumsSize = 8 << 20

// maxNameSize is the longest file name, in bytes, that SHA256SUMS may list.
const maxNameSize = 1024

// Sum is one line of SHA256SUMS.
type Sum struct {
	Name   string        // relative, slash-separated, inside the folder
	Digest digest.Digest // sha256
}

// ParseSums reads a SHA256SUMS in the format that sha256sum writes: 64 lower-case
// hex digits, two spaces, the name, a newline. Names that leave the folder, that
// are listed twice or that sha256sum would escape are refused, and so is a list
// without lines. Errors are *MalformedError. It says nothing about who wrote the
// list: see [Keyring.OpenSums].
func ParseSums(data []byte) ([]Sum, error) {
	sums, err := decodeSums(data)
	if err != nil {
		return nil, &MalformedError{What: SumsName, Err: err}
	}
	return sums, nil
}

func decodeSums(data []byte) ([]Sum, error) {
	if len(data) > MaxSumsSize {
		return nil, fmt.Errorf("%d bytes are more than the %d it may have", len(data), MaxSumsSize)
	}
	if len(data) == 0 {
		return nil, errors.New("it lists nothing")
	}
	var sums []Sum
	seen := map[string]bool{}
	for rest := data; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		number := len(sums) + 1
		if !whole {
			return nil, fmt.Errorf("line %d: no newline at its end", number)
		}
		sum, err := parseSum(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if seen[sum.Name] {
			return nil, fmt.Errorf("line %d: %q is listed twice", number, sum.Name)
		}
		seen[sum.Name] = true
		sums = append(sums, sum)
	}
	return sums, nil
}

func parseSum(line string) (Sum, error) {
	hash, name, ok := strings.Cut(line, "  ")
	if !ok {
		return Sum{}, errors.New("want a checksum, two spaces and a name")
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, hash)
	if err := d.Validate(); err != nil {
		return Sum{}, fmt.Errorf("checksum %q: want 64 lower-case hex digits", hash)
	}
	if err := checkSumName(name); err != nil {
		return Sum{}, err
	}
	return Sum{Name: name, Digest: d}, nil
}

// checkSumName admits names that sha256sum writes as they are and that stay inside
// the folder on every system.
func checkSumName(name string) error {
	switch {
	case len(name) > maxNameSize:
		return fmt.Errorf("name has %d bytes, want at most %d", len(name), maxNameSize)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8", name)
	case strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsRune(name, '\\'):
		return fmt.Errorf("name %q has control characters or a backslash", name)
	case name == "." || !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)):
		return fmt.Errorf("name %q: want a clean relative path", name)
	}
	return nil
}

// EncodeSums writes sums as a SHA256SUMS, sorted by name. What ParseSums would
// refuse is an error.
func EncodeSums(sums []Sum) ([]byte, error) {
	sorted := slices.SortedFunc(slices.Values(sums), func(a, b Sum) int { return cmp.Compare(a.Name, b.Name) })
	var buf bytes.Buffer
	for i, s := range sorted {
		if i > 0 && sorted[i-1].Name == s.Name {
			return nil, fmt.Errorf("writing %s: %q is listed twice", SumsName, s.Name)
		}
		if err := checkSumName(s.Name); err != nil {
			return nil, fmt.Errorf("writing %s: %w", SumsName, err)
		}
		if err := s.Digest.Validate(); err != nil || s.Digest.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("writing %s: %q of %q is not a sha256 digest", SumsName, s.Digest, s.Name)
		}
		fmt.Fprintf(&buf, "%s  %s\n", s.Digest.Encoded(), s.Name)
	}
	if _, err := ParseSums(buf.Bytes()); err != nil {
		return nil, fmt.Errorf("writing %s: %w", SumsName, err)
	}
	return buf.Bytes(), nil
}
