package archive

import (
	"bytes"
	"fmt"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// Encoding says how a blob is stored.
type Encoding string

// The encodings of format v1.
const (
	// EncodingRaw stores content as it is, in raw frames.
	EncodingRaw Encoding = "raw"
	// EncodingZstd stores content in compressed frames.
	EncodingZstd Encoding = "zstd"
)

const (
	// maxContents bounds contents.json, about 400,000 blobs.
	maxContents = 64 << 20
	// maxFile bounds a metadata file.
	maxFile = 256 << 20
	// maxSignature bounds a file in signatures/, which is not signed, maxSignatures
	// their sum and maxSignatureFiles their number.
	maxSignature      = 4 << 20
	maxSignatures     = 256 << 20
	maxSignatureFiles = 50_000
	// maxBlob bounds a blob, so that sums of sizes cannot overflow.
	maxBlob = 1 << 46
)

// Blob is a blob of a bundle.
type Blob struct {
	Digest   digest.Digest `json:"digest"`
	Size     int64         `json:"size"` // of the content, in bytes
	Encoding Encoding      `json:"encoding"`
}

// Entry is a metadata file of a bundle.
type Entry struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"` // in bytes
}

// File is a metadata file with its content.
type File struct {
	Name string
	Data []byte
}

// Contents is contents.json: everything that bundle.json covers but itself, in the
// order of the volumes.
type Contents struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"`
	Entries    []Entry `json:"entries"`
	Blobs      []Blob  `json:"blobs"`
}

// NewContents lists files and blobs in the order given, which is the order they
// are packed in.
func NewContents(files []File, blobs []Blob) *Contents {
	c := &Contents{
		APIVersion: manifest.APIVersion,
		Kind:       manifest.KindContents,
		Entries:    make([]Entry, len(files)),
		Blobs:      append([]Blob{}, blobs...),
	}
	for i, f := range files {
		c.Entries[i] = Entry{Name: f.Name, Digest: digest.FromBytes(f.Data), Size: int64(len(f.Data))}
	}
	return c
}

// Encode checks c and returns its canonical bytes.
func (c *Contents) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", ContentsName, err)
	}
	return manifest.EncodeJSON(c)
}

// DecodeContents decodes contents.json and refuses everything that Encode does not
// make: unknown fields, another byte for the same meaning, duplicates, names that
// lead elsewhere, digests other than sha256. A document of another version is a
// *manifest.VersionError.
func DecodeContents(data []byte) (*Contents, error) {
	if len(data) > maxContents {
		return nil, fmt.Errorf("decoding %s of %d bytes: %w", ContentsName, len(data), ErrTooLarge)
	}
	var c Contents
	if err := decodeCanonical(data, manifest.KindContents, &c); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", ContentsName, err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", ContentsName, err)
	}
	return &c, nil
}

func (c *Contents) check() error {
	names := make([]string, len(c.Entries))
	for i, e := range c.Entries {
		names[i] = e.Name
		if err := checkFileName(e.Name); err != nil {
			return err
		}
		if err := checkDigest(e.Digest); err != nil {
			return fmt.Errorf("entry %q: %w", e.Name, err)
		}
		if e.Size < 0 || e.Size > maxFile {
			return fmt.Errorf("entry %q of %d bytes: %w", e.Name, e.Size, ErrTooLarge)
		}
	}
	if err := checkTree(names); err != nil {
		return err
	}
	seen := make(map[digest.Digest]bool, len(c.Blobs))
	for _, b := range c.Blobs {
		if err := checkBlob(b); err != nil {
			return err
		}
		if seen[b.Digest] {
			return fmt.Errorf("%w: blob %s", ErrDuplicate, b.Digest)
		}
		seen[b.Digest] = true
	}
	return nil
}

func checkBlob(b Blob) error {
	if err := checkDigest(b.Digest); err != nil {
		return fmt.Errorf("blob: %w", err)
	}
	if b.Size < 0 || b.Size > maxBlob {
		return fmt.Errorf("blob %s of %d bytes: %w", b.Digest, b.Size, ErrTooLarge)
	}
	if b.Size == 0 && b.Digest != digest.FromBytes(nil) {
		return fmt.Errorf("blob %s: %w: it is empty", b.Digest, ErrDigest)
	}
	switch b.Encoding {
	case EncodingRaw:
	case EncodingZstd:
		if b.Size == 0 {
			return fmt.Errorf("blob %s: nothing encoded as %q", b.Digest, b.Encoding)
		}
	default:
		return fmt.Errorf("blob %s: unknown encoding %q", b.Digest, b.Encoding)
	}
	return nil
}

// entry returns the metadata file of a name.
func (c *Contents) entry(name string) (Entry, bool) {
	for _, e := range c.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// checkAgainst compares what bundle.json and contents.json both say.
func (c *Contents) checkAgainst(b *manifest.Bundle) error {
	for _, want := range []struct {
		name   string
		digest digest.Digest
	}{{LockName, b.Lock}, {IndexName, b.Index}} {
		e, ok := c.entry(want.name)
		if !ok {
			return fmt.Errorf("%w: %s does not list %q", ErrMissing, ContentsName, want.name)
		}
		if e.Digest != want.digest {
			return fmt.Errorf("%w: %s has %s for %q, %s has %s", ErrDigest, ContentsName, e.Digest, want.name, BundleName, want.digest)
		}
	}
	return nil
}

// decodeCanonical decodes a JSON document and demands that its bytes are the ones
// EncodeJSON makes of it, which rules out repeated fields, fields in another case
// and all that two parsers could take for two things.
func decodeCanonical(data []byte, kind string, v any) error {
	if err := manifest.DecodeJSON(data, kind, v); err != nil {
		return err
	}
	again, err := manifest.EncodeJSON(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%s is not in canonical form", kind)
	}
	return nil
}
