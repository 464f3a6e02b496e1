package deb

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"

	"naru/manifest"
)

// maxIndex bounds an index once it is unpacked, in bytes.
const maxIndex = 2 << 30

// ErrIndex says that an index is not one of packages.
var ErrIndex = errors.New("malformed Packages index")

// Package is a package as an index describes it.
type Package struct {
	Name, Version, Arch string
	// Path is relative to the archive's root; Size in bytes.
	Path   string
	Size   int64
	SHA256 string
	// Depends are the groups of Pre-Depends and Depends.
	Depends []Group
	// Provides have Op "=" where they are versioned.
	Provides  []Relation
	Essential bool
	// From is the name of the source package; Standard says that hosts most often have
	// the package, by its priority.
	From     string
	Standard bool
	// MultiArch is "same", "foreign", "allowed" or empty.
	MultiArch string

	// source is the place of its source among those of the request.
	source int
}

// indexFields are those of a package that count.
var indexFields = []string{"Package", "Version", "Architecture", "Filename", "Size", "SHA256", "Pre-Depends", "Depends", "Provides", "Essential", "Multi-Arch", "Source", "Priority"}

// standard are the priorities of what a host has unless somebody took it away.
var standard = []string{"required", "important", "standard"}

// ReadIndex reads a Packages file and calls each for every package of it. The packages
// of other architectures than arch and "all" are passed over.
func ReadIndex(r io.Reader, arch string, each func(*Package) error) error {
	reader := NewReader(io.LimitReader(r, maxIndex), indexFields...)
	for {
		p, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrIndex, err)
		}
		if a := p["architecture"]; a != arch && a != "all" {
			continue
		}
		pkg, err := parsePackage(p)
		if err != nil {
			return fmt.Errorf("%w: package %q: %w", ErrIndex, p["package"], err)
		}
		if err := each(pkg); err != nil {
			return err
		}
	}
}

func parsePackage(p Paragraph) (*Package, error) {
	out := &Package{
		Name: p["package"], Version: p["version"], Arch: p["architecture"], Path: strings.TrimPrefix(p["filename"], "./"),
		SHA256: p["sha256"], Essential: p["essential"] == "yes", MultiArch: p["multi-arch"],
		From: p["package"], Standard: slices.Contains(standard, p["priority"]),
	}
	if fields := strings.Fields(p["source"]); len(fields) > 0 {
		out.From = fields[0] // a version may stand behind it
	}
	switch {
	case !isName(out.Name):
		return nil, errors.New("it has no name")
	case out.Version == "" || strings.ContainsAny(out.Version, " \t\n"):
		return nil, fmt.Errorf("%q is no version", out.Version)
	case !manifest.CleanPath(out.Path):
		return nil, fmt.Errorf("%q is no file name", out.Path)
	case !isSHA256(out.SHA256):
		return nil, errors.New("it has no SHA256")
	}
	var err error
	if out.Size, err = strconv.ParseInt(p["size"], 10, 64); err != nil || out.Size <= 0 {
		return nil, fmt.Errorf("%q is no size", p["size"])
	}
	for _, field := range []string{"pre-depends", "depends"} {
		groups, err := ParseRelations(p[field])
		if err != nil {
			return nil, err
		}
		out.Depends = append(out.Depends, groups...)
	}
	provides, err := ParseRelations(p["provides"])
	if err != nil {
		return nil, err
	}
	for _, g := range provides {
		if len(g) != 1 || g[0].Op != "" && g[0].Op != "=" {
			return nil, fmt.Errorf("it provides %q: %w", g, ErrRelation)
		}
		out.Provides = append(out.Provides, g[0])
	}
	return out, nil
}

// unpack reads a Packages file of the compression that its name says.
func unpack(r io.Reader, name string) (io.Reader, error) {
	r = bufio.NewReaderSize(r, 256<<10)
	switch {
	case strings.HasSuffix(name, ".xz"):
		return xz.NewReader(r)
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewReader(r)
	}
	return r, nil
}
