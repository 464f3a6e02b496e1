package rpm

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Package is one package of a repository.
type Package struct {
	// Repository is the name of the one it is from.
	Repository string
	Name, Arch string
	EVR        EVR
	// ID is the package's checksum as metadata spells it; filelists refer to it.
	ID     string
	Digest digest.Digest
	// Size of the package file, in bytes.
	Size int64
	// Location of the package file, from the root of the repository.
	Location string
	Requires []Dependency
	Provides []Dependency
	// Conflicts and Obsoletes are noted in a closure.
	Conflicts, Obsoletes []Dependency
	// Files are those that primary.xml lists: programs and configuration.
	Files []string
	// Module is "name:stream" of the module that the package is of; empty for others.
	Module string
}

// NEVRA is name-epoch:version-release.arch; the epoch always stands, as in module
// metadata.
func (p *Package) NEVRA() string {
	return fmt.Sprintf("%s-%d:%s-%s.%s", p.Name, p.EVR.Epoch, p.EVR.Version, p.EVR.Release, p.Arch)
}

// String names the package for people.
func (p *Package) String() string { return p.Name + "-" + p.EVR.String() + "." + p.Arch }

type xmlEntry struct {
	Name  string `xml:"name,attr"`
	Flags string `xml:"flags,attr"`
	Epoch string `xml:"epoch,attr"`
	Ver   string `xml:"ver,attr"`
	Rel   string `xml:"rel,attr"`
}

type xmlEntries struct {
	Entries []xmlEntry `xml:"entry"`
}

type xmlVersion struct {
	Epoch string `xml:"epoch,attr"`
	Ver   string `xml:"ver,attr"`
	Rel   string `xml:"rel,attr"`
}

func (v xmlVersion) evr() (EVR, error) {
	e := EVR{Version: v.Ver, Release: v.Rel}
	if v.Epoch == "" {
		return e, nil
	}
	n, err := strconv.ParseUint(v.Epoch, 10, 32)
	if err != nil {
		return e, fmt.Errorf("epoch %q is no number", v.Epoch)
	}
	e.Epoch = int(n)
	return e, nil
}

type xmlPackage struct {
	Type     string      `xml:"type,attr"`
	Name     string      `xml:"name"`
	Arch     string      `xml:"arch"`
	Version  xmlVersion  `xml:"version"`
	Checksum xmlChecksum `xml:"checksum"`
	Size     struct {
		Package int64 `xml:"package,attr"`
	} `xml:"size"`
	Location xmlLocation `xml:"location"`
	Format   struct {
		Provides  xmlEntries `xml:"provides"`
		Requires  xmlEntries `xml:"requires"`
		Conflicts xmlEntries `xml:"conflicts"`
		Obsoletes xmlEntries `xml:"obsoletes"`
		Files     []string   `xml:"file"`
	} `xml:"format"`
}

// ReadPrimary reads unpacked primary.xml and calls each for every package, in
// order. Memory is that of one package. The error of each ends the reading.
func ReadPrimary(r io.Reader, each func(*Package) error) error {
	err := eachElement(r, "package", func(d *xml.Decoder, start *xml.StartElement) error {
		var x xmlPackage
		if err := d.DecodeElement(&x, start); err != nil {
			return err
		}
		if x.Type != "" && x.Type != "rpm" {
			return nil
		}
		p, err := x.decode()
		if err != nil {
			return fmt.Errorf("package %q: %w", x.Name, err)
		}
		return each(p)
	})
	if err != nil {
		return fmt.Errorf("reading primary.xml: %w", err)
	}
	return nil
}

// eachElement calls f at the start of every element of a name.
func eachElement(r io.Reader, name string, f func(*xml.Decoder, *xml.StartElement) error) error {
	d := xml.NewDecoder(r)
	root := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !root {
				return errors.New("the document is empty")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if start, ok := token.(xml.StartElement); ok {
			root = true
			if start.Name.Local == name {
				if err := f(d, &start); err != nil {
					return err
				}
			}
		}
	}
}

func (x *xmlPackage) decode() (*Package, error) {
	p := &Package{Name: x.Name, Arch: x.Arch, ID: strings.TrimSpace(x.Checksum.Value), Size: x.Size.Package, Files: x.Format.Files}
	if p.Name == "" || p.Arch == "" || x.Version.Ver == "" {
		return nil, errors.New("name, arch or version is missing")
	}
	if strings.ContainsAny(p.Name+p.Arch+x.Version.Ver+x.Version.Rel, "/ \t\n\x00") {
		return nil, errors.New("name, arch or version holds a slash or space")
	}
	if p.Size < 0 {
		return nil, fmt.Errorf("size %d", p.Size)
	}
	var err error
	if p.EVR, err = x.Version.evr(); err != nil {
		return nil, err
	}
	if p.Digest, err = x.Checksum.digest(); err != nil {
		return nil, err
	}
	if p.Location, err = x.Location.path(); err != nil {
		return nil, err
	}
	for _, list := range []struct {
		from xmlEntries
		to   *[]Dependency
	}{{x.Format.Provides, &p.Provides}, {x.Format.Requires, &p.Requires}, {x.Format.Conflicts, &p.Conflicts}, {x.Format.Obsoletes, &p.Obsoletes}} {
		if *list.to, err = list.from.decode(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (x xmlEntries) decode() ([]Dependency, error) {
	out := make([]Dependency, 0, len(x.Entries))
	for _, e := range x.Entries {
		sense, ok := parseSense(e.Flags)
		if !ok || e.Name == "" {
			return nil, fmt.Errorf("dependency %q has flags %q", e.Name, e.Flags)
		}
		evr, err := xmlVersion{e.Epoch, e.Ver, e.Rel}.evr()
		if err != nil {
			return nil, fmt.Errorf("dependency %q: %w", e.Name, err)
		}
		out = append(out, Dependency{Name: e.Name, Sense: sense, EVR: evr})
	}
	return out, nil
}
