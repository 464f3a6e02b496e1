package scan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/scan"
)

// content are blobs in memory.
type content map[digest.Digest][]byte

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }

func (c content) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := c[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return blob{bytes.NewReader(data)}, nil
}

func (c content) put(data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	c[d] = data
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
}

// database is a vulnerability database that says it is of a schema.
func (c content) database(t *testing.T, schema int) digest.Digest {
	t.Helper()
	var layer bytes.Buffer
	zw := gzip.NewWriter(&layer)
	tw := tar.NewWriter(zw)
	for name, text := range map[string]string{
		"trivy.db":      "database",
		"metadata.json": fmt.Sprintf(`{"Version":%d,"UpdatedAt":"2026-01-01T00:00:00Z"}`, schema),
	} {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	d := c.put(layer.Bytes())
	d.MediaType = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
	data, err := json.Marshal(ocispec.Manifest{Layers: []ocispec.Descriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	return c.put(data).Digest
}

// TestDatabaseSchema holds that a database that the scanner would read as empty is none.
func TestDatabaseSchema(t *testing.T) {
	for schema, good := range map[int]bool{1: false, 2: true, 3: false} {
		c := content{}
		_, err := scan.UnpackDatabase(t.Context(), c, manifest.DatabaseVulnerability, c.database(t, schema), t.TempDir())
		var not *scan.NotDatabaseError
		if good != (err == nil) || !good && !errors.As(err, &not) {
			t.Errorf("schema %d: got %v", schema, err)
		}
	}
}

// TestDatabaseRemoved holds that a database is unpacked again when its file is gone,
// as Trivy does with one that is damaged.
func TestDatabaseRemoved(t *testing.T) {
	c, dir := content{}, t.TempDir()
	d := c.database(t, 2)
	for range 2 {
		db, err := scan.UnpackDatabase(t.Context(), c, manifest.DatabaseVulnerability, d, dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(db.Dir, "trivy.db")); err != nil {
			t.Fatal(err)
		}
	}
}
