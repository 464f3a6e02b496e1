// Package survey scans what a bundle carries, or is about to carry, and judges it:
// it finds the scanner's targets by the bundle's index, and makes the report and the
// SBOMs that go into the bundle.
//
// A build surveys the store, `bundle scan` an existing bundle; both see the same
// targets, so that the same databases and policy give the same report.
package survey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/scan"
)

// Options say what is surveyed, and how it is judged.
type Options struct {
	// Blobs and Index are the content; Specs the components it belongs to.
	Blobs scan.Blobs
	Index ocispec.Index
	Specs []*manifest.ComponentSpec
	// Scanner with its CacheDir, Jobs and databases; Java may be nil.
	Scanner  scan.Scanner
	CacheDir string
	Jobs     int
	Database *scan.Database
	Java     *scan.Database
	// OnBlob is told of each blob that was analysed.
	OnBlob func(d digest.Digest, size int64)
	// Policy and VEX that judge; both may be missing. At is the day of judgement.
	Policy *manifest.ScanPolicy
	VEX    []Document
	At     time.Time
	// Date is what SBOMs are dated; empty for none.
	Date string
	// SPDX asks for SPDX SBOMs beside the CycloneDX ones.
	SPDX bool
	// Name of the bundle.
	Name string
}

// Document is a file, as it is read or goes into a bundle.
type Document struct {
	Name string
	Data []byte
}

// Survey is what was found.
type Survey struct {
	Report *manifest.ScanReport
	// Files are the documents for the bundle: report, policy, VEX, SBOMs.
	Files []Document
}

// Run surveys. A policy that the content fails makes no error here: see Check.
func Run(ctx context.Context, o Options) (*Survey, error) {
	vex, err := readVEX(o.VEX)
	if err != nil {
		return nil, err
	}
	targets, err := Targets(ctx, o.Blobs, o.Index, o.Specs)
	if err != nil {
		return nil, err
	}
	result, err := o.Scanner.Scan(ctx, targets, scan.Options{Blobs: o.Blobs, CacheDir: o.CacheDir, Database: o.Database, Java: o.Java, Jobs: o.Jobs, OnBlob: o.OnBlob})
	if err != nil {
		return nil, err
	}
	databases := []manifest.ScanDatabase{o.Database.ScanDatabase}
	if o.Java != nil {
		databases = append(databases, o.Java.ScanDatabase)
	}
	report := scan.Judge(result, scan.Judgement{Policy: o.Policy, VEX: vex, Licenses: licenses(o.Specs), Databases: databases, At: o.At})
	s := &Survey{Report: report}
	sboms, err := o.sboms(result.Artifacts, report)
	if err != nil {
		return nil, err
	}
	data, err := report.Encode()
	if err != nil {
		return nil, err
	}
	s.Files = append(s.Files, Document{manifest.ScanReportName, data})
	if o.Policy != nil {
		s.Files = append(s.Files, Document{manifest.ScanPolicyName, o.Policy.Raw})
	}
	for i, d := range o.VEX {
		s.Files = append(s.Files, Document{fmt.Sprintf("%s%02d.json", manifest.VEXPrefix, i+1), d.Data})
	}
	s.Files = append(s.Files, sboms...)
	return s, nil
}

// Check is a *scan.PolicyError when the verdict is fail.
func (s *Survey) Check() error {
	if s.Report.Verdict == manifest.VerdictFail {
		return &scan.PolicyError{Report: s.Report}
	}
	return nil
}

func readVEX(documents []Document) (*scan.VEX, error) {
	var list []*scan.VEX
	for _, d := range documents {
		v, err := scan.ParseVEX(d.Name, d.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return scan.Join(list...), nil
}

// licenses are what components state, by id.
func licenses(specs []*manifest.ComponentSpec) map[string]string {
	out := map[string]string{}
	for _, c := range specs {
		out[c.ID] = c.License
	}
	return out
}

// sboms makes the SBOMs of all artifacts, each digest once, and names them in the
// report.
func (o *Options) sboms(artifacts []scan.Artifact, report *manifest.ScanReport) ([]Document, error) {
	opts := scan.SBOMOptions{Scanner: report.Scanner, Date: o.Date, Name: o.Name}
	var out []Document
	seen := map[digest.Digest]bool{}
	for i := range artifacts {
		a := &artifacts[i]
		report.Artifacts[i].SBOM = scan.SBOMName(a.Digest)
		if o.SPDX {
			report.Artifacts[i].SPDX = scan.SPDXName(a.Digest)
		}
		if seen[a.Digest] {
			continue
		}
		seen[a.Digest] = true
		data, err := scan.CycloneDX(a, opts)
		if err != nil {
			return nil, err
		}
		out = append(out, Document{scan.SBOMName(a.Digest), data})
		if o.SPDX {
			if data, err = scan.SPDX(a, opts); err != nil {
				return nil, err
			}
			out = append(out, Document{scan.SPDXName(a.Digest), data})
		}
	}
	merged, err := scan.Merged(artifacts, opts)
	if err != nil {
		return nil, err
	}
	out = append(out, Document{manifest.BundleSBOMName, merged})
	slices.SortFunc(out, func(a, b Document) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
