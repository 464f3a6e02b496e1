package scan

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

// Where the databases are published.
const (
	DefaultDatabase     = "ghcr.io/aquasecurity/trivy-db:2"
	DefaultJavaDatabase = "ghcr.io/aquasecurity/trivy-java-db:1"
)

// Media types of the layers of the databases.
const (
	databaseLayer     = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
	javaDatabaseLayer = "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip"
)

// schemas are the versions of the databases that the scanner reads. In one of another
// it would find nothing, and say so.
var schemas = map[string]int{manifest.DatabaseVulnerability: 2, manifest.DatabaseJava: 1}

// maxDatabase bounds what a database may unpack to, in bytes.
const maxDatabase = 16 << 30

// Database is one that lies unpacked on the disk.
type Database struct {
	manifest.ScanDatabase
	// Dir holds its files: trivy.db, or trivy-java.db, and metadata.json.
	Dir string
	// NextUpdate is when its maker promises a newer one.
	NextUpdate time.Time
}

// NotDatabaseError says that an OCI artifact is not the database it should be.
type NotDatabaseError struct {
	Digest digest.Digest
	Reason string
}

func (e *NotDatabaseError) Error() string {
	return fmt.Sprintf("reading the database %s: %s", e.Digest, e.Reason)
}

// UnpackDatabase unpacks the database name (manifest.DatabaseVulnerability or
// DatabaseJava) with the OCI manifest d out of blobs, into a folder of cacheDir
// named after the digest, unless it is there. The layer is hashed on the way. Errors:
// *NotDatabaseError, fs.ErrNotExist where blobs lack it.
func UnpackDatabase(ctx context.Context, blobs Blobs, name string, d digest.Digest, cacheDir string) (*Database, error) {
	dir := filepath.Join(cacheDir, "db", d.Encoded())
	if err := unpackOnce(ctx, blobs, name, d, dir); err != nil {
		return nil, err
	}
	meta, err := readMetadata(dir)
	if want := schemas[name]; err == nil && meta.Version != want {
		err = fmt.Errorf("its schema is %d, the scanner reads %d", meta.Version, want)
	}
	if err != nil {
		return nil, &NotDatabaseError{Digest: d, Reason: err.Error()}
	}
	return &Database{
		ScanDatabase: manifest.ScanDatabase{Name: name, Digest: d, Updated: meta.UpdatedAt.UTC().Format(time.RFC3339)},
		Dir:          dir, NextUpdate: meta.NextUpdate,
	}, nil
}

// metadata is metadata.json of a database.
type metadata struct {
	Version    int
	NextUpdate time.Time
	UpdatedAt  time.Time
}

func readMetadata(dir string) (*metadata, error) {
	data, err := os.ReadFile(filepath.Join(dir, "metadata.json"))
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("metadata.json: %w", err)
	}
	if m.UpdatedAt.IsZero() {
		return nil, errors.New("metadata.json has no date")
	}
	return &m, nil
}

// IsDatabaseLayer tells layers that hold a database of the scanner.
func IsDatabaseLayer(mediaType string) bool {
	return mediaType == databaseLayer || mediaType == javaDatabaseLayer
}

func unpackOnce(ctx context.Context, blobs Blobs, name string, d digest.Digest, dir string) error {
	_, there := os.Stat(dir) // before looking into it: another process may be about to rename
	if whole(dir, name) {
		return nil
	}
	// What is left of one that Trivy found damaged and removed is in the way.
	if there == nil {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("unpacking the database: %w", err)
		}
	}
	layer, err := databaseBlob(ctx, blobs, name, d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("unpacking the database: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "tmp-")
	if err != nil {
		return fmt.Errorf("unpacking the database: %w", err)
	}
	if err := unpackLayer(ctx, blobs, layer, tmp); err != nil {
		return errors.Join(fmt.Errorf("unpacking the database %s: %w", d, err), os.RemoveAll(tmp))
	}
	err = os.Rename(tmp, dir)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return os.RemoveAll(tmp)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("unpacking the database: %w", err), os.RemoveAll(tmp))
	}
	return nil
}

// whole tells whether a database lies unpacked in dir.
func whole(dir, name string) bool {
	file := "trivy.db"
	if name == manifest.DatabaseJava {
		file = "trivy-java.db"
	}
	info, err := os.Stat(filepath.Join(dir, file))
	return err == nil && info.Size() > 0
}

// databaseBlob finds the layer of a database's manifest.
func databaseBlob(ctx context.Context, blobs Blobs, name string, d digest.Digest) (ocispec.Descriptor, error) {
	data, err := readBlob(ctx, blobs, d)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading the database %s: %w", d, err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return ocispec.Descriptor{}, &NotDatabaseError{Digest: d, Reason: err.Error()}
	}
	want := databaseLayer
	if name == manifest.DatabaseJava {
		want = javaDatabaseLayer
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != want {
		return ocispec.Descriptor{}, &NotDatabaseError{Digest: d, Reason: fmt.Sprintf("want one layer of type %q", want)}
	}
	return m.Layers[0], nil
}

// readBlob reads a manifest against its digest.
func readBlob(ctx context.Context, blobs Blobs, d digest.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	blob, err := blobs.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = blob.Close() }()
	data, err := io.ReadAll(io.LimitReader(blob, 4<<20))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(data); got != d {
		return nil, fmt.Errorf("digest is %s, want %s", got, d)
	}
	return data, nil
}

// unpackLayer unpacks the plain files of a layer into dir and checks its digest.
func unpackLayer(ctx context.Context, blobs Blobs, layer ocispec.Descriptor, dir string) error {
	blob, err := blobs.OpenBlob(ctx, layer.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = blob.Close() }()
	verifier := layer.Digest.Verifier()
	hashed := io.TeeReader(blob, verifier)
	zr, err := gzip.NewReader(hashed)
	if err != nil {
		return err
	}
	if err := unpackTar(zr, dir); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return err
	}
	if !verifier.Verified() {
		return fmt.Errorf("layer %s is damaged", layer.Digest)
	}
	return nil
}

func unpackTar(r io.Reader, dir string) error {
	tr := tar.NewReader(io.LimitReader(r, maxDatabase))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Base(filepath.Clean(h.Name))
		if h.Typeflag != tar.TypeReg || name == "." || name == ".." || name == string(filepath.Separator) {
			continue
		}
		if err := writeFile(filepath.Join(dir, name), tr); err != nil {
			return err
		}
	}
}

func writeFile(path string, r io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync() // the folder gets its name after, and is then taken for whole
}
