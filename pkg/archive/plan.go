package archive

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// SignatureReserve is the room, in bytes, that a layout keeps for the signature of
// bundle.json, so that it does not depend on the signature's length.
const SignatureReserve = 32 << 10

const (
	maxVolumeDoc = 4 << 10
	// maxBundleDoc bounds bundle.json to one frame.
	maxBundleDoc = frame.MaxContent
	// signatureStep is what the size of files in signatures/ is rounded up to when
	// volumes are laid out, for the same reason.
	signatureStep = 4 << 10
)

// PackBlob is a blob to pack.
type PackBlob struct {
	Blob
	// EncodedSize is the length of the stored form when Encoding is zstd, as in
	// EncodeResult; it is ignored for raw blobs.
	EncodedSize int64
}

// Input is what goes into a bundle.
type Input struct {
	Bundle []byte // bundle.json
	// Signature is bundle.json.sigstore.json, at most SignatureReserve bytes; empty
	// for a bundle that is not signed.
	Signature []byte
	Contents  []byte     // contents.json, made by NewContents of Files and Blobs
	Files     []File     // metadata files, with lock.yaml and index.json
	Blobs     []PackBlob // in the order they are packed in
	// Signatures are the files below signatures/, names included; they are not part
	// of Contents and are packed sorted by name.
	Signatures []File
}

// PlanOptions are the options of NewPlan.
type PlanOptions struct {
	// VolumeSize is the most bytes a volume may have; 0 asks for one volume.
	VolumeSize int64
	// Prefix is what the names of the volume files start with.
	Prefix string
	// Frames returns the sizes of the frames of a blob's stored form, see
	// StoredFrames. It is called for the zstd blobs that are cut in two by the end
	// of a volume, and must be set when VolumeSize is and there is a zstd blob of
	// more than one frame.
	Frames func(Blob) ([]int64, error)
}

// Plan is the layout of a bundle, down to the byte.
type Plan struct {
	Volumes []VolumePlan

	volumes []*volumeLayout
}

// VolumePlan is a volume to be written.
type VolumePlan struct {
	Name string
	Size int64 // bytes
}

// TotalSize is the size of all volumes in bytes.
func (p *Plan) TotalSize() int64 {
	var total int64
	for _, v := range p.Volumes {
		total += v.Size
	}
	return total
}

// NewPlan checks that the parts of in agree and lays out the volumes. The layout
// depends on in and opts alone, and not on the signature. Volumes too small to hold
// what they must are a *VolumeSizeError.
func NewPlan(in Input, opts PlanOptions) (*Plan, error) {
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("planning volumes: %w", err)
	}
	if opts.Prefix == "" || strings.ContainsAny(opts.Prefix, "/\\") || checkName(opts.Prefix+VolumeSuffix) != nil {
		return nil, fmt.Errorf("planning volumes: prefix %q: %w", opts.Prefix, ErrName)
	}
	l := &layouter{in: in, opts: opts}
	if err := l.run(); err != nil {
		return nil, fmt.Errorf("planning volumes: %w", err)
	}
	p := &Plan{volumes: l.volumes}
	for i, v := range l.volumes {
		size, err := v.finish(digest.FromBytes(in.Bundle), i+1, len(l.volumes))
		if err != nil {
			return nil, fmt.Errorf("planning volumes: %w", err)
		}
		p.Volumes = append(p.Volumes, VolumePlan{Name: volumeName(opts.Prefix, i+1, len(l.volumes)), Size: size})
	}
	return p, nil
}

// check compares the documents with each other and with what is to be packed.
func (in *Input) check() error {
	if len(in.Bundle) > maxBundleDoc {
		return fmt.Errorf("%s of %d bytes: %w", BundleName, len(in.Bundle), ErrTooLarge)
	}
	if len(in.Signature) > SignatureReserve {
		return fmt.Errorf("%s of %d bytes: %w", SignatureName, len(in.Signature), ErrTooLarge)
	}
	bundle, err := manifest.DecodeBundle(in.Bundle)
	if err != nil {
		return err
	}
	if got := digest.FromBytes(in.Contents); got != bundle.Contents {
		return fmt.Errorf("%w: %s has %s for %s, which is %s", ErrDigest, BundleName, bundle.Contents, ContentsName, got)
	}
	contents, err := DecodeContents(in.Contents)
	if err != nil {
		return err
	}
	if err := contents.checkAgainst(bundle); err != nil {
		return err
	}
	blobs := make([]Blob, len(in.Blobs))
	for i, b := range in.Blobs {
		blobs[i] = b.Blob
		if n := frame.Count(b.Size); b.Encoding == EncodingZstd &&
			(b.EncodedSize <= frame.TableSize(n) || b.EncodedSize > frame.TableSize(n)+frame.RawTotal(b.Size)) {
			return fmt.Errorf("blob %s of %d bytes encoded in %d", b.Digest, b.Size, b.EncodedSize)
		}
	}
	same := NewContents(in.Files, blobs)
	if !slices.Equal(same.Entries, contents.Entries) || !slices.Equal(same.Blobs, contents.Blobs) {
		return fmt.Errorf("%s does not list what is to be packed", ContentsName)
	}
	return in.checkSignatures()
}

func (in *Input) checkSignatures() error {
	in.Signatures = slices.Clone(in.Signatures)
	slices.SortFunc(in.Signatures, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	names := make([]string, len(in.Signatures))
	var sum signatureSum
	for i, f := range in.Signatures {
		names[i] = f.Name
		if err := checkSignatureName(f.Name); err != nil {
			return err
		}
		if err := sum.add(int64(len(f.Data))); err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
	}
	return checkTree(names)
}

// signatureSum counts files in signatures/ against their bounds.
type signatureSum struct {
	files int
	size  int64
}

func (s *signatureSum) add(size int64) error {
	s.files++
	s.size += size
	if size > maxSignature || s.size > maxSignatures || s.files > maxSignatureFiles {
		return fmt.Errorf("%d bytes, %d together in %d files in %s: %w", size, s.size, s.files, signaturePrefix, ErrTooLarge)
	}
	return nil
}

// part is a run of frames of a blob's stored form that goes into one entry.
type part struct {
	PackBlob
	first, count int64 // frames
	start        int64 // of the first frame in the stored form, in bytes
	encoded      int64 // length of the frames in bytes
	number       int   // of the part, from 1
	whole        *int  // number of parts the blob is in, known at the end
}

// item is an entry to be written.
type item struct {
	name    string
	size    int64    // of the content, in bytes
	data    []byte   // content of a metadata file
	encoded [][]byte // its compressed frames, or nil for raw ones
	part    *part    // or the blob's part
	frame   int      // that holds the header
}

// encodedSize is the length of the frames of the item's content in bytes.
func (it *item) encodedSize() int64 {
	if it.part != nil {
		return it.part.encoded
	}
	if it.encoded == nil {
		return frame.RawTotal(it.size)
	}
	var n int64
	for _, f := range it.encoded {
		n += int64(len(f))
	}
	return n
}

// fileItem makes the item of a metadata file, compressed by enc where that saves
// enough; enc may be nil.
func fileItem(f File, enc *frame.Encoder) *item {
	it := &item{name: f.Name, size: int64(len(f.Data)), data: f.Data}
	if enc == nil || it.size < minEncode || Sniff(f.Data) {
		return it
	}
	var frames [][]byte
	var total int64
	for i := range frame.Count(it.size) {
		start := i * frame.MaxContent
		frames = append(frames, enc.Append(nil, f.Data[start:start+int64(frame.ContentSize(it.size, i))]))
		total += int64(len(frames[i]))
	}
	if worthwhile(total, it.size) {
		it.encoded = frames
	}
	return it
}

// volumeLayout is a volume being laid out. The fields count an upper bound of what
// it takes so far; see size.
type volumeLayout struct {
	items  []*item
	bytes  int64 // frames
	frames int64
	toc    int64 // content of toc.json
}

// cost of an entry in a volume.
type cost struct{ bytes, frames, toc int64 }

// entryCost bounds what an entry takes whose content is encoded bytes long. The
// header is counted with the most padding that can be before it.
func entryCost(name string, size, encoded int64) (cost, error) {
	head, err := tarHeader(name, size)
	if err != nil {
		return cost{}, err
	}
	line, err := manifest.EncodeJSON(tocEntry{Name: name, Frame: frame.MaxFrames})
	if err != nil {
		return cost{}, err
	}
	return cost{
		bytes:  int64(frame.RawSize(tarBlock-1+len(head))) + encoded,
		frames: 1 + frame.Count(size),
		toc:    int64(len(line)),
	}, nil
}

func (v *volumeLayout) add(it *item, c cost) {
	v.items = append(v.items, it)
	v.bytes += c.bytes
	v.frames += c.frames
	v.toc += c.toc
}

// size bounds the volume's size in bytes, and the number of its frames, with c
// added and the end of the volume behind it.
func (v *volumeLayout) size(c cost) (bytes, frames int64) {
	const tocFrame = 128 // {"apiVersion":...,"entries":[]}
	toc := v.toc + c.toc + tocFrame
	frames = v.frames + c.frames + 1 + frame.Count(toc) + 1
	bytes = v.bytes + c.bytes +
		int64(frame.RawSize(tarBlock-1+maxTarHeader)) + frame.RawTotal(toc) +
		int64(frame.RawSize(tarBlock-1+tarEnd)) + frame.TableSize(frames)
	return bytes, frames
}

// finish numbers the frames, adds the documents that are known only now and returns
// the exact size of the volume.
func (v *volumeLayout) finish(bundle digest.Digest, number, count int) (int64, error) {
	next := 0
	toc := tocDoc{APIVersion: manifest.APIVersion, Kind: kindTOC, Entries: make([]tocEntry, len(v.items))}
	for i, it := range v.items {
		if it.part != nil {
			it.name = chunkName(it.part.Digest, it.part.number, *it.part.whole)
		}
		it.frame = next
		toc.Entries[i] = tocEntry{Name: it.name, Frame: next}
		next += 1 + int(frame.Count(it.size))
	}
	doc, err := manifest.EncodeJSON(volumeDoc{
		APIVersion: manifest.APIVersion, Kind: manifest.KindVolume,
		Bundle: bundle, Number: number, Count: count, TOC: next,
	})
	if err != nil {
		return 0, err
	}
	v.items[0].data, v.items[0].size = doc, int64(len(doc))
	list, err := manifest.EncodeJSON(toc)
	if err != nil {
		return 0, err
	}
	v.items = append(v.items, &item{name: TOCName, data: list, size: int64(len(list)), frame: next})
	return v.exactSize()
}

func (v *volumeLayout) exactSize() (int64, error) {
	var bytes, frames int64
	pad := 0
	for _, it := range v.items {
		head, err := tarHeader(it.name, it.size)
		if err != nil {
			return 0, err
		}
		bytes += int64(frame.RawSize(pad+len(head))) + it.encodedSize()
		frames += 1 + frame.Count(it.size)
		pad = padding(it.size)
	}
	if frames >= frame.MaxFrames {
		return 0, errors.New("too many frames in a volume")
	}
	return bytes + int64(frame.RawSize(pad+tarEnd)) + frame.TableSize(frames+1), nil
}
