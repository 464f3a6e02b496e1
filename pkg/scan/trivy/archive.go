//go:build goexperiment.jsonv2

package trivy

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"path"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// closers reads from one thing and closes several.
type closers struct {
	io.Reader
	list []func() error
}

func (c *closers) Close() error {
	var errs []error
	for _, f := range c.list {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// decompressed reads what r holds, decompressed if it is gzip, zstd, xz or bzip2 by
// its first bytes. Closing it closes r; on an error r is closed.
func decompressed(r io.ReadCloser) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, r.Close())
	}
	out := &closers{Reader: br, list: []func() error{r.Close}}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		out.Reader = zr
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		zr, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		out.Reader = zr
		out.list = append(out.list, func() error { zr.Close(); return nil })
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		zr, err := xz.NewReader(br)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		out.Reader = zr
	case bytes.HasPrefix(head, []byte("BZh")):
		out.Reader = bzip2.NewReader(br)
	}
	return out, nil
}

// opensAsTar gives what r, of size bytes, holds as a tar when it is an archive: a
// tar, compressed or not, or a zip. For anything else it is nil, and r is at its
// start; r stays open unless an archive is returned, which closes it.
func opensAsTar(r io.ReadSeekCloser, size int64) (io.ReadCloser, error) {
	var magic [4]byte
	n, err := io.ReadFull(r, magic[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if bytes.Equal(magic[:n], []byte("PK\x03\x04")) {
		return zipAsTar(r, size)
	}
	isTar := holdsTar(r)
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if !isTar {
		return nil, nil
	}
	return decompressed(r)
}

// holdsTar tells whether the first header of a tar is at the start of r, after
// decompression. What cannot be decompressed holds none.
func holdsTar(r io.Reader) bool {
	plain, err := decompressed(io.NopCloser(r))
	if err != nil {
		return false
	}
	defer func() { _ = plain.Close() }()
	_, err = tar.NewReader(plain).Next()
	return err == nil
}

// zipAsTar turns a zip into a tar on the way; nil when it is none after all.
func zipAsTar(r io.ReadSeekCloser, size int64) (io.ReadCloser, error) {
	zr, err := zip.NewReader(&readerAt{r: r}, size)
	if err != nil {
		_, err := r.Seek(0, io.SeekStart)
		return nil, err
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(copyZip(pw, zr)) }()
	// Closing the pipe first ends the copy, so that nobody reads from r after.
	return &closers{Reader: pr, list: []func() error{pr.Close, r.Close}}, nil
}

func copyZip(w io.Writer, zr *zip.Reader) error {
	tw := tar.NewWriter(w)
	for _, f := range zr.File {
		if !f.Mode().IsRegular() {
			continue
		}
		h := &tar.Header{Name: path.Clean(f.Name), Mode: int64(f.Mode().Perm()), Size: int64(f.UncompressedSize64), Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if err := copyZipFile(tw, f); err != nil {
			return err
		}
	}
	return tw.Close()
}

func copyZipFile(w io.Writer, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r) //nolint:gosec // w is an entry of a tar and takes no more than its header says
	return errors.Join(err, r.Close())
}

// readerAt is random access over a reader that seeks, for one goroutine.
type readerAt struct{ r io.ReadSeeker }

func (a *readerAt) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := a.r.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(a.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
