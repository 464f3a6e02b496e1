package archive

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestOutput writes pieces of odd lengths past the page cache and, as on a file
// system that refuses that, through it.
func TestOutput(t *testing.T) {
	for name, shift := range map[string]int{"aligned": 0, "refused": 1} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "volume")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			sizes := []int{1, 4095, 4096, 100_000, 3, 8192, 1 << 20, 7}
			var pieces []*piece
			var want []byte
			for _, n := range sizes {
				p := newPiece()
				p.mem = p.mem[shift:] // memory out of line is what disks refuse
				p.reset(int64(len(want)))
				for range n {
					p.buf = append(p.buf, byte(rng.Uint32()))
				}
				want = append(want, p.buf...)
				pieces = append(pieces, p)
			}
			out, err := newOutput(f, int64(len(want)))
			if err != nil {
				t.Fatal(err)
			}
			was := out.direct.Load()
			in, done, told := make(chan *piece, len(pieces)), make(chan *piece, len(pieces)), 0
			for _, p := range pieces {
				in <- p
			}
			close(in)
			if err := out.run(t.Context(), in, done, func(n int) { told += n }); err != nil {
				t.Fatal(err)
			}
			close(done)
			i := 0
			for p := range done {
				if p != pieces[i] {
					t.Errorf("piece %d is not handed on in its turn", i)
				}
				i++
			}
			if i != len(pieces) || told != len(want) {
				t.Errorf("%d pieces and %d bytes went by, want %d and %d", i, told, len(pieces), len(want))
			}
			if shift > 0 {
				t.Logf("direct before %v, after %v", was, out.direct.Load()) // tmpfs takes anything
			}
			if shift == 0 && out.direct.Load() != was {
				t.Error("an aligned write was refused")
			}
			if err := out.finish(); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes came out otherwise than the %d that went in", len(got), len(want))
			}
		})
	}
}

// TestOutputRefused has writes that run side by side refused as direct ones: none of
// them is the worse for what another finds out at that moment.
func TestOutputRefused(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "volume"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const size, count = 2 * directAlign, 6
	var pieces []*piece
	for range count {
		pieces = append(pieces, &piece{mem: alignedBytes(directAlign + size + 1)[1:]})
	}
	for range 500 {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		out, err := newOutput(f, count*size)
		if err != nil {
			t.Fatal(err)
		}
		in, done := make(chan *piece, count), make(chan *piece, count)
		for i, p := range pieces {
			p.reset(int64(i) * size)
			p.buf = p.buf[:size]
			in <- p
		}
		close(in)
		if err := out.run(t.Context(), in, done, func(int) {}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOutputFails ends when a write fails, however many pieces are still to come.
func TestOutputFails(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "volume"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	out, err := newOutput(f, 4*size)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	in := make(chan *piece, 4)
	for i := range int64(cap(in)) {
		p := newPiece()
		p.reset(i * size)
		p.buf = p.buf[:size]
		in <- p
	}
	if err := out.run(t.Context(), in, make(chan *piece), func(int) {}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}
