package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// volume is an open volume. Once the reader is made it does not change.
type volume struct {
	path string
	file *os.File
	info fs.FileInfo

	doc       volumeDoc
	bundle    []byte // bundle.json
	signature []byte
	contents  []byte // contents.json, of the first volume once read
	head      entryReader
	table     *frame.Table
}

// entry is a file of a volume.
type entry struct {
	name  string
	frame int // that holds the header; the content starts in the next
	size  int64
}

var errNotRegular = errors.New("not a regular file")

// openVolume opens a file and reads volume.json. What is not a volume at all is a
// *NotABundleError, a volume of another version wraps a *manifest.VersionError,
// and one that is broken further on is a *DamagedError.
func openVolume(path string, dec *frame.Decoder) (*volume, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening volume: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &NotABundleError{Path: path, Err: errNotRegular}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening volume: %w", err)
	}
	v := &volume{path: path, file: f}
	if err := v.open(dec); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return v, nil
}

func (v *volume) open(dec *frame.Decoder) error {
	var err error
	if v.info, err = v.file.Stat(); err != nil {
		return fmt.Errorf("opening volume: %w", err)
	}
	if !v.info.Mode().IsRegular() { // another one by now than openVolume looked at
		return &NotABundleError{Path: v.path, Err: errNotRegular}
	}
	v.head = *newEntryReader(io.NewSectionReader(v.file, 0, math.MaxInt64), dec)
	data, err := v.head.read(VolumeName, maxVolumeDoc)
	if err != nil {
		return &NotABundleError{Path: v.path, Err: err}
	}
	v.doc, err = decodeVolumeDoc(data)
	var version *manifest.VersionError
	switch {
	case errors.As(err, &version):
		return fmt.Errorf("opening volume %q: %w", v.path, err)
	case err != nil:
		return v.damaged(VolumeName, err)
	}
	return nil
}

// readHead reads bundle.json and its signature, which are not trusted yet.
func (v *volume) readHead() error {
	var err error
	if v.bundle, err = v.head.read(BundleName, maxBundleDoc); err != nil {
		return v.damaged(BundleName, err)
	}
	if got := digest.FromBytes(v.bundle); got != v.doc.Bundle {
		return &DamagedError{Volume: v.path, Entry: BundleName, Want: v.doc.Bundle, Got: got, Err: ErrDigest}
	}
	if v.signature, err = v.head.read(SignatureName, SignatureReserve); err != nil {
		return v.damaged(SignatureName, err)
	}
	return nil
}

// readContents reads contents.json of the first volume against its digest.
func (v *volume) readContents(want digest.Digest) (*Contents, error) {
	data, err := v.head.read(ContentsName, maxContents)
	if err != nil {
		return nil, v.damaged(ContentsName, err)
	}
	if got := digest.FromBytes(data); got != want {
		return nil, &DamagedError{Volume: v.path, Entry: ContentsName, Want: want, Got: got, Err: ErrDigest}
	}
	v.contents = data
	v.head.buf = nil
	c, err := DecodeContents(data)
	if err != nil {
		return nil, v.damaged(ContentsName, err)
	}
	return c, nil
}

// readTable reads the seek table, of at most limit frames, which are what the volumes
// before have left of those that all may have.
func (v *volume) readTable(limit int) error {
	var err error
	if v.table, err = frame.ReadTable(v.file, v.info.Size(), limit); err != nil {
		return v.damaged("", err)
	}
	return nil
}

func (v *volume) close() error { return v.file.Close() }

func (v *volume) damaged(entry string, err error) error {
	return &DamagedError{Volume: v.path, Entry: entry, Err: err}
}

// frameBytes reads frame i into buf, growing it, and returns its content's size.
func (v *volume) frameBytes(buf []byte, i int) ([]byte, int, error) {
	start, size, content := v.table.Frame(i)
	buf = grow(buf[:0], size)[:size]
	if err := readFullAt(v.file, buf, start); err != nil {
		return nil, 0, err
	}
	return buf, content, nil
}

// header reads the header in frame i, which follows pad bytes of padding.
func (v *volume) header(i, pad int) (name string, size int64, err error) {
	content, err := v.small(i, pad)
	if err != nil {
		return "", 0, err
	}
	return parseTarHeader(content)
}

// small reads raw frame i, that of a header or the end, and cuts its padding off.
func (v *volume) small(i, pad int) ([]byte, error) {
	if _, _, content := v.table.Frame(i); content > tarBlock-1+maxTarHeader {
		return nil, fmt.Errorf("%w: frame %d of %d bytes", ErrHeader, i, content)
	}
	raw, n, err := v.frameBytes(nil, i)
	if err != nil {
		return nil, err
	}
	content, err := frame.RawContent(raw[:0], raw, n)
	if err != nil {
		return nil, err
	}
	return cutPadding(content, pad)
}

// data reads the content of an entry into memory, at most limit bytes.
func (v *volume) data(e entry, limit int64, dec *frame.Decoder) ([]byte, error) {
	if e.size > limit {
		return nil, fmt.Errorf("%d bytes: %w", e.size, ErrTooLarge)
	}
	var out, buf []byte
	for i := range frame.Count(e.size) {
		raw, n, err := v.frameBytes(buf, e.frame+1+int(i))
		if err != nil {
			return nil, err
		}
		if out, err = dec.Decode(grow(out, n), raw, n); err != nil {
			return nil, err
		}
		buf = raw
	}
	return out, nil
}

// framesOf checks that the frames from first on, before end, are as many and as
// large as size bytes of content take.
func (v *volume) framesOf(first, end int, size int64) error {
	n := frame.Count(size)
	if size < 0 || n > int64(end-first) {
		return fmt.Errorf("%w: %d bytes in %d frames", frame.ErrTable, size, end-first)
	}
	for i := range n {
		if _, _, content := v.table.Frame(first + int(i)); content != frame.ContentSize(size, i) {
			return fmt.Errorf("%w: frame %d holds %d bytes in place of %d", frame.ErrTable, first+int(i), content, frame.ContentSize(size, i))
		}
	}
	return nil
}
