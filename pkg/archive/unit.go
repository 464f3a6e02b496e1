package archive

import (
	"fmt"
	"hash"

	"naru/pkg/archive/frame"
)

// unitBlocks is how many blocks of a raw blob are read at a time: few enough to
// stay in the processor's cache between being read and being hashed.
const unitBlocks = 4

// unit is what is read and hashed of a blob at a time: a few blocks of a raw frame,
// or a compressed frame.
type unit struct {
	place
	raw   bool
	start int64 // of the unit in the blob, in bytes
	size  int   // of its content, in bytes

	frame, content int   // the frame, and all its content in bytes
	block          int   // first block, of a raw frame
	at             int64 // in the file
	encoded        int   // length there
}

// unitAt returns the unit that holds byte pos of the blob. Units of raw blobs cover
// unitBlocks blocks from a multiple of that.
func (l *location) unitAt(pos int64) (unit, error) {
	p := l.parts[0]
	for _, next := range l.parts[1:] {
		if next.start <= pos {
			p = next
		}
	}
	i := (pos - p.start) / frame.MaxContent
	u := unit{place: p, raw: l.blob.Encoding == EncodingRaw, start: p.start + i*frame.MaxContent, frame: p.entry.frame + 1 + int(i)}
	u.at, u.encoded, u.content = p.vol.table.Frame(u.frame)
	u.size = u.content
	if !u.raw {
		return u, nil
	}
	if u.encoded != frame.RawSize(u.content) {
		return u, u.damaged(fmt.Errorf("%w: %d bytes for a raw frame of %d", frame.ErrFrame, u.encoded, u.content))
	}
	u.block = int(pos-u.start) / frame.BlockSize / unitBlocks * unitBlocks
	end := frame.RawSize(u.content)
	if until := u.block + unitBlocks; until*frame.BlockSize < u.content {
		end = frame.RawBlockStart(until)
	}
	u.start += int64(u.block) * frame.BlockSize
	u.size = min(u.content-u.block*frame.BlockSize, unitBlocks*frame.BlockSize)
	u.at += int64(frame.RawBlockStart(u.block))
	u.encoded = end - frame.RawBlockStart(u.block)
	return u, nil
}

func (u *unit) damaged(err error) error { return u.vol.damaged(u.entry.name, err) }

// bytes reads the unit as it lies in the volume into buf, which has room for it.
func (u *unit) bytes(buf []byte) ([]byte, error) {
	buf = buf[:u.encoded]
	if err := readFullAt(u.vol.file, buf, u.at); err != nil {
		return nil, u.damaged(err)
	}
	return buf, nil
}

// hash adds the unit's content to h. It is load for who wants nothing but that: the
// blocks of a raw unit are hashed where they lie and not moved together first.
func (u *unit) hash(h hash.Hash, dec *frame.Decoder, buf, out []byte) error {
	if !u.raw {
		content, err := u.load(dec, buf, out)
		if err == nil {
			_, err = h.Write(content)
		}
		return err
	}
	buf, err := u.bytes(buf)
	if err != nil {
		return err
	}
	hashed := 0
	err = frame.RawBlocks(buf, u.content, u.block, func(b []byte) {
		_, _ = h.Write(b) // a hash never fails
		hashed += len(b)
	})
	return u.whole(hashed, err)
}

// whole is err, or what is wrong with a unit that holds n bytes.
func (u *unit) whole(n int, err error) error {
	if err == nil && n != u.size {
		err = fmt.Errorf("%w: %d bytes in place of %d", frame.ErrFrame, n, u.size)
	}
	if err != nil {
		return u.damaged(err)
	}
	return nil
}

// load reads the unit into buf, which has room for it, decodes it and returns its
// content, which may lie in buf or in out. For a unit of a raw blob out may be nil.
func (u *unit) load(dec *frame.Decoder, buf, out []byte) ([]byte, error) {
	buf, err := u.bytes(buf)
	if err != nil {
		return nil, err
	}
	if u.raw {
		out = buf[:0]
		err = frame.RawBlocks(buf, u.content, u.block, func(b []byte) { out = append(out, b...) })
	} else {
		out, err = dec.Decode(out[:0], buf, u.content)
	}
	if err := u.whole(len(out), err); err != nil {
		return nil, err
	}
	return out, nil
}
