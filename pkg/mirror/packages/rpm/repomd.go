package rpm

import (
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
)

// RepomdName is where a repository's repomd.xml lies, from its root.
const RepomdName = "repodata/repomd.xml"

// SignatureName is where its detached signature lies, if there is one.
const SignatureName = RepomdName + ".asc"

// The types of data that are read here; all others are carried and not looked at.
const (
	DataPrimary   = "primary"
	DataFilelists = "filelists"
	DataModules   = "modules"
)

// Repomd is repomd.xml: the files of a repository's metadata with their checksums.
type Repomd struct {
	Revision string
	Data     []Data
}

// Data is one file of metadata.
type Data struct {
	// Type is "primary", "filelists", "primary_db", "updateinfo"...
	Type string
	// Location of the file, from the root of the repository; a clean relative path.
	Location string
	Digest   digest.Digest
	// Size in bytes; -1 where repomd.xml does not say.
	Size int64
	// OpenSize is the size unpacked, in bytes; 0 where it is not said.
	OpenSize int64
}

// Find is the data of a type, or nil.
func (r *Repomd) Find(kind string) *Data {
	for i := range r.Data {
		if r.Data[i].Type == kind {
			return &r.Data[i]
		}
	}
	return nil
}

// maxRepomd bounds repomd.xml, in bytes; maxData the files it names.
const (
	maxRepomd = 4 << 20
	maxData   = 1 << 10
)

// xmlChecksum is a checksum as metadata spells it.
type xmlChecksum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

func (c xmlChecksum) digest() (digest.Digest, error) {
	if c.Type != "sha256" && c.Type != "sha512" {
		return "", fmt.Errorf("checksum of type %q: want sha256 or sha512", c.Type)
	}
	d := digest.Digest(c.Type + ":" + strings.TrimSpace(c.Value))
	return d, d.Validate()
}

type xmlLocation struct {
	Href string `xml:"href,attr"`
	Base string `xml:"base,attr"`
}

// path is the location as a path below the repository's root.
func (l xmlLocation) path() (string, error) {
	if l.Base != "" {
		return "", fmt.Errorf("location %q has a base of its own, %q: packages that lie outside of their repository are not carried", l.Href, l.Base)
	}
	if l.Href == "" || path.IsAbs(l.Href) || path.Clean(l.Href) != l.Href || l.Href == ".." || strings.HasPrefix(l.Href, "../") ||
		strings.ContainsAny(l.Href, "\\?#%:\x00\n") {
		return "", fmt.Errorf("location %q is no plain path below the repository", l.Href)
	}
	return l.Href, nil
}

// ParseRepomd parses repomd.xml. Primary must be there, checksums must be SHA-256
// or SHA-512, and every location must lie below the repository.
func ParseRepomd(data []byte) (*Repomd, error) {
	if len(data) > maxRepomd {
		return nil, fmt.Errorf("parsing repomd.xml: larger than %d bytes", maxRepomd)
	}
	var doc struct {
		XMLName  xml.Name `xml:"repomd"`
		Revision string   `xml:"revision"`
		Data     []struct {
			Type     string      `xml:"type,attr"`
			Checksum xmlChecksum `xml:"checksum"`
			Location xmlLocation `xml:"location"`
			Size     *int64      `xml:"size"`
			OpenSize int64       `xml:"open-size"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("parsing repomd.xml: %w", err)
	}
	if len(doc.Data) > maxData {
		return nil, fmt.Errorf("parsing repomd.xml: it names %d files, the bound is %d", len(doc.Data), maxData)
	}
	out := &Repomd{Revision: strings.TrimSpace(doc.Revision)}
	places := map[string]digest.Digest{}
	for _, d := range doc.Data {
		sum, err := d.Checksum.digest()
		if err != nil {
			return nil, fmt.Errorf("parsing repomd.xml: data %q: %w", d.Type, err)
		}
		location, err := d.Location.path()
		if err != nil {
			return nil, fmt.Errorf("parsing repomd.xml: data %q: %w", d.Type, err)
		}
		if old, ok := places[location]; ok && old != sum {
			return nil, fmt.Errorf("parsing repomd.xml: %q is named twice with different checksums", location)
		}
		places[location] = sum
		size := int64(-1)
		if d.Size != nil {
			size = *d.Size
		}
		if size < -1 || d.OpenSize < 0 {
			return nil, fmt.Errorf("parsing repomd.xml: data %q has a negative size", d.Type)
		}
		out.Data = append(out.Data, Data{Type: d.Type, Location: location, Digest: sum, Size: size, OpenSize: d.OpenSize})
	}
	if out.Find(DataPrimary) == nil {
		return nil, fmt.Errorf("parsing repomd.xml: %w", ErrNoPrimary)
	}
	return out, nil
}

// ErrNoPrimary says that a repository lists no packages.
var ErrNoPrimary = errors.New("no primary metadata is named")
