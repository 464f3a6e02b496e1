// Package trivydb makes small vulnerability databases with Trivy's own libraries:
// real CVE ids, for packages that the lab's content is made of.
package trivydb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy-db/pkg/vulnsrc/vulnerability"
	javadb "github.com/aquasecurity/trivy-java-db/pkg/db"
	javatypes "github.com/aquasecurity/trivy-java-db/pkg/types"
	_ "modernc.org/sqlite" // the Java database's driver

	"naru/test/lab/layout"
)

// References and media types by which the databases are published.
const (
	Ref           = "ghcr.io/aquasecurity/trivy-db:2"
	JavaRef       = "ghcr.io/aquasecurity/trivy-java-db:1"
	configType    = "application/vnd.aquasec.trivy.config.v1+json"
	dbLayerType   = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
	javaLayerType = "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip"
)

// Advisory is one entry of a database.
type Advisory struct {
	CVE      string
	Bucket   Bucket
	Package  string // Debian: the source package
	Fixed    string // empty where there is no fix
	Range    string // Go: the versions affected, "< 0.45.0"
	Severity types.Severity
	Title    string
	Date     string // published, YYYY-MM-DD
}

// Bucket is where an advisory is kept.
type Bucket string

// The buckets that the lab needs.
const (
	Debian Bucket = "debian 12"
	Rocky  Bucket = "rocky 9"
	Go     Bucket = "go::GitHub Security Advisory Go"
)

// Default are advisories for what the lab's content is made of: etcd's modules and
// Debian's C library.
func Default() []Advisory {
	return []Advisory{
		{CVE: "CVE-2019-1010022", Bucket: Debian, Package: "glibc", Severity: types.SeverityCritical,
			Title: "glibc: stack guard protection bypass", Date: "2019-07-15"},
		{CVE: "CVE-2010-4756", Bucket: Debian, Package: "glibc", Severity: types.SeverityMedium,
			Title: "glibc: glob implementation can cause excessive CPU and memory consumption due to crafted glob expressions", Date: "2011-03-02"},
		{CVE: "CVE-2024-2961", Bucket: Debian, Package: "glibc", Fixed: "2.36-9+deb12u6", Severity: types.SeverityHigh,
			Title: "glibc: Out of bounds write in iconv may lead to remote code execution", Date: "2024-04-17"},
		{CVE: "CVE-2025-58181", Bucket: Go, Package: "golang.org/x/crypto", Range: "< 0.45.0", Fixed: "0.45.0", Severity: types.SeverityMedium,
			Title: "golang.org/x/crypto/ssh allows an attacker to cause unbounded memory consumption", Date: "2025-11-19"},
		{CVE: "CVE-2025-47914", Bucket: Go, Package: "golang.org/x/crypto", Range: "< 0.45.0", Fixed: "0.45.0", Severity: types.SeverityMedium,
			Title: "golang.org/x/crypto/ssh/agent vulnerable to panic if message is malformed due to out of bounds read", Date: "2025-11-19"},
		{CVE: "CVE-2025-47911", Bucket: Go, Package: "golang.org/x/net", Range: "< 0.45.0", Fixed: "0.45.0", Severity: types.SeverityHigh,
			Title: "golang.org/x/net/html: quadratic parsing complexity", Date: "2026-02-05"},
		{CVE: "CVE-2024-45337", Bucket: Go, Package: "golang.org/x/crypto", Range: "< 0.31.0", Fixed: "0.31.0", Severity: types.SeverityCritical,
			Title: "golang.org/x/crypto/ssh: Misuse of ServerConfig.PublicKeyCallback may cause authorization bypass", Date: "2024-12-12"},
	}
}

// Date is when the lab's databases were updated; they are good for ever.
func Date() time.Time { return layout.Epoch() }

// building keeps builds apart: Trivy's library has its database in a package variable.
var building sync.Mutex

// Build writes a vulnerability database, trivy.db and metadata.json, into dir.
func Build(dir string, advisories []Advisory, updated time.Time) error {
	building.Lock()
	defer building.Unlock()
	if err := db.Init(dir); err != nil {
		return fmt.Errorf("making a vulnerability database: %w", err)
	}
	err := db.Config{}.BatchUpdate(func(tx *bolt.Tx) error { return put(tx, advisories) })
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("filling a vulnerability database: %w", err)
	}
	if err := settle(filepath.Join(dir, "trivy.db")); err != nil {
		return fmt.Errorf("settling a vulnerability database: %w", err)
	}
	client := metadata.NewClient(dir)
	return client.Update(metadata.Metadata{Version: db.SchemaVersion, UpdatedAt: updated, NextUpdate: updated.AddDate(100, 0, 0)})
}

// settle rewrites a database key by key: where bbolt puts the pages of one large
// transaction follows the order of a map, and the lab's content is to be the same
// whenever it is made.
func settle(path string) (err error) {
	from, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	to, err := bolt.Open(path+".new", 0o600, &bolt.Options{NoSync: true})
	if err == nil {
		err = bolt.Compact(to, from, 1)
		err = errors.Join(err, to.Close())
	}
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

var sources = map[Bucket]types.DataSource{
	Debian: {ID: vulnerability.Debian, Name: "Debian Security Tracker", URL: "https://salsa.debian.org/security-tracker-team/security-tracker"},
	Rocky:  {ID: vulnerability.Rocky, Name: "Rocky Linux updateinfo", URL: "https://download.rockylinux.org/pub/rocky/"},
	Go:     {ID: vulnerability.GHSA, Name: "GitHub Security Advisory Go", URL: "https://github.com/advisories?query=type%3Areviewed+ecosystem%3Ago"},
}

func put(tx *bolt.Tx, advisories []Advisory) error {
	dbc := db.Config{}
	for _, b := range []Bucket{Debian, Rocky, Go} {
		if err := dbc.PutDataSource(tx, string(b), sources[b]); err != nil {
			return err
		}
	}
	for _, a := range advisories {
		detail := types.Advisory{FixedVersion: a.Fixed}
		if a.Bucket == Go {
			detail = types.Advisory{VulnerableVersions: []string{a.Range}, PatchedVersions: []string{a.Fixed}}
		}
		nested := []string{string(a.Bucket)}
		if err := dbc.PutAdvisoryDetail(tx, a.CVE, a.Package, nested, detail); err != nil {
			return err
		}
		published, err := time.Parse(time.DateOnly, a.Date)
		if err != nil {
			return err
		}
		v := types.Vulnerability{Title: a.Title, Severity: a.Severity.String(), PublishedDate: &published, //nolint:staticcheck // as the database still has it
			VendorSeverity: types.VendorSeverity{vulnerability.NVD: a.Severity, vulnerability.GHSA: a.Severity},
			References:     []string{"https://nvd.nist.gov/vuln/detail/" + a.CVE}}
		if err := dbc.PutVulnerability(tx, a.CVE, v); err != nil {
			return err
		}
	}
	for _, a := range advisories {
		if err := dbc.SaveAdvisoryDetails(tx, a.CVE); err != nil {
			return err
		}
	}
	return nil
}

// BuildJava writes a Java database, trivy-java.db and metadata.json, into dir. It
// knows one archive.
func BuildJava(dir string, updated time.Time) error {
	d, err := javadb.New(dir)
	if err != nil {
		return fmt.Errorf("making a Java database: %w", err)
	}
	err = d.Init()
	if err == nil {
		err = d.InsertIndexes([]javatypes.Index{{GroupID: "org.apache.logging.log4j", ArtifactID: "log4j-core", Version: "2.14.1",
			SHA1: make([]byte, 20), ArchiveType: javatypes.JarType}})
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("filling a Java database: %w", err)
	}
	client := javadb.NewMetadata(dir)
	return client.Update(javadb.Metadata{Version: javadb.SchemaVersion, UpdatedAt: updated, NextUpdate: updated.AddDate(100, 0, 0)})
}

// Add packs the database in dir as an OCI artifact, as it is published, and names it.
func Add(w *layout.Writer, ref, dir string) error {
	layerType := dbLayerType
	if ref == JavaRef {
		layerType = javaLayerType
	}
	layer, err := w.Blob(layerType, func(to io.Writer) error {
		return layout.Gzipped(to, func(z io.Writer) error { return tarDir(z, dir) })
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", ref, err)
	}
	desc, err := w.Typed(configType, layer)
	if err != nil {
		return fmt.Errorf("packing %s: %w", ref, err)
	}
	w.Name(layout.Image{Ref: ref}, desc)
	return nil
}

// tarDir writes the files of dir into a tar.
func tarDir(to io.Writer, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(to)
	for _, e := range entries {
		if !slices.Contains([]string{".db", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			err = layout.AddFile(tw, e.Name(), 0o600, info.Size(), f)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return tw.Close()
}
