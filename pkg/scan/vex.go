package scan

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/openvex/go-vex/pkg/vex"

	"naru/manifest"
)

// maxVEX bounds a VEX document, in bytes.
const maxVEX = 16 << 20

// VEX is what VEX documents say together. A nil VEX says nothing.
type VEX struct{ docs []*vex.VEX }

// ParseVEX reads an OpenVEX document, name being what to call it in errors. Every
// statement must be valid by the specification: one that is not might be read as
// ruling out more than its author meant. Errors are *manifest.SourceError.
func ParseVEX(name string, data []byte) (*VEX, error) {
	doc, err := parseVEX(data)
	if err != nil {
		return nil, &manifest.SourceError{File: name, Msg: err.Error()}
	}
	return &VEX{docs: []*vex.VEX{doc}}, nil
}

func parseVEX(data []byte) (*vex.VEX, error) {
	if len(data) > maxVEX {
		return nil, fmt.Errorf("document is larger than %d bytes", maxVEX)
	}
	doc, err := vex.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("not an OpenVEX document: %w", err)
	}
	if doc.Context != vex.ContextLocator() {
		return nil, fmt.Errorf("@context is %q, want %q", doc.Context, vex.ContextLocator())
	}
	if doc.Timestamp == nil {
		return nil, errors.New("timestamp is missing")
	}
	for i := range doc.Statements {
		s := &doc.Statements[i]
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if s.Vulnerability.Name == "" && s.Vulnerability.ID == "" {
			return nil, fmt.Errorf("statement %d names no vulnerability", i+1)
		}
		if len(s.Products) == 0 {
			return nil, fmt.Errorf("statement %d names no product", i+1)
		}
	}
	return doc, nil
}

// Join is what all of list say; a later document stands over an earlier one.
func Join(list ...*VEX) *VEX {
	out := &VEX{}
	for _, v := range list {
		if v != nil {
			out.docs = append(out.docs, v.docs...)
		}
	}
	return out
}

// NotAffected tells whether a vulnerability is ruled out for an artifact, and why.
// A product is the artifact, by reference, digest or pkg:oci URL, with the package
// as subcomponent or without any; or the package itself.
func (v *VEX) NotAffected(a *manifest.ScannedArtifact, f *manifest.Finding) (string, bool) {
	if v == nil || f.Class != manifest.ClassVulnerability {
		return "", false
	}
	var last *vex.Statement
	for _, doc := range v.docs {
		if s := effective(doc, a, f); s != nil {
			last = s
		}
	}
	if last == nil || (last.Status != vex.StatusNotAffected && last.Status != vex.StatusFixed) {
		return "", false
	}
	why := string(last.Status)
	for _, more := range []string{string(last.Justification), last.ImpactStatement, last.StatusNotes} {
		if more != "" {
			return why + ": " + more, true
		}
	}
	return why, true
}

// effective is the latest statement of a document on a finding, or nil.
func effective(doc *vex.VEX, a *manifest.ScannedArtifact, f *manifest.Finding) *vex.Statement {
	var subcomponents []string
	if f.PURL != "" {
		subcomponents = append(subcomponents, f.PURL)
	}
	products := append(productNames(a), subcomponents...)
	var last *vex.Statement
	for _, product := range products {
		matches := doc.Matches(f.ID, product, subcomponents)
		for i := range matches { // sorted by time
			if last == nil || !stamp(doc, &matches[i]).Before(stamp(doc, last)) {
				last = &matches[i]
			}
		}
	}
	return last
}

// productNames are the ways in which a VEX document may name an artifact.
func productNames(a *manifest.ScannedArtifact) []string {
	names := []string{a.Ref, a.Digest.String()}
	if a.Entry != a.Digest {
		names = append(names, a.Entry.String())
	}
	ref, err := manifest.ParseReference(a.Ref)
	if err != nil {
		return names
	}
	repository := ref.Name()
	base := path.Base(repository)
	for _, d := range []string{a.Digest.String(), a.Entry.String()} {
		version := strings.Replace(d, ":", "%3A", 1)
		names = append(names, fmt.Sprintf("pkg:oci/%s@%s?repository_url=%s", base, version, repository),
			fmt.Sprintf("pkg:oci/%s@%s", base, version))
	}
	return append(names, fmt.Sprintf("pkg:oci/%s?repository_url=%s", base, repository))
}

// stamp is when a statement was made: its own time, or its document's.
func stamp(doc *vex.VEX, s *vex.Statement) time.Time {
	if s.Timestamp != nil && !s.Timestamp.IsZero() {
		return *s.Timestamp
	}
	return *doc.Timestamp
}
