//go:build goexperiment.jsonv2

package trivy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/opencontainers/go-digest"

	trivydbpkg "github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/db"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	fimage "github.com/aquasecurity/trivy/pkg/fanal/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	trivyscan "github.com/aquasecurity/trivy/pkg/scan"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/local"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"
	xos "github.com/aquasecurity/trivy/pkg/x/os"

	"naru/manifest"
	"naru/pkg/scan"
	"naru/pkg/scan/trivy"
	"naru/test/lab/trivydb"
)

// run scans targets with a cache of its own.
func run(t testing.TB, m *memory, database *scan.Database, targets ...scan.Target) *scan.Result {
	t.Helper()
	result, err := trivy.New().Scan(t.Context(), targets, scan.Options{Blobs: m, CacheDir: t.TempDir(), Database: database, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// ids are the findings of a class, each "ID package version".
func ids(a scan.Artifact, class manifest.FindingClass) []string {
	var out []string
	for _, f := range a.Findings {
		if f.Class == class {
			out = append(out, strings.TrimSpace(f.ID+" "+f.Package+" "+f.Installed))
		}
	}
	return out
}

func imageTarget(ref string, layers ...scan.Blob) scan.Target {
	d := digest.FromString(ref)
	return scan.Target{Ref: ref, Kind: manifest.ArtifactImage, Component: "lab", Platform: "linux/amd64", Entry: d, Digest: d, Blobs: layers}
}

// TestImageAgainstTrivy holds the findings of an image to those of Trivy's library
// called on the same image's tar.
func TestImageAgainstTrivy(t *testing.T) {
	m := newMemory()
	database := database(t)
	base := m.layer(t, debianFiles(libc))
	app := m.layer(t, map[string][]byte{"usr/bin/prog": program(t), "root/key": []byte("aws_access_key_id = AKIA" + "QHZ7P4M5XY2WNB3C\n")})
	got := run(t, m, database, imageTarget("registry.lab.test/app:1", base, app)).Artifacts[0]
	if got.OS != "debian 12.5" {
		t.Errorf("os is %q", got.OS)
	}
	var found [][]string
	for _, f := range got.Findings {
		if f.Class == manifest.ClassVulnerability {
			found = append(found, []string{f.ID, f.Package, f.Installed, f.Fixed, string(f.Severity), f.Target, f.PURL})
		}
	}
	want := direct(t, m, database, base, app)
	if diff := cmp.Diff(want, sorted(found)); diff != "" || len(want) < 4 {
		t.Errorf("findings differ from Trivy's (%d): -trivy +ours\n%s", len(want), diff)
	}
	if want[0][0] != "CVE-2010-4756" || want[0][4] != "MEDIUM" {
		t.Errorf("the first finding is %v", want[0])
	}
	if secrets := ids(got, manifest.ClassSecret); !slices.Equal(secrets, []string{"aws-access-key-id"}) {
		t.Errorf("secrets are %v", secrets)
	}
	if !slices.ContainsFunc(got.Contents, func(p scan.Package) bool {
		return p.Name == "libc6" && strings.HasPrefix(p.PURL, "pkg:deb/debian/libc6@")
	}) {
		t.Errorf("libc6 is not among the packages: %v", got.Contents)
	}
}

func sorted(rows [][]string) [][]string {
	slices.SortFunc(rows, func(a, b []string) int { return slices.Compare(a, b) })
	return rows
}

// direct asks Trivy's library about a tar of the image. Trivy's scratch folder is made
// for it and removed again.
func direct(t *testing.T, m *memory, database *scan.Database, layers ...scan.Blob) [][]string {
	t.Helper()
	if err := os.Mkdir(xos.TempDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	defer func() { _ = xos.Cleanup() }()
	file := filepath.Join(t.TempDir(), "image.tar")
	tagged, err := name.NewTag("registry.lab.test/app:1")
	if err != nil {
		t.Fatal(err)
	}
	img := empty.Image
	for _, l := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.blobs[l.Digest])), nil })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	if err := tarball.WriteToFile(file, tagged, img); err != nil {
		t.Fatal(err)
	}
	archive, err := fimage.NewArchiveImage(file)
	if err != nil {
		t.Fatal(err)
	}
	c := cache.NewMemoryCache()
	art, err := image.NewArtifact(archive, c, artifact.Option{Offline: true, NoProgress: true,
		DisabledAnalyzers: slices.Concat(analyzer.TypeLockfiles, analyzer.TypeConfigFiles, []analyzer.Type{analyzer.TypeJar, analyzer.TypeExecutable})})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Init(database.Dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	service := trivyscan.NewService(local.NewService(applier.NewApplier(c), ospkg.NewScanner(), langpkg.NewScanner(), vulnerability.NewClient(trivydbpkg.Config{})), art)
	report, err := service.ScanArtifact(t.Context(), types.ScanOptions{PkgTypes: types.PkgTypes, PkgRelationships: ftypes.Relationships,
		Scanners: types.Scanners{types.VulnerabilityScanner}, VulnSeveritySources: []dbtypes.SourceID{"auto"}})
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for _, r := range report.Results {
		for _, v := range r.Vulnerabilities {
			target := v.PkgPath
			if target == "" && r.Class != types.ClassOSPkg {
				target = r.Target
			}
			out = append(out, []string{v.VulnerabilityID, v.PkgName, v.InstalledVersion, v.FixedVersion, v.Severity, target, v.PkgIdentifier.PURL.String()}) //nolint:staticcheck // what the judgement compares is Trivy's own choice of severity
		}
	}
	return sorted(out)
}

// TestKinds finds something in everything else that is carried.
func TestKinds(t *testing.T) {
	m := newMemory()
	prog := program(t)
	version, err := cryptoVersion()
	if err != nil {
		t.Fatal(err)
	}
	version = strings.TrimPrefix(version, "v")
	pkg := strings.ReplaceAll(libc, "Status: install ok installed\n", "")
	inGo := "CVE-2025-58181 golang.org/x/crypto v" + version
	inLibc := []string{"CVE-2019-1010022 libc6 2.36-9+deb12u4", "CVE-2024-2961 libc6 2.36-9+deb12u4", "CVE-2010-4756 libc6 2.36-9+deb12u4"}
	file := func(name string, data []byte) scan.Target {
		return scan.Target{Ref: name, Kind: manifest.ArtifactFile, Digest: digest.FromString(name), Blobs: []scan.Blob{m.file(name, data)}}
	}
	tests := []struct {
		name   string
		target scan.Target
		class  manifest.FindingClass
		want   []string
	}{
		{"binary", file("prog", prog), manifest.ClassVulnerability, []string{inGo}},
		{"tar.gz", file("prog.tar.gz", gzipped(t, tarOf(t, map[string][]byte{"prog-1.0/prog": prog}))), manifest.ClassVulnerability, []string{inGo}},
		{"deb of unsaid release", file("libc6.deb", deb(t, pkg)), manifest.ClassVulnerability, inLibc},
		{"packages", scan.Target{Ref: "naru/packages/lab", Kind: manifest.ArtifactPackages, Digest: digest.FromString("p"), OS: scan.OS{Family: "debian", Version: "12"},
			Blobs: []scan.Blob{m.file("pool/libc6_2.36.deb", deb(t, pkg))}}, manifest.ClassVulnerability, inLibc},
		{"rpm packages", scan.Target{Ref: "naru/packages/rocky", Kind: manifest.ArtifactPackages, Digest: digest.FromString("r"), OS: scan.OS{Family: "rocky", Version: "9"},
			Blobs: []scan.Blob{m.file("Packages/openssl-libs.rpm", rpm("openssl-libs", "3.0.7", "24.el9"))}}, manifest.ClassVulnerability,
			[]string{"CVE-2023-5363 openssl-libs 3.0.7-24.el9"}},
		{"manifest", file("deploy.yaml", []byte(deployment)), manifest.ClassMisconfiguration, []string{"KSV-0017"}},
		{"chart", scan.Target{Ref: "naru/charts/web", Kind: manifest.ArtifactChart, Digest: digest.FromString("c"),
			Blobs: []scan.Blob{m.file("web-1.0.0.tgz", chart(t))}}, manifest.ClassMisconfiguration, []string{"KSV-0017"}},
		{"secret in a file", file("app.conf", []byte("aws_access_key_id = AKIA"+"QHZ7P4M5XY2WNB3C\n")), manifest.ClassSecret, []string{"aws-access-key-id"}},
	}
	var targets []scan.Target
	for _, tt := range tests {
		targets = append(targets, tt.target)
	}
	result := run(t, m, database(t, trivydb.Advisory{CVE: "CVE-2023-5363", Bucket: trivydb.Rocky, Package: "openssl-libs", Fixed: "1:3.0.7-25.el9_3", Severity: 3, Title: "openssl", Date: "2023-10-24"}), targets...)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ids(result.Artifacts[i], tt.class)
			for _, want := range tt.want {
				if !slices.Contains(got, want) {
					t.Errorf("%s is missing, found %v (note %q, packages %v)", want, got, result.Artifacts[i].Note, result.Artifacts[i].Contents)
				}
			}
		})
	}
	if adv := result.Advisories["CVE-2024-2961"]; adv.Title == "" || adv.Published != "2024-04-17" {
		t.Errorf("advisory %+v", adv)
	}
}

// TestDatabaseOfTheScanner: a database is the only layer of its artifact. What bears its
// type beside other layers was not scanned, and says so.
func TestDatabaseOfTheScanner(t *testing.T) {
	m := newMemory()
	layer := func(mediaType, data string) scan.Blob {
		return scan.Blob{Digest: m.put([]byte(data)), Size: int64(len(data)), MediaType: mediaType}
	}
	db := layer("application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", "database")
	odd := layer("application/vnd.lab.odd", "odd")
	alone := scan.Target{Ref: "ghcr.io/a/db:2", Kind: manifest.ArtifactImage, Digest: digest.FromString("alone"), Blobs: []scan.Blob{db}}
	among := scan.Target{Ref: "ghcr.io/a/image:1", Kind: manifest.ArtifactImage, Digest: digest.FromString("among"), Blobs: []scan.Blob{odd, db}}
	result := run(t, m, database(t), alone, among)
	if a := result.Artifacts[0]; a.Note != "" || a.Data == "" {
		t.Errorf("the database by itself: note %q, data %q", a.Note, a.Data)
	}
	if a := result.Artifacts[1]; !strings.Contains(a.Note, db.MediaType) || a.Data != "" {
		t.Errorf("the database among others: note %q, data %q", a.Note, a.Data)
	}
}

// TestLayersOnce counts what is analysed of 300 images that share 40 layers, and
// that a second scan analyses nothing.
func TestLayersOnce(t *testing.T) {
	const images, shared = 300, 40
	m := newMemory()
	var layers []scan.Blob
	for i := range shared {
		files := map[string][]byte{fmt.Sprintf("opt/%d", i): bytes.Repeat([]byte{byte(i)}, 1000)}
		if i == 0 {
			files = debianFiles(libc)
		}
		layers = append(layers, m.layer(t, files))
	}
	var targets []scan.Target
	for i := range images {
		own := m.layer(t, map[string][]byte{fmt.Sprintf("srv/%d", i): []byte(fmt.Sprint("image ", i))})
		targets = append(targets, imageTarget(fmt.Sprintf("registry.lab.test/app%d:1", i), layers[0], layers[1+i%(shared-1)], own))
	}
	var mu sync.Mutex
	analysed := map[digest.Digest]int{}
	opts := scan.Options{Blobs: m, CacheDir: t.TempDir(), Database: database(t), Jobs: 2, OnBlob: func(d digest.Digest, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		analysed[d]++
	}}
	scanner := trivy.New()
	first, err := scanner.Scan(t.Context(), targets, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(analysed) != images+shared {
		t.Errorf("%d layers were analysed, want %d", len(analysed), images+shared)
	}
	for d, n := range analysed {
		if n != 1 {
			t.Errorf("layer %s was analysed %d times", d, n)
		}
	}
	for _, a := range first.Artifacts {
		if len(ids(a, manifest.ClassVulnerability)) != 3 {
			t.Fatalf("%s has %v", a.Ref, ids(a, manifest.ClassVulnerability))
		}
	}
	clear(analysed)
	again, err := scanner.Scan(t.Context(), targets, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(analysed) != 0 {
		t.Errorf("the second scan analysed %d layers", len(analysed))
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the second scan found something else:\n%s", diff)
	}
}

// TestOtherDatabase looks up again what another database may know of, without
// analysing anything again.
func TestOtherDatabase(t *testing.T) {
	m := newMemory()
	target := imageTarget("registry.lab.test/app:1", m.layer(t, debianFiles(libc)))
	opts := scan.Options{Blobs: m, CacheDir: t.TempDir(), Database: database(t), Jobs: 1}
	if _, err := trivy.New().Scan(t.Context(), []scan.Target{target}, opts); err != nil {
		t.Fatal(err)
	}
	opens := m.opens
	opts.Database = database(t, advisory("CVE-2025-4802", "glibc", "2.36-9+deb12u11"))
	result, err := trivy.New().Scan(t.Context(), []scan.Target{target}, opts)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(result.Artifacts[0], manifest.ClassVulnerability); !slices.Contains(got, "CVE-2025-4802 libc6 2.36-9+deb12u4") {
		t.Errorf("found %v", got)
	}
	if m.opens != opens {
		t.Errorf("%d layers were opened again", m.opens-opens)
	}
}

func TestScanFails(t *testing.T) {
	m := newMemory()
	missing := imageTarget("registry.lab.test/app:1", scan.Blob{Digest: digest.FromString("gone"), MediaType: "application/vnd.oci.image.layer.v1.tar"})
	_, err := trivy.New().Scan(t.Context(), []scan.Target{missing}, scan.Options{Blobs: m, CacheDir: t.TempDir(), Database: database(t)})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok := imageTarget("registry.lab.test/app:1", m.layer(t, debianFiles(libc)))
	if _, err := trivy.New().Scan(ctx, []scan.Target{ok}, scan.Options{Blobs: m, CacheDir: t.TempDir(), Database: database(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled scan: %v", err)
	}
}

// TestLeavesNothing holds that no scan leaves Trivy's scratch folder behind, whether it
// ends well, fails or is stopped in the middle of its layers, and that the next one
// of the process works.
func TestLeavesNothing(t *testing.T) {
	m := newMemory()
	var targets []scan.Target
	for i := range 8 {
		files := debianFiles(libc)
		files["usr/bin/prog"] = program(t)
		files["srv/name"] = []byte(fmt.Sprint("layer ", i))
		targets = append(targets, imageTarget(fmt.Sprintf("registry.lab.test/app%d:1", i), m.layer(t, files)))
	}
	missing := imageTarget("registry.lab.test/gone:1", scan.Blob{Digest: digest.FromString("gone"), MediaType: "application/vnd.oci.image.layer.v1.tar"})
	db := database(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ends := []struct {
		name    string
		ctx     context.Context
		targets []scan.Target
		onBlob  func(digest.Digest, int64)
		want    error
	}{
		{"well", t.Context(), targets, nil, nil},
		{"stopped", ctx, targets, func(digest.Digest, int64) { cancel() }, context.Canceled},
		{"failed", t.Context(), append([]scan.Target{missing}, targets...), nil, os.ErrNotExist},
		{"well again", t.Context(), targets, nil, nil},
	}
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			_, err := trivy.New().Scan(tt.ctx, tt.targets, scan.Options{Blobs: m, CacheDir: cache, Database: db, Jobs: 4, OnBlob: tt.onBlob})
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if _, err := os.Lstat(xos.TempDir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the scratch folder %s: %v", xos.TempDir(), err)
			}
			left, err := filepath.Glob(filepath.Join(cache, "layers", "tmp-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v (%v)", left, err)
			}
		})
	}
}

// TestVersion holds the version that reports name to the one of go.mod.
func TestVersion(t *testing.T) {
	data, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "github.com/aquasecurity/trivy v"+trivy.Version+"\n") {
		t.Errorf("go.mod has another version of Trivy than %s", trivy.Version)
	}
}
