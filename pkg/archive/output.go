package archive

import (
	"context"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sync/errgroup"
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
	direct atomic.Bool
	back   writeback // where not direct
	rest   [directAlign]byte
	carry  int   // bytes of rest
	at     int64 // where the next write begins, a multiple of directAlign
}

// newOutput writes a volume of size bytes to f, whose room is taken at once where the
// file system can: a disk that is too small is found out now, and writes within a
// file run side by side, which those that make it longer do not.
func newOutput(f *os.File, size int64) (*output, error) {
	if err := reserve(f, size); err != nil {
		return nil, err
	}
	o := &output{f: f, back: writeback{f: f}}
	o.direct.Store(setDirect(f, true) == nil)
	return o, nil
}

// write is a piece that has its place in the file.
type write struct {
	piece *piece
	data  []byte
	at    int64
	done  chan struct{} // closed when it is written or has failed
}

// run writes every piece of in, two at a time so that the disk always has one to go
// on with, and hands them to out in order. It tells wrote how many bytes went by.
func (o *output) run(ctx context.Context, in <-chan *piece, out chan<- *piece, wrote func(n int)) error {
	g, ctx := errgroup.WithContext(ctx)
	started := make(chan *write) // unbuffered: one is waited for, one runs behind it
	g.Go(func() error {
		defer close(started)
		for {
			var p *piece
			var ok bool
			select {
			case <-ctx.Done():
				return ctx.Err()
			case p, ok = <-in:
			}
			if !ok {
				return nil
			}
			w := o.place(p)
			g.Go(func() error {
				defer close(w.done)
				return o.put(w.data, w.at)
			})
			select {
			case <-ctx.Done():
				return ctx.Err()
			case started <- w:
			}
		}
	})
	g.Go(func() error {
		for w := range started {
			<-w.done
			wrote(len(w.piece.buf))
			if !o.direct.Load() {
				o.back.wrote(len(w.data))
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case out <- w.piece:
			}
		}
		return nil
	})
	return g.Wait()
}

// place finds the place of the carried rest and p, whose first byte is to lie at that
// offset from a multiple of directAlign. Pieces are placed in order.
func (o *output) place(p *piece) *write {
	copy(p.mem, o.rest[:o.carry])
	data := p.mem[:o.carry+len(p.buf)]
	whole := len(data) &^ (directAlign - 1)
	w := &write{piece: p, data: data[:whole], at: o.at, done: make(chan struct{})}
	o.carry = copy(o.rest[:], data[whole:])
	o.at += int64(whole)
	return w
}

func (o *output) put(data []byte, at int64) error {
	if len(data) == 0 {
		return nil
	}
	direct := o.direct.Load()
	_, err := o.f.WriteAt(data, at)
	if err != nil && direct && notDirect(err) {
		// A file system that takes the flag and refuses the write. The flag goes first: a
		// write beside this one that finds direct unset counts on it.
		if err = setDirect(o.f, false); err != nil {
			return err
		}
		o.direct.Store(false)
		_, err = o.f.WriteAt(data, at)
	}
	return err
}

// finish writes what is carried and syncs all of it.
func (o *output) finish() error {
	if o.direct.Load() {
		if err := setDirect(o.f, false); err != nil {
			return err
		}
	}
	if _, err := o.f.WriteAt(o.rest[:o.carry], o.at); err != nil {
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
