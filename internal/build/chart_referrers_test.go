package build_test

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasremote "oras.land/oras-go/v2/registry/remote"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror/push"
	"naru/test/lab/layout"
)

// signChart publishes a signature under cosign's tag and an SBOM beside the chart that
// harbour has in a registry, and returns the SBOM.
func (w *world) signChart() ocispec.Descriptor {
	w.t.Helper()
	const repository = "ghcr.io/naru/charts/app"
	more := must(layout.NewWriter(w.t.TempDir()))(w.t)
	simple := must(more.Bytes("application/vnd.dev.cosign.simplesigning.v1+json", []byte("{}")))(w.t)
	simple.Annotations = map[string]string{"dev.cosignproject.cosign/signature": "MEUCIQ=="}
	signature := must(more.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.dev.cosign.artifact.sig.v1+json", Layers: []ocispec.Descriptor{simple}}))(w.t)
	more.Name(layout.Image{Ref: repository + ":" + signatureTag(w.chart)}, signature)
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: w.chart.Digest, Size: w.chart.Size}
	sbom := must(more.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.cyclonedx+json", Subject: &subject}))(w.t)
	more.Name(layout.Image{Ref: repository + "@" + sbom.Digest.String()}, sbom)
	ok(w.t, w.up.Add(w.t.Context(), must(more.Close())(w.t)))
	return sbom
}

// lockOf is the lock that lies beside a bundle.
func lockOf(t *testing.T, dir string) *manifest.Lock {
	t.Helper()
	return must(manifest.DecodeLock("lock.yaml", must(os.ReadFile(filepath.Join(dir, "lock.yaml")))(t)))(t)
}

func signatureTag(d ocispec.Descriptor) string {
	return strings.Replace(d.Digest.String(), ":", "-", 1) + ".sig"
}

// TestChartReferrersComeAlong carries what refers to a chart in its registry as that of
// images is carried: in the lock, under the bundle's signature, beside naru's own
// signature, and into the registry that the bundle is pushed to.
func TestChartReferrersComeAlong(t *testing.T) {
	w := newWorld(t)
	w.harbour("app")
	sbom := w.signChart()
	component := bothImages + chartOCI + chartSteps
	o := w.withCharts(component)
	signer, pub := newSigner(t)
	o.Signer, o.Unsigned = signer, false
	w.run(o)
	lock := lockOf(t, o.OutDir)
	if n := len(lock.Charts[0].Referrers); n != 2 || lock.Charts[0].Referrers[0].Subject != w.chart.Digest {
		t.Fatalf("the lock has %d referrers of the chart, want 2: %+v", n, lock.Charts[0])
	}
	b := must(intake.Open(t.Context(), intake.Options{Paths: []string{o.OutDir}, Keys: []string{pub}}))(t)
	defer func() { _ = b.Close() }()
	must(b.Verify(t.Context(), archive.VerifyOptions{}))(t)
	var named []string
	for _, d := range b.Index().Manifests {
		if d.Annotations[manifest.AnnotationSubject] == w.chart.Digest.String() {
			named = append(named, d.Annotations[ocispec.AnnotationRefName])
		}
	}
	if diff := cmp.Diff([]string{"naru/charts/app@" + sbom.Digest.String(), "naru/charts/app:" + signatureTag(w.chart)}, named); diff != "" {
		t.Errorf("in the index (-want +got):\n%s", diff)
	}
	w.pushedChart(b, sbom)

	// From its lock it is the same again; one made before charts had referrers keeps them out.
	want := tree(t, o.OutDir)
	again := w.withCharts(component)
	again.Signer, again.Unsigned, again.CacheDir = signer, false, o.CacheDir
	again.LockFile, again.Locked = filepath.Join(o.OutDir, "lock.yaml"), true
	w.closed()
	w.run(again)
	if diff := cmp.Diff(want["lock.yaml"], tree(t, again.OutDir)["lock.yaml"]); diff != "" || len(w.up.Requests()) != 0 {
		t.Errorf("from its lock, with %d requests:\n%s", len(w.up.Requests()), diff)
	}
	lock.Charts[0].Referrers = nil
	old := w.withCharts(component)
	old.CacheDir, old.Locked = o.CacheDir, true
	old.LockFile = w.write("old.yaml", string(must(lock.Encode())(t)))
	w.run(old)
	if n := len(lockOf(t, old.OutDir).Charts[0].Referrers); n != 0 || len(w.up.Requests()) != 0 {
		t.Errorf("from an older lock: %d referrers, %d requests", n, len(w.up.Requests()))
	}
}

// pushedChart pushes a bundle and asks the registry for what refers to the chart.
func (w *world) pushedChart(b *intake.Bundle, sbom ocispec.Descriptor) {
	w.t.Helper()
	signed := must(intake.WithAllSignatures(w.t.Context(), []*intake.Bundle{b}))(w.t)
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	w.t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	plan := must(push.NewPlan(w.t.Context(), []push.Content{signed[0]}, push.Target{Client: http.DefaultClient, Base: host, PlainHTTP: true}, push.Options{}))(w.t)
	_, check, err := plan.Push(w.t.Context(), nil)
	ok(w.t, err)
	if len(check.Findings) > 0 {
		w.t.Errorf("the registry lacks %+v", check.Findings)
	}
	repo := must(orasremote.NewRepository(host + "/naru/charts/app"))(w.t)
	repo.PlainHTTP = true
	var sboms int
	ok(w.t, repo.Referrers(w.t.Context(), w.chart, "", func(list []ocispec.Descriptor) error {
		for _, d := range list {
			if d.Digest == sbom.Digest {
				sboms++
			}
		}
		return nil
	}))
	if sboms != 1 {
		w.t.Errorf("the registry tells of upstream's SBOM %d times", sboms)
	}
	_, body, err := repo.FetchReference(w.t.Context(), signatureTag(w.chart))
	ok(w.t, err)
	defer func() { _ = body.Close() }()
	var m ocispec.Manifest
	ok(w.t, json.NewDecoder(body).Decode(&m))
	if len(m.Layers) != 2 {
		w.t.Errorf("under cosign's tag are %d signatures, want upstream's and naru's", len(m.Layers))
	}
}
