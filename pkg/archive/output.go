package archive

import (
	"os"
	"unsafe"
)

// directAlign is what a write past the page cache must be a multiple of, in place,
// length and memory: what every disk and file system in use agrees to.
const directAlign = 4096

// output writes the pieces of a volume, past the page cache where the system can.
// A volume is larger than what is worth keeping in memory and must be on the disk
// in the end: written through the cache, every byte is copied once more, takes a
// page that something else could use, and is waited for in the final sync all the
// same. Where there is no such way it writes as usual.
//
// What is written is always a multiple of directAlign; the rest is carried over to
// the next piece, which has left room before its first byte.
type output struct {
	f      *os.File
	direct bool
	back   writeback // where not direct
	rest   [directAlign]byte
	carry  int // bytes of rest
}

func newOutput(f *os.File) *output {
	return &output{f: f, direct: setDirect(f, true) == nil, back: writeback{f: f}}
}

// write writes the carried rest and p, whose first byte is to lie at that offset
// from a multiple of directAlign.
func (o *output) write(p *piece) error {
	copy(p.mem, o.rest[:o.carry])
	data := p.mem[:o.carry+len(p.buf)]
	whole := len(data) &^ (directAlign - 1)
	if whole > 0 {
		if err := o.put(data[:whole]); err != nil {
			return err
		}
	}
	o.carry = copy(o.rest[:], data[whole:])
	return nil
}

func (o *output) put(data []byte) error {
	n, err := o.f.Write(data)
	if err != nil && o.direct && notDirect(err) {
		// A file system that takes the flag and refuses the write.
		o.direct = false
		if err = setDirect(o.f, false); err != nil {
			return err
		}
		_, err = o.f.Write(data[n:])
	}
	if err == nil && !o.direct {
		o.back.wrote(len(data))
	}
	return err
}

// finish writes what is carried and syncs all of it.
func (o *output) finish() error {
	if o.direct {
		if err := setDirect(o.f, false); err != nil {
			return err
		}
	}
	if _, err := o.f.Write(o.rest[:o.carry]); err != nil {
		return err
	}
	return o.f.Sync()
}

// alignedBytes are n bytes of memory that start at a multiple of directAlign.
func alignedBytes(n int) []byte {
	b := make([]byte, n+directAlign)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (directAlign - 1)) //nolint:gosec // an address is looked at, not kept
	return b[skip : skip+n : skip+n]
}
