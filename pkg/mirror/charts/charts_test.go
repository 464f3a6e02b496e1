package charts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/provenance"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/pkg/mirror"
	"naru/pkg/mirror/charts"
	"naru/pkg/mirror/remote"
	"naru/pkg/mirror/store"
	"naru/test/lab/helmchart"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

const repository = "https://dl.lab.test/stable"

// world is an internet with charts and a fetcher of them.
type world struct {
	*layout.Writer
	t     *testing.T
	up    *upstream.Upstream
	store *store.Store
	ring  []byte
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t *testing.T, publish func(w *world)) *world {
	t.Helper()
	w := &world{Writer: must(layout.NewWriter(t.TempDir()))(t), t: t}
	publish(w)
	l := must(w.Close())(t)
	w.up = must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir()}))(t)
	t.Cleanup(func() { _ = w.up.Close() })
	if err := w.up.Add(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	w.store = must(store.Open(t.TempDir()))(t)
	t.Cleanup(func() { _ = w.store.Close() })
	return w
}

func (w *world) fetcher() *charts.Fetcher {
	opts := remote.Options{CAFiles: []string{w.up.CAFile()}, Credentials: credentials.NewMemoryStore()}
	for _, m := range w.up.RegistryMap() {
		opts.Map = append(opts.Map, must(remote.ParseMapping(m))(w.t))
	}
	client := must(remote.New(opts))(w.t)
	m := mirror.New(client, w.store, mirror.Options{})
	return charts.New(m, client, w.store, charts.Options{Keyring: func(name string) ([]byte, error) {
		if name != "lab" {
			return nil, fs.ErrNotExist
		}
		return w.ring, nil
	}})
}

// chart packages a chart with further files.
func chart(t *testing.T, name, version string, more ...string) *helmchart.Chart {
	t.Helper()
	files := map[string]string{
		"Chart.yaml":       fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version),
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
	}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] += more[i+1]
	}
	return must(helmchart.Package(files))(t)
}

// sign gives c a provenance file and returns the keyring.
func sign(t *testing.T, c *helmchart.Chart) []byte {
	t.Helper()
	entity := must(openpgp.NewEntity("lab", "", "lab@lab.test", nil))(t)
	file := filepath.Join(t.TempDir(), c.File())
	if err := os.WriteFile(file, c.Package, 0o600); err != nil {
		t.Fatal(err)
	}
	s := provenance.Signatory{Entity: entity, KeyRing: openpgp.EntityList{entity}}
	c.Provenance = []byte(must(s.ClearSign(file))(t))
	var ring bytes.Buffer
	if err := entity.Serialize(&ring); err != nil {
		t.Fatal(err)
	}
	return ring.Bytes()
}

func ask(name, version, from string) charts.Chart {
	return charts.Chart{Component: "comp", Name: name, Version: version, Repository: from}
}

func TestChartFromHTTPRepository(t *testing.T) {
	app := chart(t, "app", "1.2.3+up.1")
	w := newWorld(t, func(w *world) {
		if err := helmchart.Publish(w.Writer, repository, app, chart(t, "app", "1.0.0")); err != nil {
			t.Fatal(err)
		}
	})
	got := must(w.fetcher().Fetch(t.Context(), ask("app", "1.2.3+up.1", repository)))(t)
	if want := digest.FromBytes(app.Package); got.Digest != want || got.Size != int64(len(app.Package)) {
		t.Errorf("got %s of %d bytes, want %s", got.Digest, got.Size, want)
	}
	if got.Source != repository+"/app-1.2.3+up.1.tgz" || got.Artifact.Ref != "naru/charts/app:1.2.3_up.1" || got.Provenance != "" {
		t.Errorf("got %+v %+v", got.Chart, got.Artifact)
	}
	// The artifact depends on the chart alone, and what is locked is not asked for.
	w.up.ResetRequests()
	locked := got.Chart
	locked.Locked = true
	again := must(w.fetcher().Fetch(t.Context(), locked))(t)
	if diff := cmp.Diff(got.Artifact, again.Artifact); diff != "" {
		t.Error(diff)
	}
	if n := len(w.up.Requests()); n != 0 {
		t.Errorf("%d requests for a chart that is there", n)
	}
	var types []string
	for _, d := range got.Artifact.Blobs {
		types = append(types, d.MediaType)
	}
	if want := "application/vnd.cncf.helm.config.v1+json application/vnd.cncf.helm.chart.content.v1.tar+gzip"; strings.Join(types, " ") != want {
		t.Errorf("blobs of types %v", types)
	}
}

func TestChartFromRegistryKeepsItsManifest(t *testing.T) {
	app := chart(t, "app", "1.2.3")
	ring := sign(t, app)
	var desc ocispec.Descriptor
	w := newWorld(t, func(w *world) { desc = must(helmchart.Push(w.Writer, "ghcr.io/owner/charts", app))(t) })
	w.ring = ring
	c := ask("app", "1.2.3", "oci://ghcr.io/owner/charts")
	c.Keyring = "lab"
	got := must(w.fetcher().Fetch(t.Context(), c))(t)
	if got.Artifact.Descriptor.Digest != desc.Digest || got.Manifest != desc.Digest || got.Digest != digest.FromBytes(app.Package) || got.Provenance != digest.FromBytes(app.Provenance) {
		t.Errorf("got %+v, the manifest upstream is %s", got.Chart, desc.Digest)
	}
	locked := got.Chart
	locked.Locked = true
	if err := w.up.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.fetcher().Fetch(t.Context(), locked); err != nil {
		t.Errorf("a locked chart that is there was asked for: %v", err)
	}
}

// TestChartReferrers takes along what refers to a chart in its registry, by cosign's tag
// and by subject, and does not take the chart out of what refers to it.
func TestChartReferrers(t *testing.T) {
	app := chart(t, "app", "1.2.3")
	var desc, signature, sbom ocispec.Descriptor
	w := newWorld(t, func(w *world) {
		desc = must(helmchart.Push(w.Writer, "ghcr.io/owner/charts", app))(t)
		subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: desc.Digest, Size: desc.Size}
		other := must(w.Bytes("application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("another package")))(t)
		signature = must(w.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.dev.cosign.artifact.sig.v1+json", Layers: []ocispec.Descriptor{other}}))(t)
		w.Name(layout.Image{Ref: "ghcr.io/owner/charts/app:sha256-" + desc.Digest.Encoded() + ".sig"}, signature)
		sbom = must(w.Artifact(layout.ArtifactSpec{ArtifactType: "application/vnd.cyclonedx+json", Subject: &subject}))(t)
		w.Name(layout.Image{Ref: "ghcr.io/owner/charts/app@" + sbom.Digest.String()}, sbom)
	})
	asked := ask("app", "1.2.3", "oci://ghcr.io/owner/charts")
	got := must(w.fetcher().Fetch(t.Context(), asked))(t)
	want := []string{" " + sbom.Digest.String(), "sha256-" + desc.Digest.Encoded() + ".sig " + signature.Digest.String()}
	var have []string
	for _, r := range got.Referrers {
		if r.Subject != desc.Digest {
			t.Errorf("%s refers to %s", r.Descriptor.Digest, r.Subject)
		}
		have = append(have, r.Tag+" "+r.Descriptor.Digest.String())
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Digest != digest.FromBytes(app.Package) {
		t.Errorf("the package is %s", got.Digest)
	}
	for _, d := range append(got.Artifact.Manifests, got.Artifact.Blobs...) {
		if !w.store.Has(d.Digest, d.Size) {
			t.Errorf("%s of %s is not in the store", d.MediaType, d.Digest)
		}
	}
	asked.NoReferrers = true
	if bare := must(w.fetcher().Fetch(t.Context(), asked))(t); len(bare.Referrers) != 0 || len(bare.Artifact.Manifests) != 1 {
		t.Errorf("without referrers: %+v", bare)
	}
	// Pinned ones are taken as they are, with the network gone.
	if err := w.up.Close(); err != nil {
		t.Fatal(err)
	}
	locked := got.Chart
	locked.Locked, locked.Referrers = true, locked.Referrers[1:]
	if again := must(w.fetcher().Fetch(t.Context(), locked))(t); len(again.Referrers) != 1 || again.Referrers[0].Descriptor.Digest != signature.Digest {
		t.Errorf("pinned referrers: %+v", again.Referrers)
	}
}

func TestChartProvenance(t *testing.T) {
	good, bad, none := chart(t, "good", "1.0.0"), chart(t, "bad", "1.0.0"), chart(t, "none", "1.0.0")
	ring := sign(t, good)
	sign(t, bad) // by another key
	w := newWorld(t, func(w *world) {
		if err := helmchart.Publish(w.Writer, repository, good, bad, none); err != nil {
			t.Fatal(err)
		}
	})
	w.ring = ring
	for name, fine := range map[string]bool{"good": true, "bad": false, "none": false} {
		c := ask(name, "1.0.0", repository)
		c.Keyring = "lab"
		_, err := w.fetcher().Fetch(t.Context(), c)
		var wrong *charts.ProvenanceError
		if fine != (err == nil) || !fine && !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unchecked := must(w.fetcher().Fetch(t.Context(), ask("bad", "1.0.0", repository)))(t)
	if unchecked.Provenance == "" || len(unchecked.Artifact.Blobs) != 3 {
		t.Errorf("the provenance was left behind: %+v", unchecked)
	}
}

func TestChartRefused(t *testing.T) {
	dependent := "dependencies: [{name: sub, version: 1.x.x, repository: \"https://a.b\"}]\n"
	liar := chart(t, "other", "1.0.0")
	liar.Name = "liar"
	liar.Metadata = map[string]any{"apiVersion": "v2", "name": "liar", "version": "1.0.0"}
	w := newWorld(t, func(w *world) {
		err := helmchart.Publish(w.Writer, repository, liar,
			chart(t, "lacking", "1.0.0", "Chart.yaml", dependent),
			chart(t, "outdated", "1.0.0", "Chart.yaml", dependent, "charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.9.0\n"),
			chart(t, "whole", "1.0.0", "Chart.yaml", dependent, "charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.5.0\n"))
		if err != nil {
			t.Fatal(err)
		}
	})
	f := w.fetcher()
	if _, err := f.Fetch(t.Context(), ask("whole", "1.0.0", repository)); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"lacking", "outdated", "liar"} {
		_, err := f.Fetch(t.Context(), ask(name, "1.0.0", repository))
		if meta, ok := errors.AsType[*charts.MetadataError](err); !ok || meta.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []string{"2.0.0", "1.0"} {
		_, err := f.Fetch(t.Context(), ask("whole", version, repository))
		if missing, ok := errors.AsType[*charts.NotFoundError](err); !ok || len(missing.Have) != 1 {
			t.Errorf("version %s: %v", version, err)
		}
	}
	pinned := ask("whole", "1.0.0", repository)
	pinned.Digest = digest.FromString("another")
	_, err := f.Fetch(t.Context(), pinned)
	if mismatch, ok := errors.AsType[*mirror.MismatchError](err); !ok || mismatch.Want != pinned.Digest {
		t.Errorf("another digest: %v", err)
	}
	_, err = f.Fetch(t.Context(), ask("whole", "1.0.0", "https://dl.lab.test/nowhere"))
	if status, ok := errors.AsType[*remote.StatusError](err); !ok || status.Status != http.StatusNotFound {
		t.Errorf("no repository: %v", err)
	}
}

// An index that lies about the digest, or none at all of it, does not get a chart in
// that is not the one locked.
func TestChartIndexDigest(t *testing.T) {
	app := chart(t, "app", "1.0.0")
	index := func(digest string) string {
		return "apiVersion: v1\nentries: {app: [{apiVersion: v2, name: app, version: 1.0.0, urls: [\"https://dl.lab.test/elsewhere/app-1.0.0.tgz\"]" + digest + "}]}\n"
	}
	for name, c := range map[string]struct {
		digest string
		fine   bool
	}{"none": {"", true}, "wrong": {", digest: \"" + digest.FromString("x").Encoded() + "\"", false}} {
		w := newWorld(t, func(w *world) {
			for url, data := range map[string][]byte{repository + "/index.yaml": []byte(index(c.digest)), "https://dl.lab.test/elsewhere/app-1.0.0.tgz": app.Package} {
				must(w.File(url, func(to io.Writer) error { _, err := to.Write(data); return err }))(t)
			}
		})
		_, err := w.fetcher().Fetch(t.Context(), ask("app", "1.0.0", repository))
		if _, mismatch := errors.AsType[*mirror.MismatchError](err); c.fine != (err == nil) || !c.fine && !mismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}
