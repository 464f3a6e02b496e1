package scan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/opencontainers/go-digest"

	"naru/manifest"
)

// SBOMOptions say what an SBOM is marked with.
type SBOMOptions struct {
	// Scanner that found the packages, "trivy 0.72.0".
	Scanner string
	// Date is RFC 3339, or empty for none: SOURCE_DATE_EPOCH where it is set. An SBOM
	// with another date is another one, which has to be attested anew.
	Date string
	// Name of a bundle.
	Name string
}

// SBOMName is the name of an artifact's CycloneDX SBOM in a bundle.
func SBOMName(d digest.Digest) string { return manifest.SBOMPrefix + d.Encoded() + manifest.SBOMSuffix }

// SPDXName is the name of an artifact's SPDX SBOM in a bundle.
func SPDXName(d digest.Digest) string { return manifest.SBOMPrefix + d.Encoded() + manifest.SPDXSuffix }

// CycloneDX is the SBOM of an artifact, CycloneDX 1.6 in JSON. It depends on the
// artifact and opts alone; the serial number comes from the digest.
func CycloneDX(a *Artifact, opts SBOMOptions) ([]byte, error) {
	bom := newBOM(a.Digest.String(), opts)
	root := subject(a)
	bom.Metadata.Component = &root
	components, dependencies := contents(a)
	bom.Components, bom.Dependencies = &components, &dependencies
	return encodeBOM(bom)
}

// Merged is one SBOM of all artifacts: each a component with its packages in it.
func Merged(artifacts []Artifact, opts SBOMOptions) ([]byte, error) {
	id := sha256.New()
	var components []cdx.Component
	var refs []string
	seen := map[digest.Digest]bool{}
	for i := range artifacts {
		a := &artifacts[i]
		if seen[a.Digest] {
			continue
		}
		seen[a.Digest] = true
		_, _ = id.Write([]byte(a.Digest + "\n"))
		c := subject(a)
		inner, _ := contents(a)
		for i := range inner {
			inner[i].BOMRef = c.BOMRef + "#" + inner[i].BOMRef
		}
		if len(inner) > 0 {
			c.Components = &inner
		}
		components = append(components, c)
		refs = append(refs, c.BOMRef)
	}
	bom := newBOM(hex.EncodeToString(id.Sum(nil)), opts)
	bom.Metadata.Component = &cdx.Component{BOMRef: "bundle", Type: cdx.ComponentTypeApplication, Name: opts.Name}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: "bundle", Dependencies: &refs}}
	return encodeBOM(bom)
}

// newBOM is a document without content, its serial number made of id.
func newBOM(id string, opts SBOMOptions) *cdx.BOM {
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuidOf("cyclonedx "+id)
	name, version, _ := strings.Cut(opts.Scanner, " ")
	bom.Metadata = &cdx.Metadata{
		Timestamp: opts.Date,
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: name, Version: version}}},
	}
	return bom
}

// uuidOf is a UUID of version 8 (RFC 9562) made of what it is for.
func uuidOf(text string) string {
	b := sha256.Sum256([]byte(text))
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func encodeBOM(bom *cdx.BOM) ([]byte, error) {
	var buf bytes.Buffer
	enc := cdx.NewBOMEncoder(&buf, cdx.BOMFileFormatJSON)
	enc.SetPretty(false).SetEscapeHTML(false)
	if err := enc.Encode(bom); err != nil {
		return nil, fmt.Errorf("encoding an SBOM: %w", err)
	}
	return append(bytes.TrimRight(buf.Bytes(), "\n"), '\n'), nil
}

// subject is an artifact as a component.
func subject(a *Artifact) cdx.Component {
	name, version := splitRef(a.Ref)
	kind := cdx.ComponentTypeContainer
	if a.Kind != manifest.ArtifactImage {
		kind = cdx.ComponentTypeFile
	}
	return cdx.Component{BOMRef: a.Digest.String(), Type: kind, Name: name, Version: version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: a.Digest.Encoded()}}, PackageURL: ociPURL(a)}
}

// splitRef takes a reference apart into its name and its tag or digest.
func splitRef(ref string) (name, version string) {
	if name, version, ok := strings.Cut(ref, "@"); ok {
		return name, version
	}
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		return ref[:i], ref[i+1:]
	}
	return ref, ""
}

// ociPURL is the package URL of an image; empty for what is none.
func ociPURL(a *Artifact) string {
	if a.Kind != manifest.ArtifactImage {
		return ""
	}
	name, _ := splitRef(a.Ref)
	purl := fmt.Sprintf("pkg:oci/%s@%s?", strings.ToLower(path.Base(name)), strings.Replace(a.Digest.String(), ":", "%3A", 1))
	if _, arch, ok := strings.Cut(a.Platform, "/"); ok {
		purl += "arch=" + strings.ReplaceAll(arch, "/", "%2F") + "&"
	}
	return purl + "repository_url=" + strings.ReplaceAll(name, "/", "%2F")
}

// contents are the packages of an artifact with what depends on what.
func contents(a *Artifact) ([]cdx.Component, []cdx.Dependency) {
	components := make([]cdx.Component, 0, len(a.Contents))
	refs := map[string]string{} // by kind, place and id
	seen := map[string]bool{}
	place := func(p *Package, id string) string { return p.Kind + "\x00" + p.Target + "\x00" + id }
	for i := range a.Contents {
		p := &a.Contents[i]
		ref := p.PURL
		if ref == "" || seen[ref] {
			ref = uuidOf(fmt.Sprintf("%s %q %q %q %q %d", a.Digest, p.Kind, p.Target, p.Name, p.Version, i))
		}
		seen[ref] = true
		refs[place(p, p.ID)] = ref
		components = append(components, component(p, ref))
	}
	edges := map[string][]string{a.Digest.String(): {}}
	for i := range a.Contents {
		p := &a.Contents[i]
		from := refs[place(p, p.ID)]
		edges[a.Digest.String()] = append(edges[a.Digest.String()], components[i].BOMRef)
		for _, id := range p.DependsOn {
			if to, ok := refs[place(p, id)]; ok && to != from && !slices.Contains(edges[from], to) {
				edges[from] = append(edges[from], to)
			}
		}
	}
	var dependencies []cdx.Dependency
	for _, from := range slices.Sorted(maps.Keys(edges)) {
		to := edges[from]
		slices.Sort(to)
		dependencies = append(dependencies, cdx.Dependency{Ref: from, Dependencies: &to})
	}
	return components, dependencies
}

// component is a package as a component.
func component(p *Package, ref string) cdx.Component {
	c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, PackageURL: p.PURL}
	properties := []cdx.Property{{Name: "naru:kind", Value: p.Kind}}
	if p.Target != "" {
		properties = append(properties, cdx.Property{Name: "naru:path", Value: p.Target})
	}
	c.Properties = &properties
	var licenses cdx.Licenses
	for _, l := range p.Licenses {
		licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{Name: l}})
	}
	if len(licenses) > 0 {
		c.Licenses = &licenses
	}
	return c
}
