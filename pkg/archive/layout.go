package archive

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive/frame"
)

// ErrNoFrames says that PlanOptions.Frames must be set.
var ErrNoFrames = errors.New("cutting zstd blobs needs PlanOptions.Frames")

// layouter distributes what goes into a bundle over volumes, in order, each as full
// as it gets.
type layouter struct {
	in      Input
	opts    PlanOptions
	limit   int64
	head    []File  // of every volume
	first   []*item // of the first, after head
	volumes []*volumeLayout
}

func (l *layouter) run() error {
	l.limit = l.opts.VolumeSize
	if l.limit == 0 {
		l.limit = math.MaxInt64
	}
	l.head = []File{
		{Name: VolumeName, Data: []byte{0}}, // written by finish, once all is known
		{Name: BundleName, Data: l.in.Bundle},
		{Name: SignatureName, Data: l.in.Signature},
	}
	if l.opts.VolumeSize != 0 && l.opts.Frames == nil && slices.ContainsFunc(l.in.Blobs, func(b PackBlob) bool {
		return b.Encoding == EncodingZstd && b.Size > frame.MaxContent
	}) {
		return ErrNoFrames
	}
	if err := l.fileItems(); err != nil {
		return err
	}
	minimum, err := l.minimum()
	if err != nil {
		return err
	}
	if l.limit < minimum {
		return &VolumeSizeError{Limit: l.opts.VolumeSize, Minimum: minimum}
	}
	v, err := l.newVolume()
	if err != nil {
		return err
	}
	if err := l.addAll(v, l.first); err != nil {
		return err
	}
	for _, b := range l.in.Blobs {
		if err := l.addBlob(b); err != nil {
			return err
		}
	}
	if err := l.addSignatures(); err != nil {
		return err
	}
	if len(l.volumes) > maxVolumes {
		return fmt.Errorf("volumes of %d bytes: %d of them, at most %d: %w", l.limit, len(l.volumes), maxVolumes, ErrTooLarge)
	}
	return nil
}

// fileItems encodes the metadata files.
func (l *layouter) fileItems() error {
	enc, err := frame.NewEncoder(1)
	if err != nil {
		return err
	}
	l.first = append(l.first, fileItem(File{Name: ContentsName, Data: l.in.Contents}, enc))
	for _, f := range l.in.Files {
		l.first = append(l.first, fileItem(f, enc))
	}
	return enc.Close()
}

// newVolume starts a volume with the entries that all begin with.
func (l *layouter) newVolume() (*volumeLayout, error) {
	v := &volumeLayout{}
	for _, f := range l.head {
		reserve := int64(frame.RawSize(max(len(f.Data), 1)))
		switch f.Name {
		case VolumeName:
			reserve = int64(frame.RawSize(maxVolumeDoc))
		case SignatureName:
			reserve = int64(frame.RawSize(SignatureReserve))
		}
		c, err := entryCost(f.Name, max(int64(len(f.Data)), 1), reserve)
		if err != nil {
			return nil, err
		}
		v.add(fileItem(f, nil), c)
	}
	l.volumes = append(l.volumes, v)
	return v, nil
}

func (l *layouter) addAll(v *volumeLayout, items []*item) error {
	for _, it := range items {
		c, err := entryCost(it.name, it.size, it.encodedSize())
		if err != nil {
			return err
		}
		v.add(it, c)
	}
	return nil
}

// fits reports whether v has room for c.
func (l *layouter) fits(v *volumeLayout, c cost) bool {
	bytes, frames := v.size(c)
	return bytes <= l.limit && frames <= frame.MaxFrames
}

// minimum is the smallest limit that every volume of this bundle can keep.
func (l *layouter) minimum() (int64, error) {
	defer func(v []*volumeLayout) { l.volumes = v }(l.volumes)
	_, signatures, err := l.signatureItems()
	if err != nil {
		return 0, err
	}
	var largest int64
	for _, b := range l.in.Blobs {
		largest = max(largest, frame.RawTotal(min(b.Size, frame.MaxContent)))
	}
	blob, err := entryCost(chunkName(digest.FromString(""), 1, 2), maxBlob, largest)
	if err != nil {
		return 0, err
	}
	blob.frames = 2
	var minimum int64
	for _, of := range []struct {
		items []*item
		more  cost
	}{{items: l.first}, {more: blob}, {more: signatures}} {
		v, err := l.newVolume()
		if err != nil {
			return 0, err
		}
		if err := l.addAll(v, of.items); err != nil {
			return 0, err
		}
		bytes, frames := v.size(of.more)
		if frames > frame.MaxFrames {
			return 0, fmt.Errorf("metadata of %d frames: %w", frames, ErrTooLarge)
		}
		minimum = max(minimum, bytes)
	}
	return minimum, nil
}

// addBlob adds a blob to the last volume, and what does not fit to further ones.
func (l *layouter) addBlob(b PackBlob) error {
	whole := 0
	rest := part{PackBlob: b, count: frame.Count(b.Size), encoded: storedFramesSize(b), whole: &whole}
	var sizes []int64 // of all frames, once the blob has to be cut
	v := l.volumes[len(l.volumes)-1]
	for {
		whole++
		rest.number = whole
		done, err := l.addRest(v, rest)
		if err != nil || done {
			return err
		}
		if sizes == nil {
			if sizes, err = l.frames(b); err != nil {
				return err
			}
		}
		cut, err := l.cut(v, rest, sizes)
		if err != nil {
			return err
		}
		if cut == 0 {
			whole--
		}
		for _, n := range sizes[rest.first : rest.first+cut] {
			rest.start, rest.encoded = rest.start+n, rest.encoded-n
		}
		rest.first, rest.count = rest.first+cut, rest.count-cut
		if whole >= maxChunks || len(l.volumes) > maxVolumes {
			return fmt.Errorf("blob %s in %d parts: %w", b.Digest, whole, ErrTooLarge)
		}
		if v, err = l.newVolume(); err != nil {
			return err
		}
	}
}

// addRest adds all of p to v if it fits.
func (l *layouter) addRest(v *volumeLayout, p part) (bool, error) {
	it := p.item()
	c, err := entryCost(it.name, it.size, p.encoded)
	if err != nil || !l.fits(v, c) {
		return false, err
	}
	v.add(it, c)
	return true, nil
}

// cut adds as many frames of p to v as fit, but never all, and returns how many.
func (l *layouter) cut(v *volumeLayout, p part, sizes []int64) (int64, error) {
	p.encoded = 0
	all := p.count
	var fitting cost
	var it *item
	for p.count = 1; p.count < all; p.count++ {
		p.encoded += sizes[p.first+p.count-1]
		next := p.item()
		next.name = chunkName(p.Digest, p.number, maxChunks)
		c, err := entryCost(next.name, next.size, p.encoded)
		if err != nil {
			return 0, err
		}
		if !l.fits(v, c) {
			break
		}
		it, fitting = next, c
	}
	if it == nil {
		return 0, nil
	}
	v.add(it, fitting)
	return it.part.count, nil
}

// frames are the sizes of the frames of a blob's stored form.
func (l *layouter) frames(b PackBlob) ([]int64, error) {
	n := frame.Count(b.Size)
	if b.Encoding == EncodingRaw {
		return rawFrames(b.Size), nil
	}
	if n == 1 {
		return []int64{storedFramesSize(b)}, nil
	}
	if l.opts.Frames == nil {
		return nil, ErrNoFrames
	}
	sizes, err := l.opts.Frames(b.Blob)
	if err != nil {
		return nil, err
	}
	var sum int64
	for _, s := range sizes {
		sum += s
	}
	if int64(len(sizes)) != n || sum != storedFramesSize(b) {
		return nil, fmt.Errorf("stored form of blob %s: %d frames of %d bytes, want %d of %d", b.Digest, len(sizes), sum, n, storedFramesSize(b))
	}
	return sizes, nil
}

// addSignatures adds the files of signatures/ to the last volume, or to one more.
func (l *layouter) addSignatures() error {
	items, total, err := l.signatureItems()
	if err != nil || len(items) == 0 {
		return err
	}
	v := l.volumes[len(l.volumes)-1]
	if !l.fits(v, total) {
		if v, err = l.newVolume(); err != nil {
			return err
		}
	}
	for _, it := range items {
		v.add(it, cost{})
	}
	return nil
}

// signatureItems are the entries of signatures/ and what they take together.
func (l *layouter) signatureItems() (items []*item, total cost, err error) {
	for _, f := range l.in.Signatures {
		it := fileItem(f, nil)
		room := (it.size/signatureStep + 1) * signatureStep
		c, err := entryCost(it.name, room, frame.RawTotal(room))
		if err != nil {
			return nil, total, err
		}
		items = append(items, it)
		total = cost{total.bytes + c.bytes, total.frames + c.frames, total.toc + c.toc}
	}
	return items, total, nil
}

// item is the entry of a part. Its name is right as to length only until the number
// of parts is known.
func (p part) item() *item {
	size := min(p.Size-p.first*frame.MaxContent, p.count*frame.MaxContent)
	n := p.number
	if n > 1 {
		n = maxChunks
	}
	return &item{name: chunkName(p.Digest, p.number, n), size: size, part: &p}
}

// storedFramesSize is the length of a blob's frames in a volume.
func storedFramesSize(b PackBlob) int64 {
	if b.Encoding == EncodingRaw {
		return frame.RawTotal(b.Size)
	}
	return b.EncodedSize - frame.TableSize(frame.Count(b.Size))
}
