package archive

import (
	"bytes"
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
			out, p, want := newOutput(f), newPiece(), []byte(nil)
			was := out.direct
			p.mem = p.mem[shift:] // memory out of line is what disks refuse
			for _, n := range []int{1, 4095, 4096, 100_000, 3, 8192, 1 << 20, 7} {
				p.reset(int64(len(want)))
				for range n {
					p.buf = append(p.buf, byte(rng.Uint32()))
				}
				want = append(want, p.buf...)
				if err := out.write(p); err != nil {
					t.Fatal(err)
				}
			}
			if shift > 0 {
				t.Logf("direct before %v, after %v", was, out.direct) // tmpfs takes anything
			}
			if shift == 0 && out.direct != was {
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
