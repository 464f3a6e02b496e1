package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"naru/pkg/archive"
	"naru/pkg/archive/frame"
)

// TestSignatureBounds packs and opens files in signatures/ that are too large, which
// nobody has signed.
func TestSignatureBounds(t *testing.T) {
	large := archive.File{Name: "signatures/a", Data: make([]byte, frame.MaxContent+1)}
	f := small(t)
	f.input.Signatures = []archive.File{large}
	if _, err := archive.NewPlan(f.input, f.options(0)); !errors.Is(err, archive.ErrTooLarge) {
		t.Errorf("one: %v, want ErrTooLarge", err)
	}
	var many []archive.File
	for i := range 65 {
		many = append(many, archive.File{Name: fmt.Sprintf("signatures/%03d", i), Data: large.Data[:frame.MaxContent]})
	}
	f.input.Signatures = many
	if _, err := archive.NewPlan(f.input, f.options(0)); !errors.Is(err, archive.ErrTooLarge) {
		t.Errorf("together: %v, want ErrTooLarge", err)
	}
	f.input.Signatures = nil
	path := f.pack(t, t.TempDir(), 0)[0]
	v := takeApart(t, path)
	v.entries = append(v.entries, editedEntry{name: large.Name, content: large.Data, zstd: true})
	v.write(t, path)
	if _, err := archive.Open(context.Background(), []string{path}, f.accept); !errors.Is(err, archive.ErrTooLarge) {
		t.Errorf("opened: %v, want ErrTooLarge", err)
	}
}

// TestFrameBudget gives one volume of two, and then both, half of the frames that all
// may have beyond what is signed.
func TestFrameBudget(t *testing.T) {
	f := newFixture(t, [][]byte{random(1, 12<<20)}, nil, nil)
	paths := f.pack(t, t.TempDir(), 9<<20)
	if len(paths) != 2 {
		t.Fatalf("%d volumes, want 2", len(paths))
	}
	const half = 1<<16 + 100
	more := func(path string) {
		v := takeApart(t, path)
		v.frames = func(frames [][]byte, _ []frame.Info) [][]byte {
			return append(frames, bytes.Repeat(frame.AppendRaw(nil, []byte{0}), half))
		}
		v.table = func(infos []frame.Info) []frame.Info {
			for range half {
				infos = append(infos, frame.Info{Size: uint32(frame.RawSize(1)), Content: 1})
			}
			return infos
		}
		v.write(t, path)
	}
	// What is too much is refused before it is looked at: the last frame is not one.
	for i, path := range paths {
		more(path)
		_, err := archive.Open(context.Background(), paths, f.accept)
		if refused := errors.Is(err, frame.ErrTable); refused != (i == 1) || err == nil {
			t.Errorf("%d volumes of too many frames: %v", i+1, err)
		}
	}
}
