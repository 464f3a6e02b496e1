package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"naru/pkg/archive"
)

// ExtractOptions are those of ExtractLayout.
type ExtractOptions struct {
	Jobs     int
	Progress func(n int64)
}

// OccupiedError says that the folder to extract to has files of something else in the
// place of the bundle's: its images would no longer be found there.
type OccupiedError struct{ Dir, Name string }

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("extracting the bundle: folder %q has a %s of something else", e.Dir, e.Name)
}

// ExtractLayout writes the content of b into dir as an OCI image layout, with the
// bundle's documents and its signatures beside it. Every byte is verified on the way,
// each signature with the trusted keys. Of the documents bundle.json comes first, by which
// the folder is known when it is extracted to again, and the layout's index.json last. It
// writes over nothing else: the error is an *OccupiedError then.
func ExtractLayout(ctx context.Context, b *Bundle, dir string, o ExtractOptions) error {
	if err := free(b, dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return fmt.Errorf("making the layout folder: %w", err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(max(o.Jobs, 1))
	for _, blob := range b.Contents().Blobs {
		group.Go(func() error { return extractBlob(gctx, b, blob, dir, o.Progress) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := extractHead(b, dir); err != nil {
		return err
	}
	if err := extractSignatures(ctx, b, dir); err != nil {
		return err
	}
	for _, e := range b.Contents().Entries {
		if e.Name != ocispec.ImageIndexFile {
			if err := extractEntry(ctx, b, e.Name, dir); err != nil {
				return err
			}
		}
	}
	return extractEntry(ctx, b, ocispec.ImageIndexFile, dir)
}

// free finds files in the place of the bundle's that no extraction of it wrote.
func free(b *Bundle, dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, archive.BundleName))
	switch {
	case err == nil && bytes.Equal(have, b.BundleJSON()):
		return nil
	case err == nil:
		return &OccupiedError{Dir: dir, Name: archive.BundleName}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking at the folder to extract to: %w", err)
	}
	names := []string{archive.ContentsName, archive.SignatureName}
	for _, e := range b.Contents().Entries {
		names = append(names, e.Name)
	}
	for _, name := range names {
		_, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case err == nil:
			return &OccupiedError{Dir: dir, Name: name}
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("looking at the folder to extract to: %w", err)
		}
	}
	return nil
}

// extractHead writes the documents that contents.json does not list: itself, and
// what vouches for it.
func extractHead(b *Bundle, dir string) error {
	contents, err := b.Contents().Encode()
	if err != nil {
		return err
	}
	head := []archive.File{{Name: archive.BundleName, Data: b.BundleJSON()}, {Name: archive.ContentsName, Data: contents}}
	if signature := b.Signature(); len(signature) > 0 {
		head = append(head, archive.File{Name: archive.SignatureName, Data: signature})
	}
	for _, f := range head {
		if err := writeFile(filepath.Join(dir, f.Name), f.Data); err != nil {
			return err
		}
	}
	return nil
}

// extractSignatures writes signatures/ once all of it verified.
func extractSignatures(ctx context.Context, b *Bundle, dir string) error {
	if _, err := b.WithSignatures(ctx); err != nil {
		return err
	}
	for _, name := range b.SignatureFiles() {
		data, err := b.ReadSignatureFile(ctx, name)
		if err != nil {
			return err
		}
		if err := extractFile(name, data, dir); err != nil {
			return err
		}
	}
	return nil
}

func extractEntry(ctx context.Context, b *Bundle, name, dir string) error {
	data, err := b.ReadFile(ctx, name)
	if err != nil {
		return err
	}
	return extractFile(name, data, dir)
}

func extractFile(name string, data []byte, dir string) error {
	target := filepath.Join(dir, filepath.FromSlash(name)) // names are checked by the archive: clean and relative
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("making a folder for %q: %w", name, err)
	}
	return writeFile(target, data)
}

func writeFile(path string, data []byte) error {
	return writeNew(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func extractBlob(ctx context.Context, b *Bundle, blob archive.Blob, dir string, progress func(int64)) error {
	target := filepath.Join(dir, "blobs", "sha256", blob.Digest.Encoded())
	r, err := b.OpenBlob(ctx, blob.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	err = writeNew(target, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("extracting %s: %w", blob.Digest, err)
	}
	if progress != nil {
		progress(blob.Size)
	}
	return nil
}

// writeNew writes a file under a temporary name and renames it into place, or
// leaves nothing.
func writeNew(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".extract.*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(f.Close()), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
