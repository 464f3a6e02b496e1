package archive

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// Names of the entries that every bundle has.
const (
	VolumeName    = "volume.json"
	BundleName    = "bundle.json"
	SignatureName = "bundle.json.sigstore.json"
	ContentsName  = "contents.json"
	TOCName       = "toc.json"
	LockName      = "lock.yaml"
	IndexName     = "index.json"
)

const (
	blobPrefix      = "blobs/sha256/"
	signaturePrefix = "signatures/"
	// VolumeSuffix ends the name of every volume.
	VolumeSuffix = ".tar.zst"
	// PartialSuffix ends the name of a file that is being written to become a volume.
	PartialSuffix = ".partial"
	// maxName is the longest name of an entry in bytes.
	maxName = 255
	// maxChunks and maxVolumes are what their numbers in names have digits for.
	maxChunks  = 9999
	maxVolumes = 999
)

// checkName refuses what could mean another place than its own below the folder
// a volume is extracted to.
func checkName(name string) error {
	switch {
	case name == "", len(name) > maxName, !utf8.ValidString(name):
	case strings.ContainsRune(name, utf8.RuneError): // what an encoder writes for bytes that are no UTF-8
	case strings.ContainsRune(name, '\\'), strings.HasPrefix(name, "/"), path.Clean(name) != name:
	case name == ".", name == "..", strings.HasPrefix(name, "../"):
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
	default:
		return nil
	}
	return fmt.Errorf("%w: %q", ErrName, name)
}

// checkFileName refuses the names of metadata files that others have.
func checkFileName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	switch name {
	case VolumeName, BundleName, SignatureName, ContentsName, TOCName, "blobs", "signatures":
		return fmt.Errorf("%w: %q is reserved", ErrName, name)
	}
	if strings.HasPrefix(name, "blobs/") || strings.HasPrefix(name, signaturePrefix) {
		return fmt.Errorf("%w: %q is in a reserved folder", ErrName, name)
	}
	return nil
}

// checkSignatureName refuses what is not a file below signatures/.
func checkSignatureName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, signaturePrefix) {
		return fmt.Errorf("%w: %q is not in %s", ErrName, name, signaturePrefix)
	}
	return nil
}

// checkTree refuses duplicate names and files in the place of folders.
func checkTree(names []string) error {
	files := make(map[string]bool, len(names))
	for _, name := range names {
		if files[name] {
			return fmt.Errorf("%w: %q", ErrDuplicate, name)
		}
		files[name] = true
	}
	for _, name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if files[dir] {
				return fmt.Errorf("%w: %q is a file and the folder of %q", ErrName, dir, name)
			}
		}
	}
	return nil
}

// checkDigest refuses other algorithms than sha256.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %q: %w", d, digest.ErrDigestUnsupported)
	}
	return nil
}

// blobName is the name of a blob's entry.
func blobName(d digest.Digest) string { return blobPrefix + d.Encoded() }

// chunkName is the name of the entry of part k, from 1, of n of a blob.
func chunkName(d digest.Digest, k, n int) string {
	if n == 1 {
		return blobName(d)
	}
	return fmt.Sprintf("%s.%04d-of-%04d", blobName(d), k, n)
}

// parseBlobName takes apart what chunkName made.
func parseBlobName(name string) (d digest.Digest, k, n int, ok bool) {
	rest, ok := strings.CutPrefix(name, blobPrefix)
	if !ok {
		return "", 0, 0, false
	}
	hex, chunk, cut := strings.Cut(rest, ".")
	d, k, n = digest.NewDigestFromEncoded(digest.SHA256, hex), 1, 1
	if cut {
		a, b, _ := strings.Cut(chunk, "-of-")
		k, _ = strconv.Atoi(a)
		n, _ = strconv.Atoi(b)
	}
	if d.Validate() != nil || k < 1 || k > n || n > maxChunks || cut && n == 1 || chunkName(d, k, n) != name {
		return "", 0, 0, false
	}
	return d, k, n, true
}

// volumeName is the file name of a volume.
func volumeName(prefix string, number, count int) string {
	if count == 1 {
		return prefix + VolumeSuffix
	}
	return fmt.Sprintf("%s.%03d-of-%03d%s", prefix, number, count, VolumeSuffix)
}
