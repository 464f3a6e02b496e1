package survey

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/scan"
)

// NoDatabaseError says that no vulnerability database is to be had.
type NoDatabaseError struct{ Where string }

func (e *NoDatabaseError) Error() string {
	return fmt.Sprintf("looking for a vulnerability database: %s has none", e.Where)
}

// Carried unpacks the databases that a bundle carries itself; what it does not carry
// is nil.
func Carried(ctx context.Context, blobs scan.Blobs, index ocispec.Index, cacheDir string) (database, java *scan.Database, err error) {
	for _, d := range index.Manifests {
		var into **scan.Database
		var name string
		ref := d.Annotations[ocispec.AnnotationRefName]
		switch ref {
		case scan.DefaultDatabase:
			name, into = manifest.DatabaseVulnerability, &database
		case scan.DefaultJavaDatabase:
			name, into = manifest.DatabaseJava, &java
		default:
			continue
		}
		db, err := scan.UnpackDatabase(ctx, blobs, name, d.Digest, cacheDir)
		if err != nil {
			return nil, nil, err
		}
		db.Reference = ref
		*into = db
	}
	return database, java, nil
}

// FromLayout unpacks the database of an OCI layout: a folder, or a tar of one, such as
// `oras copy --to-oci-layout` and `skopeo copy ... oci-archive:` make. The layout must
// hold one manifest; an absent one is a *NoDatabaseError.
func FromLayout(ctx context.Context, place, name, cacheDir string) (*scan.Database, error) {
	layout, done, err := openLayout(place)
	if err != nil {
		return nil, fmt.Errorf("opening the database %q: %w", place, err)
	}
	defer func() { _ = done() }()
	data, err := fs.ReadFile(layout, ocispec.ImageIndexFile)
	if err != nil {
		return nil, fmt.Errorf("opening the database %q: %w", place, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("reading the index of %q: %w", place, err)
	}
	if len(index.Manifests) != 1 {
		return nil, &NoDatabaseError{Where: fmt.Sprintf("%q with %d manifests", place, len(index.Manifests))}
	}
	return scan.UnpackDatabase(ctx, layoutBlobs{layout}, name, index.Manifests[0].Digest, cacheDir)
}

// openLayout is the layout at place as a file system, and what closes it.
func openLayout(place string) (fs.FS, func() error, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return os.DirFS(place), func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "naru-db-")
	if err != nil {
		return nil, nil, err
	}
	done := func() error { return os.RemoveAll(dir) }
	if err := untar(place, dir); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return os.DirFS(dir), done, nil
}

// untar unpacks the plain files of an OCI layout in a tar.
func untar(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading it as a tar: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) {
			continue
		}
		if err := unpackOne(filepath.Join(dir, filepath.FromSlash(name)), tr); err != nil {
			return err
		}
	}
}

func unpackOne(path string, r io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, r)
	return err
}

// layoutBlobs are the blobs of an OCI layout.
type layoutBlobs struct{ fsys fs.FS }

func (l layoutBlobs) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	f, err := l.fsys.Open(path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()))
	if err != nil {
		return nil, err
	}
	seeker, ok := f.(io.ReadSeekCloser)
	if !ok {
		return nil, errors.Join(fmt.Errorf("opening %s: it does not seek", d), f.Close())
	}
	return seeker, nil
}
