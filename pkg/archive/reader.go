package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// decoders is how many frames a reader decodes at a time.
const decoders = 4

// Reader is an open bundle. It is safe for concurrent use.
type Reader struct {
	volumes  []*volume
	dec      *frame.Decoder
	id       digest.Digest
	bundle   *manifest.Bundle
	contents *Contents
	index    ocispec.Index

	layout   atomic.Pointer[layout]
	scanning sync.Mutex
	scanErr  error                          // of a scan that ended, guarded by scanning
	verified map[digest.Digest]*atomic.Bool // the keys are fixed
	small    sync.Pool                      // *[]byte, for units of raw blobs
	large    sync.Pool                      // *[]byte, for frames

	// life is what the runs of hashing obey: it ends when the reader is closed.
	life  context.Context
	end   context.CancelFunc
	runs  sync.WaitGroup
	turns chan struct{} // taken by those runs that hash a large blob

	mu      sync.Mutex
	hashing map[digest.Digest]*hashRun
}

// layout says where things lie. It comes from the tables of contents, or from a
// scan of the volumes when those are wrong.
type layout struct {
	entries [][]entry // by volume
	blobs   map[digest.Digest]*location
	scanned bool
}

// VolumeInfo describes an open volume.
type VolumeInfo struct {
	Path   string
	Number int // from 1
	Size   int64
	// Info is what the open file said of itself, for records that tell later
	// whether it is still the same.
	Info fs.FileInfo
}

// newReader reads what the signature of the volumes covers.
func newReader(ctx context.Context, volumes []*volume, dec *frame.Decoder) (*Reader, error) {
	first := volumes[0]
	r := &Reader{volumes: volumes, dec: dec, id: first.doc.Bundle, turns: make(chan struct{}, decoders), hashing: map[digest.Digest]*hashRun{}}
	r.life, r.end = context.WithCancel(context.WithoutCancel(ctx))
	r.small.New = func() any { b := make([]byte, 0, frame.RawBlockStart(unitBlocks)+frame.BlockSize); return &b }
	r.large.New = func() any { b := make([]byte, 0, frame.MaxSize); return &b }
	var err error
	if r.bundle, err = manifest.DecodeBundle(first.bundle); err != nil {
		return nil, first.damaged(BundleName, err)
	}
	if r.contents, err = first.readContents(r.bundle.Contents); err != nil {
		return nil, err
	}
	if err := r.contents.checkAgainst(r.bundle); err != nil {
		return nil, first.damaged(ContentsName, err)
	}
	r.verified = make(map[digest.Digest]*atomic.Bool, len(r.contents.Blobs))
	for _, b := range r.contents.Blobs {
		r.verified[b.Digest] = new(atomic.Bool)
	}
	limit := r.frameLimit()
	for _, v := range volumes {
		if err := v.readTable(limit); err != nil {
			return nil, err
		}
		limit -= v.table.Len()
	}
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	data, err := r.ReadFile(ctx, IndexName)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &r.index); err != nil {
		return nil, first.damaged(IndexName, err)
	}
	return r, nil
}

// frameLimit bounds the frames of all volumes together by what is signed.
func (r *Reader) frameLimit() int {
	n := int64(maxExtraFrames)
	for _, e := range r.contents.Entries {
		n += 1 + frame.Count(e.Size)
	}
	for _, b := range r.contents.Blobs {
		n += 1 + frame.Count(b.Size)
	}
	return int(min(n, math.MaxInt32))
}

// tocLimit bounds toc.json in bytes by what is signed.
func (r *Reader) tocLimit() int64 {
	const line, others = maxName + 64, 8 << 10
	return int64(len(r.contents.Entries)+len(r.contents.Blobs)+others) * line
}

// locate finds where things lie: by the tables of contents if they are right.
func (r *Reader) locate(ctx context.Context) error {
	l := &layout{entries: make([][]entry, len(r.volumes))}
	limit := r.tocLimit()
	for i, v := range r.volumes {
		var err error
		if l.entries[i], err = v.toc(limit, r.dec); err != nil {
			return r.scan(ctx)
		}
	}
	var problems []error
	if l.blobs, problems = match(r.contents, r.volumes, l.entries); len(problems) > 0 {
		return r.scan(ctx)
	}
	r.layout.Store(l)
	return nil
}

// scan finds where things lie without the tables of contents, once: what came of it
// is kept, unless it did not end because ctx did.
func (r *Reader) scan(ctx context.Context) error {
	r.scanning.Lock()
	defer r.scanning.Unlock()
	if l := r.layout.Load(); r.scanErr != nil || l != nil && l.scanned {
		return r.scanErr
	}
	l, problems := r.scanAll(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.scanErr = errors.Join(problems...); r.scanErr == nil {
		r.layout.Store(l)
	}
	return r.scanErr
}

// scanned keeps the layout of a scan that found nothing wrong.
func (r *Reader) scanned(l *layout) {
	r.scanning.Lock()
	defer r.scanning.Unlock()
	r.layout.Store(l)
	r.scanErr = nil
}

// scanAll scans all volumes and collects what is wrong with them.
func (r *Reader) scanAll(ctx context.Context) (*layout, []error) {
	l := &layout{entries: make([][]entry, len(r.volumes)), scanned: true}
	var problems, differences []error
	for i, v := range r.volumes {
		var err error
		if l.entries[i], err = v.scan(ctx); err != nil {
			problems = append(problems, err)
		}
	}
	l.blobs, differences = match(r.contents, r.volumes, l.entries)
	if len(problems) > 0 {
		// What a volume that cannot be scanned lacks follows from that.
		return l, problems
	}
	return l, differences
}

// BundleDigest is the digest of bundle.json, the bundle's identity.
func (r *Reader) BundleDigest() digest.Digest { return r.id }

// Bundle is bundle.json. It is shared: do not change it.
func (r *Reader) Bundle() *manifest.Bundle { return r.bundle }

// BundleJSON is bundle.json as it was signed.
func (r *Reader) BundleJSON() []byte { return slices.Clone(r.volumes[0].bundle) }

// Signature is bundle.json.sigstore.json, empty in a bundle that is not signed.
func (r *Reader) Signature() []byte { return slices.Clone(r.volumes[0].signature) }

// Contents is contents.json. It is shared: do not change it.
func (r *Reader) Contents() *Contents { return r.contents }

// Index is index.json. It is shared: do not change it.
func (r *Reader) Index() ocispec.Index { return r.index }

// Volumes describes the volumes in order.
func (r *Reader) Volumes() []VolumeInfo {
	infos := make([]VolumeInfo, len(r.volumes))
	for i, v := range r.volumes {
		infos[i] = VolumeInfo{Path: v.path, Number: v.doc.Number, Size: v.info.Size(), Info: v.info}
	}
	return infos
}

// Close closes the volumes. Blobs still open fail from then on.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.runs.Wait()
	r.dec.Close()
	return errors.Join(closeAll(r.volumes)...)
}

// Verified reports whether a blob's content was hashed, or said to have been.
func (r *Reader) Verified(d digest.Digest) bool {
	v, ok := r.verified[d]
	return ok && v.Load()
}

// MarkVerifiedUnsafe takes the caller's word that the content of these blobs was
// hashed and that the volumes have not changed since. Ranges of them are then read
// without hashing; a read from start to end is hashed still.
func (r *Reader) MarkVerifiedUnsafe(ds ...digest.Digest) {
	for _, d := range ds {
		if v, ok := r.verified[d]; ok {
			v.Store(true)
		}
	}
}

// ReadFile returns a metadata file whose digest was compared; its error wraps
// fs.ErrNotExist where contents.json does not list the name. It is the caller's.
func (r *Reader) ReadFile(ctx context.Context, name string) ([]byte, error) {
	switch name {
	case BundleName:
		return r.BundleJSON(), nil
	case SignatureName:
		return r.Signature(), nil
	case ContentsName:
		return slices.Clone(r.volumes[0].contents), nil
	}
	want, ok := r.contents.entry(name)
	if !ok {
		return nil, fmt.Errorf("reading %q: %w", name, fs.ErrNotExist)
	}
	e, err := r.place(ctx, 0, name)
	if err != nil {
		return nil, err
	}
	return r.file(r.volumes[0], e, want)
}

// file reads a metadata file and compares its digest.
func (r *Reader) file(v *volume, e entry, want Entry) ([]byte, error) {
	data, err := v.data(e, min(want.Size, maxFile), r.dec)
	if err != nil {
		return nil, v.damaged(want.Name, err)
	}
	if got := digest.FromBytes(data); got != want.Digest {
		return nil, &DamagedError{Volume: v.path, Entry: want.Name, Want: want.Digest, Got: got, Err: ErrDigest}
	}
	return data, nil
}

// SignatureFiles are the names of the files in signatures/, sorted. The signature
// of bundle.json does not cover them.
func (r *Reader) SignatureFiles() []string {
	l := r.layout.Load()
	var names []string
	for _, e := range l.entries[len(l.entries)-1] {
		if strings.HasPrefix(e.name, signaturePrefix) {
			names = append(names, e.name)
		}
	}
	return names
}

// ReadSignatureFile returns a file in signatures/. The signature of bundle.json
// does not cover it: the caller verifies it.
func (r *Reader) ReadSignatureFile(ctx context.Context, name string) ([]byte, error) {
	last := len(r.volumes) - 1
	held := func(e entry) bool { return e.name == name }
	if !strings.HasPrefix(name, signaturePrefix) || !slices.ContainsFunc(r.layout.Load().entries[last], held) {
		return nil, fmt.Errorf("reading %q: %w", name, fs.ErrNotExist)
	}
	e, err := r.place(ctx, last, name)
	if err != nil {
		return nil, err
	}
	data, err := r.volumes[last].data(e, maxSignature, r.dec)
	if err != nil {
		return nil, r.volumes[last].damaged(name, err)
	}
	return data, nil
}

// place finds an entry by name and checks its header.
func (r *Reader) place(ctx context.Context, vol int, name string) (entry, error) {
	find := func() (entry, error) {
		for _, e := range r.layout.Load().entries[vol] {
			if e.name == name {
				return e, r.volumes[vol].checkHeader(e)
			}
		}
		return entry{}, ErrMissing
	}
	e, err := find()
	if err == nil {
		return e, nil
	}
	if err := r.scan(ctx); err != nil {
		return e, err
	}
	if e, err = find(); err != nil {
		return e, r.volumes[vol].damaged(name, err)
	}
	return e, nil
}

// checkHeader checks that the header of an entry is where the entry says.
func (v *volume) checkHeader(e entry) error {
	head, err := tarHeader(e.name, e.size)
	if err != nil {
		return err
	}
	_, _, content := v.table.Frame(e.frame)
	if content < len(head) || content-len(head) >= tarBlock {
		return ErrHeader
	}
	name, size, err := v.header(e.frame, content-len(head))
	if err == nil && (name != e.name || size != e.size) {
		err = fmt.Errorf("%w: that of %q", ErrHeader, name)
	}
	return err
}
