package survey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/scan"
)

// memory is content by digest.
type memory map[digest.Digest][]byte

func (m memory) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := m[d]
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", d, fs.ErrNotExist)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(data), io.NopCloser(nil)}, nil
}

func (m memory) json(t *testing.T, v any) ocispec.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(data)
	m[d] = data
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
}

// image is a manifest of a platform with one layer.
func (m memory) image(t *testing.T, arch string) ocispec.Descriptor {
	t.Helper()
	config := m.json(t, map[string]string{"os": "linux", "architecture": arch})
	config.MediaType = ocispec.MediaTypeImageConfig
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(arch), Size: 1}
	d := m.json(t, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return d
}

func entryOf(d ocispec.Descriptor, ref string, kind manifest.ArtifactKind) ocispec.Descriptor {
	d.Platform = nil
	d.Annotations = map[string]string{ocispec.AnnotationRefName: ref, manifest.AnnotationKind: string(kind)}
	return d
}

// world is an index with everything that can be in one.
func world(t *testing.T) (memory, ocispec.Index, []*manifest.ComponentSpec) {
	t.Helper()
	m := memory{}
	amd64, absent := m.image(t, "amd64"), ocispec.Descriptor{Digest: digest.FromString("s390x"), Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}
	attestation := m.json(t, ocispec.Manifest{})
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	index := m.json(t, map[string]any{"manifests": []ocispec.Descriptor{absent, amd64, attestation}})
	packages := m.json(t, map[string]any{"artifactType": manifest.PackagesArtifactType,
		"config": withType(m.json(t, map[string]any{"os": "debian", "versions": []string{"12"}, "component": "kubernetes", "platform": "linux/amd64"})),
		"layers": []ocispec.Descriptor{{Digest: digest.FromString("deb"), Annotations: map[string]string{ocispec.AnnotationTitle: "pool/a.deb"}}}})
	metadata := m.json(t, map[string]any{"artifactType": manifest.MetadataArtifactType, "config": withType(m.json(t, map[string]any{"os": "debian"}))})
	signature := entryOf(m.json(t, ocispec.Manifest{}), "registry.lab.test/app:sha256-x.sig", manifest.ArtifactReferrer)
	signature.Annotations[manifest.AnnotationSubject] = index.Digest.String()
	return m, ocispec.Index{Manifests: []ocispec.Descriptor{
		entryOf(index, "registry.lab.test/app:1", manifest.ArtifactImage), signature,
		entryOf(packages, "naru/packages/debian-12/kubernetes:1", manifest.ArtifactPackages),
		entryOf(metadata, "naru/metadata/debian-12:x", manifest.ArtifactPackages),
	}}, []*manifest.ComponentSpec{{ID: "app", License: "Apache-2.0", Images: []manifest.Image{{Ref: "registry.lab.test/app:1"}}}}
}

func withType(d ocispec.Descriptor) ocispec.Descriptor {
	d.MediaType = "application/vnd.naru.packages.config.v1+json"
	return d
}

func TestTargets(t *testing.T) {
	m, index, specs := world(t)
	targets, err := survey.Targets(t.Context(), m, index, specs)
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 2 {
		t.Fatalf("%d targets, want the carried platform and the packages: %+v", len(targets), targets)
	}
	image, packages := targets[0], targets[1]
	if image.Component != "app" || image.Platform != "linux/amd64" || image.Entry == image.Digest || len(image.Blobs) != 1 {
		t.Errorf("image %+v", image)
	}
	if packages.Component != "kubernetes" || packages.OS != (scan.OS{Family: "debian", Version: "12"}) || packages.Blobs[0].Name != "pool/a.deb" {
		t.Errorf("packages %+v", packages)
	}
	m[index.Manifests[0].Digest] = []byte("{}")
	if _, err := survey.Targets(t.Context(), m, index, specs); err == nil {
		t.Error("an index with another digest was read")
	}
}

// scanner finds one thing in every target.
type scanner struct{}

func (scanner) Name() string { return "lab 1" }

func (scanner) Scan(_ context.Context, targets []scan.Target, _ scan.Options) (*scan.Result, error) {
	r := &scan.Result{Scanner: "lab 1", Advisories: map[string]manifest.Advisory{}}
	for _, t := range targets {
		r.Artifacts = append(r.Artifacts, scan.Artifact{ScannedArtifact: manifest.ScannedArtifact{Ref: t.Ref, Kind: t.Kind, Component: t.Component, Digest: t.Digest,
			Findings: []manifest.Finding{{Class: manifest.ClassVulnerability, ID: "CVE-1", Severity: manifest.SeverityCritical}}}})
	}
	return r, nil
}

func TestRun(t *testing.T) {
	m, index, specs := world(t)
	policy, err := manifest.DecodeScanPolicy("p", []byte("apiVersion: naru/v1\nkind: ScanPolicy\nrule: {severity: critical}\n"))
	if err != nil {
		t.Fatal(err)
	}
	opts := survey.Options{Blobs: m, Index: index, Specs: specs, Scanner: scanner{}, Database: &scan.Database{}, SPDX: true, Name: "lab"}
	s, err := survey.Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil || s.Report.Verdict != manifest.VerdictNotJudged {
		t.Errorf("without a policy: %q, %v", s.Report.Verdict, err)
	}
	var names []string
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	for _, want := range []string{manifest.ScanReportName, manifest.BundleSBOMName, s.Report.Artifacts[0].SBOM, s.Report.Artifacts[0].SPDX} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is not among %v", want, names)
		}
	}
	opts.Policy = policy
	if s, err = survey.Run(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	var stopped *scan.PolicyError
	if !errors.As(s.Check(), &stopped) {
		t.Errorf("with a policy: %v", s.Check())
	}
}
