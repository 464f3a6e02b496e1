//go:build goexperiment.jsonv2

package trivy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/local"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"

	"naru/manifest"
	"naru/pkg/scan"
)

// found is what is kept of a target: everything but what the target itself says.
type found struct {
	Artifact   scan.Artifact
	Advisories map[string]manifest.Advisory
}

// detectionVersion changes when this package makes something else of what Trivy
// finds.
const detectionVersion = 1

// scanOptions are the same for every target.
var scanOptions = types.ScanOptions{
	PkgTypes:         types.PkgTypes,
	PkgRelationships: ftypes.Relationships,
	Scanners:         types.Scanners{types.VulnerabilityScanner, types.SecretScanner, types.MisconfigScanner},
	// The distribution's own severity, else that of NVD, else any: as Trivy's program
	// does unless told otherwise.
	VulnSeveritySources: []dbtypes.SourceID{"auto"},
}

// detectTarget looks a target up, in the cache or in the database.
func (s *run) detectTarget(ctx context.Context, i int) (*found, error) {
	f := s.known[i]
	if f == nil {
		keys, err := s.targetKeys(ctx, i)
		if err != nil {
			return nil, err
		}
		looked, err := s.lookUp(ctx, i, keys)
		if err != nil {
			return nil, err
		}
		f = &looked
		path := s.resultPath(i)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := writeJSON(path, f); err != nil {
			return nil, err
		}
	}
	t, a := &s.targets[i], &f.Artifact
	a.Ref, a.Kind, a.Component, a.Platform, a.Entry, a.Digest = t.Ref, t.Kind, t.Component, t.Platform, t.Entry, t.Digest
	if s.notes[i] != "" {
		a.Note = s.notes[i]
	}
	a.Data = s.data[i]
	return f, nil
}

// targetKeys are the units of a target, with the system of packages before them.
func (s *run) targetKeys(ctx context.Context, i int) ([]string, error) {
	if s.targets[i].Kind == manifest.ArtifactImage {
		return s.keys[i], nil
	}
	system, err := s.system(ctx, i)
	if err != nil {
		return nil, err
	}
	if system.Family == "" {
		return s.keys[i], nil
	}
	key, err := s.systemKey(ctx, system)
	return append([]string{key}, s.keys[i]...), err
}

// resultPath is where the result of a target is kept: by what it consists of, the
// databases and the scanner, whose version says which analysers there are.
func (s *run) resultPath(i int) string {
	id := struct {
		Scanner        string
		Version        int
		Database, Java digest.Digest
		OS             scan.OS
		Units          [][]digest.Digest
	}{Scanner: name, Version: detectionVersion, Database: s.opts.Database.Digest, OS: s.targets[i].OS}
	if s.opts.Java != nil {
		id.Java = s.opts.Java.Digest
	}
	for _, g := range s.groups {
		var ids []digest.Digest
		for _, u := range g.units(i) {
			ids = append(ids, u.id)
		}
		id.Units = append(id.Units, ids)
	}
	data, _ := json.Marshal(id) //nolint:errchkjson // strings and a number
	return filepath.Join(s.opts.CacheDir, "results", s.opts.Database.Digest.Encoded(), digest.FromBytes(data).Encoded()+".json")
}

// lookUp asks Trivy what is known of the units.
func (s *run) lookUp(ctx context.Context, i int, keys []string) (found, error) {
	f := found{Advisories: map[string]manifest.Advisory{}}
	if len(keys) == 0 {
		return f, nil
	}
	service := local.NewService(applier.NewApplier(s.cache), ospkg.NewScanner(), langpkg.NewScanner(), vulnerability.NewClient(db.Config{}))
	response, err := service.Scan(ctx, "image", "", keys, scanOptions)
	if err != nil {
		return f, err
	}
	a := &f.Artifact
	if response.OS.Detected() && response.OS.Family != "none" {
		a.OS, a.EndOfLife = strings.TrimSpace(string(response.OS.Family)+" "+response.OS.Name), response.OS.Eosl
	}
	for _, r := range response.Results {
		f.take(r)
	}
	if a.OS == "" && slices.ContainsFunc(s.targets[i].Blobs, func(b scan.Blob) bool { return packageFamily(b.Name) != "" }) {
		a.Note = "it is not known which distribution the packages are for: they were not looked up"
	}
	f.sort()
	return f, nil
}

// take adds one of Trivy's results.
func (f *found) take(r types.Result) {
	target := r.Target
	if r.Class == types.ClassOSPkg {
		target = "" // names the image, not a file
	}
	for _, p := range r.Packages {
		f.Artifact.Contents = append(f.Artifact.Contents, asPackage(p, string(r.Type), target))
	}
	for _, v := range r.Vulnerabilities {
		f.vulnerability(v, target)
	}
	for _, m := range r.Misconfigurations {
		if m.Status != types.MisconfStatusFailure {
			continue
		}
		f.note(m.ID, manifest.Advisory{Title: m.Title, URL: m.PrimaryURL})
		f.Artifact.Findings = append(f.Artifact.Findings, manifest.Finding{Class: manifest.ClassMisconfiguration, ID: m.ID,
			Severity: severity(m.Severity), Target: r.Target, Line: m.CauseMetadata.StartLine, Why: m.Message})
	}
	for _, sec := range r.Secrets {
		f.note(sec.RuleID, manifest.Advisory{Title: sec.Title})
		f.Artifact.Findings = append(f.Artifact.Findings, manifest.Finding{Class: manifest.ClassSecret, ID: sec.RuleID,
			Severity: severity(sec.Severity), Target: r.Target, Line: sec.StartLine})
	}
}

func (f *found) vulnerability(v types.DetectedVulnerability, target string) {
	adv := manifest.Advisory{Title: v.Title, URL: v.PrimaryURL}
	if v.PublishedDate != nil {
		adv.Published = v.PublishedDate.UTC().Format(time.DateOnly)
	}
	f.note(v.VulnerabilityID, adv)
	out := manifest.Finding{Class: manifest.ClassVulnerability, ID: v.VulnerabilityID, Severity: severity(v.Severity), //nolint:staticcheck // what the judgement compares is Trivy's own choice of severity
		Package: v.PkgName, Installed: v.InstalledVersion, Fixed: v.FixedVersion, Target: cmp.Or(v.PkgPath, target)}
	if v.PkgIdentifier.PURL != nil {
		out.PURL = v.PkgIdentifier.PURL.String()
	}
	f.Artifact.Findings = append(f.Artifact.Findings, out)
}

func (f *found) note(id string, adv manifest.Advisory) {
	adv.ID = id
	f.Advisories[id] = adv
}

// sort puts findings and packages into their order, each once.
func (f *found) sort() {
	a := &f.Artifact
	manifest.SortFindings(a.Findings)
	a.Findings = slices.Compact(a.Findings)
	slices.SortFunc(a.Contents, func(x, y scan.Package) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Target, y.Target), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version),
			cmp.Compare(x.ID, y.ID))
	})
	a.Packages = len(a.Contents)
}

// asPackage is one of Trivy's packages.
func asPackage(p ftypes.Package, kind, target string) scan.Package {
	version := p.Version
	if p.Release != "" {
		version += "-" + p.Release
	}
	if p.Epoch != 0 {
		version = fmt.Sprintf("%d:%s", p.Epoch, version)
	}
	out := scan.Package{ID: cmp.Or(p.ID, p.Name+"@"+version), Name: p.Name, Version: version, Kind: kind,
		Target: cmp.Or(p.FilePath, target), Licenses: p.Licenses, DependsOn: slices.Sorted(slices.Values(p.DependsOn))}
	if p.Identifier.PURL != nil {
		out.PURL = p.Identifier.PURL.String()
	}
	return out
}

// severity is Trivy's, which may be empty.
func severity(s string) manifest.Severity {
	if sev := manifest.Severity(s); slices.Contains(manifest.Severities(), sev) {
		return sev
	}
	return manifest.SeverityUnknown
}
