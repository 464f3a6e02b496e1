package scan

import (
	"cmp"
	"fmt"

	"naru/manifest"
)

// spdxDocument is the part of SPDX 2.3 in JSON that an artifact's packages need.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID         string         `json:"SPDXID"`
	Name       string         `json:"name"`
	Version    string         `json:"versionInfo,omitempty"`
	Download   string         `json:"downloadLocation"`
	Analyzed   bool           `json:"filesAnalyzed"`
	Concluded  string         `json:"licenseConcluded"`
	Declared   string         `json:"licenseDeclared"`
	Copyright  string         `json:"copyrightText"`
	References []spdxExternal `json:"externalRefs,omitempty"`
	Checksums  []spdxChecksum `json:"checksums,omitempty"`
	Comment    string         `json:"comment,omitempty"`
}

type spdxExternal struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const noAssertion = "NOASSERTION"

// spdxNoDate stands where SPDX wants a date and there is none.
const spdxNoDate = "1970-01-01T00:00:00Z"

// SPDX is the SBOM of an artifact, SPDX 2.3 in JSON. It depends on the artifact and
// opts alone. Licenses that packages state are given as comments, since they need not
// be SPDX expressions.
func SPDX(a *Artifact, opts SBOMOptions) ([]byte, error) {
	name, version := splitRef(a.Ref)
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: a.Ref,
		Namespace: "urn:uuid:" + uuidOf("spdx "+a.Digest.String()),
		Creation:  spdxCreation{Created: cmp.Or(opts.Date, spdxNoDate), Creators: []string{"Tool: " + opts.Scanner}},
	}
	root := newSPDXPackage("SPDXRef-Artifact", name, version, ociPURL(a))
	root.Checksums = []spdxChecksum{{"SHA256", a.Digest.Encoded()}}
	doc.Packages = append(doc.Packages, root)
	doc.Relationships = append(doc.Relationships, spdxRelationship{doc.ID, "DESCRIBES", root.ID})
	for i := range a.Contents {
		p := &a.Contents[i]
		pkg := newSPDXPackage(fmt.Sprintf("SPDXRef-Package-%d", i+1), p.Name, p.Version, p.PURL)
		for _, l := range p.Licenses {
			pkg.Comment = cmp.Or(pkg.Comment, "stated licenses:") + " " + l
		}
		doc.Packages = append(doc.Packages, pkg)
		doc.Relationships = append(doc.Relationships, spdxRelationship{root.ID, "CONTAINS", pkg.ID})
	}
	data, err := manifest.EncodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("encoding an SBOM: %w", err)
	}
	return data, nil
}

func newSPDXPackage(id, name, version, purl string) spdxPackage {
	p := spdxPackage{ID: id, Name: name, Version: version, Download: noAssertion, Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion}
	if purl != "" {
		p.References = []spdxExternal{{"PACKAGE-MANAGER", "purl", purl}}
	}
	return p
}
