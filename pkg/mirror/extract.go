package mirror

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"naru/pkg/mirror/store"
)

// maxMember bounds one extracted member, in bytes, and maxArchive what is
// unpacked on the way to the last one: a bomb ends as an error.
const (
	maxMember  = 8 << 30
	maxArchive = 64 << 30
)

// Errors of archives.
var (
	ErrUnknownArchive = errors.New("not a tar, tar.gz, tar.zst, tar.bz2 or zip archive")
	ErrNoMember       = errors.New("no such regular file in the archive")
	ErrLargeMember    = fmt.Errorf("larger than %d bytes", int64(maxMember))
)

// extract stores the members of f, whose archive is in the store, and returns
// them with their digests.
func (m *Mirror) extract(ctx context.Context, f File) ([]Member, error) {
	r, err := m.store.OpenBlob(ctx, f.Digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	x := &extraction{m: m, file: f, members: append([]Member(nil), f.Members...), left: len(f.Members), done: map[int]bool{}}
	head := make([]byte, 6)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head[:n], []byte("PK\x03\x04")) {
		err = x.zip(ctx, r)
	} else {
		err = x.tar(ctx, r, head[:n])
	}
	if err != nil {
		return nil, err
	}
	for i, member := range x.members {
		if member.Digest == "" || !x.done[i] {
			return nil, fmt.Errorf("looking for %q: %w", member.Path, ErrNoMember)
		}
	}
	return x.members, nil
}

// extraction is one pass over an archive.
type extraction struct {
	m       *Mirror
	file    File
	members []Member
	done    map[int]bool
	left    int
}

// tar reads a tar archive, compressed or not, up to the last member wanted.
func (x *extraction) tar(ctx context.Context, r io.Reader, head []byte) error {
	plain, closeReader, err := decompress(r, head)
	if err != nil {
		return err
	}
	defer closeReader()
	tr := tar.NewReader(io.LimitReader(plain, maxArchive))
	for x.left > 0 {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, tar.ErrHeader) && len(x.done) == 0 {
			return ErrUnknownArchive
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if header.Typeflag == tar.TypeReg {
			if err := x.offer(ctx, header.Name, header.Size, tr); err != nil {
				return err
			}
		}
	}
	return nil
}

// zip reads a zip archive.
func (x *extraction) zip(ctx context.Context, r io.ReadSeeker) error {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	at, ok := r.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("reading a zip archive: the store gives no random access: %w", ErrUnknownArchive)
	}
	zr, err := zip.NewReader(at, size)
	if err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	for _, entry := range zr.File {
		if !entry.Mode().IsRegular() || !x.wants(entry.Name) {
			continue
		}
		body, err := entry.Open()
		if err != nil {
			return fmt.Errorf("reading %q: %w", entry.Name, err)
		}
		err = x.offer(ctx, entry.Name, int64(entry.UncompressedSize64), body)
		_ = body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *extraction) wants(name string) bool {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for i, member := range x.members {
		if member.Path == name && !x.done[i] {
			return true
		}
	}
	return false
}

// offer stores an entry of the archive when it is a member that is wanted, under
// every name that it is wanted under. The first entry of a name counts. size, in
// bytes, is what the archive says; an entry that is too large by that is not read.
func (x *extraction) offer(ctx context.Context, name string, size int64, r io.Reader) error {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	first := -1
	for i := range x.members {
		member := &x.members[i]
		if member.Path != clean || x.done[i] {
			continue
		}
		if first >= 0 { // another name for what was just stored
			if got := x.members[first].Digest; member.Digest != "" && member.Digest != got {
				return fmt.Errorf("extracting %q: %w", member.Path, &MismatchError{Source: x.file.URL + "!" + member.Path, Want: member.Digest, Got: got})
			}
			member.Digest, member.Size = x.members[first].Digest, x.members[first].Size
			x.finish(i)
			continue
		}
		first = i
		if size < 0 || size > maxMember {
			return fmt.Errorf("extracting %q: %w", member.Path, ErrLargeMember)
		}
		limited := &io.LimitedReader{R: r, N: maxMember + 1}
		expected := store.Expected{Digest: member.Digest, Size: -1, Source: x.file.URL + "!" + member.Path}
		d, size, err := x.m.store.Ingest(ctx, expected, func(context.Context, int64) (io.ReadCloser, int64, error) {
			return io.NopCloser(limited), 0, nil
		}, func(int64) {})
		if err != nil {
			return fmt.Errorf("extracting %q: %w", member.Path, err)
		}
		if limited.N <= 0 {
			return fmt.Errorf("extracting %q: %w", member.Path, ErrLargeMember)
		}
		member.Digest, member.Size = d, size
		x.finish(i)
	}
	return nil
}

func (x *extraction) finish(i int) {
	x.done[i] = true
	x.left--
}

// decompress chooses a decompressor by the first bytes.
func decompress(r io.Reader, head []byte) (io.Reader, func(), error) {
	br := bufio.NewReaderSize(r, 1<<20)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		gz, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, fmt.Errorf("reading gzip: %w", err)
		}
		return gz, func() { _ = gz.Close() }, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		zr, err := zstd.NewReader(br, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, fmt.Errorf("reading zstd: %w", err)
		}
		return zr, zr.Close, nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(br), func() {}, nil
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return nil, nil, fmt.Errorf("reading xz: %w", ErrUnknownArchive)
	}
	return br, func() {}, nil
}
