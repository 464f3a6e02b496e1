package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"naru/pkg/archive/frame"
)

// sizes are those where a raw frame changes its shape.
var sizes = []int{1, 2, 255, 256, 511, frame.BlockSize - 1, frame.BlockSize, frame.BlockSize + 1,
	3 * frame.BlockSize, frame.MaxContent - 1, frame.MaxContent}

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// words is content that compresses.
func words(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	return b
}

func TestRaw(t *testing.T) {
	dec, err := frame.NewDecoder(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, n := range sizes {
		want := content(n)
		data := frame.AppendRaw(nil, want)
		if len(data) != frame.RawSize(n) || frame.RawTotal(int64(n)) != int64(len(data)) || len(data) > frame.MaxSize {
			t.Errorf("%d: raw frame of %d bytes, RawSize %d, RawTotal %d", n, len(data), frame.RawSize(n), frame.RawTotal(int64(n)))
		}
		filled, err := frame.FillRaw(make([]byte, 0, len(data)), iotest.HalfReader(bytes.NewReader(want)), n)
		if err != nil || !bytes.Equal(filled, data) {
			t.Errorf("%d: FillRaw differs from AppendRaw: %v", n, err)
		}
		if err := frame.Check(data, n); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		for _, off := range []int{0, n / 2, n - 1} {
			if data[frame.RawOffset(off)] != want[off] {
				t.Errorf("%d: wrong byte at offset %d", n, off)
			}
		}
		if got, err := plain.DecodeAll(data, nil); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: another decoder disagrees: %v", n, err)
		}
		if got, err := dec.Decode(make([]byte, 0, n), data, n); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: Decode: %v", n, err)
		}
		if got, err := frame.RawContent(data[:0], data, n); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: RawContent: %v", n, err)
		}
	}
}

func TestRawBlocksOfMiddle(t *testing.T) {
	n := 3*frame.BlockSize + 5
	want := content(n)
	data := frame.AppendRaw(nil, want)
	var got []byte
	part := data[frame.RawBlockStart(1):frame.RawBlockStart(3)]
	if err := frame.RawBlocks(part, n, 1, func(b []byte) { got = append(got, b...) }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want[frame.BlockSize:3*frame.BlockSize]) {
		t.Error("wrong content")
	}
	for name, bad := range map[string]error{
		"cut":   frame.RawBlocks(part[:len(part)-1], n, 1, func([]byte) {}),
		"other": frame.RawBlocks(part, n, 2, func([]byte) {}),
		"size":  frame.RawBlocks(part, n-frame.BlockSize-6, 1, func([]byte) {}),
		"none":  frame.RawBlocks(part, 0, 1, func([]byte) {}),
	} {
		if !errors.Is(bad, frame.ErrFrame) {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

func TestFillRawShort(t *testing.T) {
	_, err := frame.FillRaw(make([]byte, 0, 100), bytes.NewReader([]byte("abc")), 4)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestEncoder(t *testing.T) {
	enc, err := frame.NewEncoder(2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = enc.Close() }()
	dec, err := frame.NewDecoder(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, n := range sizes {
		for name, want := range map[string][]byte{"random": content(n), "words": words(n), "zero": make([]byte, n)} {
			data := enc.Append(nil, want)
			if len(data) > frame.RawSize(n) {
				t.Errorf("%s %d: %d bytes", name, n, len(data))
			}
			if got, err := dec.Decode(make([]byte, 0, n), data, n); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s %d: %v", name, n, err)
			}
			buf := make([]byte, 0, frame.MaxSize)
			read, stated, err := frame.Read(buf, io.MultiReader(iotest.OneByteReader(bytes.NewReader(data[:10])), bytes.NewReader(data[10:])))
			if err != nil || stated != n || !bytes.Equal(read, data) {
				t.Errorf("%s %d: Read: %d %v", name, n, stated, err)
			}
		}
	}
}

// TestEncoderIsDeterministic uses one encoder for different content in many orders.
func TestEncoderIsDeterministic(t *testing.T) {
	enc, err := frame.NewEncoder(4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = enc.Close() }()
	var inputs, want [][]byte
	for i := range 8 {
		in := words(100<<10 + i*77777)
		fresh, err := frame.NewEncoder(1)
		if err != nil {
			t.Fatal(err)
		}
		inputs, want = append(inputs, in), append(want, fresh.Append(nil, in))
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for round := range 4 {
		for i := range inputs {
			wg.Go(func() {
				i := (i*3 + round) % len(inputs)
				if !bytes.Equal(enc.Append(nil, inputs[i]), want[i]) {
					t.Errorf("input %d in round %d encodes differently", i, round)
				}
			})
		}
	}
	wg.Wait()
}

// TestRefuse lists frames that zstd may well read and format v1 does not allow.
func TestRefuse(t *testing.T) {
	dec, err := frame.NewDecoder(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	good := frame.AppendRaw(nil, []byte("hello"))
	with := func(opts ...zstd.EOption) []byte {
		enc, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return enc.EncodeAll(words(5000), nil)
	}
	big := binary.LittleEndian.AppendUint32([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, frame.MaxContent+1)
	bomb := append(append([]byte(nil), big...), 0x02, 0, 0x10, 0)
	for name, data := range map[string][]byte{
		"empty":          {},
		"cut":            good[:len(good)-1],
		"two frames":     append(append([]byte(nil), good...), good...),
		"garbage behind": append(append([]byte(nil), good...), 0),
		"checksum":       with(zstd.WithEncoderCRC(true), zstd.WithSingleSegment(true)),
		"window":         with(zstd.WithEncoderCRC(false), zstd.WithSingleSegment(false)),
		"too large":      bomb,
		"reserved block": {0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x2f, 0, 0, 1, 2, 3, 4, 5},
		"states less":    {0x28, 0xb5, 0x2f, 0xfd, 0x20, 4, 0x29, 0, 0, 1, 2, 3, 4, 5},
		"states more":    {0x28, 0xb5, 0x2f, 0xfd, 0x20, 6, 0x29, 0, 0, 1, 2, 3, 4, 5},
		"run too long":   {0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x33, 0, 0, 1},
		"skippable":      {0x5e, 0x2a, 0x4d, 0x18, 0, 0, 0, 0},
		"dictionary":     {0x28, 0xb5, 0x2f, 0xfd, 0x21, 1, 5, 0x29, 0, 0, 1, 2, 3, 4, 5},
	} {
		n := 5
		if len(data) > 100 {
			n = 5000
		}
		out, err := dec.Decode(make([]byte, 0, frame.MaxContent), data, n)
		if err == nil {
			t.Errorf("%s: decoded %d bytes", name, len(out))
		}
	}
	endless := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 200}, make([]byte, 3000)...)
	if err := frame.Check(endless, 200); !errors.Is(err, frame.ErrFrame) {
		t.Errorf("empty blocks without end: %v", err)
	}
	if _, _, err := frame.Read(make([]byte, 0, 10), bytes.NewReader(good)); !errors.Is(err, frame.ErrFrame) {
		t.Errorf("frame longer than the buffer: %v", err)
	}
	if _, _, err := frame.Read(make([]byte, 0, 100), bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("nothing to read: %v", err)
	}
	if _, _, err := frame.Read(make([]byte, 0, 100), bytes.NewReader(good[:7])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut frame: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(frame.AppendRaw(nil, []byte("hello")), 5)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x2b, 0, 0, 1}, 5)
	enc, err := frame.NewEncoder(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enc.Append(nil, words(3000)), 3000)
	dec, err := frame.NewDecoder(1)
	if err != nil {
		f.Fatal(err)
	}
	buf, content := make([]byte, 0, frame.MaxSize), make([]byte, 0, frame.MaxContent)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		checked := frame.Check(data, n)
		read, stated, err := frame.Read(buf, bytes.NewReader(data))
		if err == nil && frame.Check(read, stated) != nil {
			t.Error("Read takes what Check refuses")
		}
		if checked == nil && (err != nil || stated != n || len(read) != len(data)) {
			t.Errorf("Check takes what Read does not: %v", err)
		}
		if n < 1 || n > frame.MaxContent {
			if checked == nil {
				t.Errorf("%d bytes of content accepted", n)
			}
			return
		}
		out, err := dec.Decode(content, data, n)
		if err == nil && (checked != nil || len(out) != n) {
			t.Errorf("Decode gives %d bytes of %d, Check says %v", len(out), n, checked)
		}
		raw, err := frame.RawContent(nil, data, n)
		if err == nil && (!bytes.Equal(raw, out) || !bytes.Equal(frame.AppendRaw(nil, raw), data)) {
			t.Error("a raw frame is not the one of its content")
		}
	})
}

func TestCount(t *testing.T) {
	for size, want := range map[int64]int64{
		math.MinInt64: 0, -1: 0, 0: 0, 1: 1, frame.MaxContent: 1, frame.MaxContent + 1: 2,
		math.MaxInt64: math.MaxInt64/frame.MaxContent + 1,
	} {
		if got := frame.Count(size); got != want {
			t.Errorf("%d bytes: %d frames, want %d", size, got, want)
		}
	}
}

func TestDecoderClose(t *testing.T) {
	dec, err := frame.NewDecoder(2)
	if err != nil {
		t.Fatal(err)
	}
	data := frame.AppendRaw(nil, []byte("content"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if _, err := dec.Decode(make([]byte, 0, 7), data, 7); err != nil && !errors.Is(err, fs.ErrClosed) {
					t.Error(err)
				}
			}
		})
	}
	dec.Close()
	dec.Close()
	wg.Wait()
	if _, err := dec.Decode(make([]byte, 0, 7), data, 7); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
