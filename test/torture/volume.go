package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// What a stretch of a volume is, by docs/format.md. This is read here without
// naru's own reader, so that the two can disagree.
const (
	partHeader  = "header"
	partContent = "content"
	partEnd     = "end of the tar"
	partTable   = "seek table"
)

// region is a stretch of a volume.
type region struct {
	from, to int64 // to is beyond it
	part     string
	entry    string // name of the entry it belongs to
}

// signed reports whether the region is content that the signature covers and that
// readers hand out.
func (r region) signed() bool {
	return r.part == partContent && r.entry != "volume.json" && r.entry != "toc.json" &&
		r.entry != "bundle.json" && r.entry != "bundle.json.sigstore.json"
}

// head reports whether the region is of what a volume starts with.
func (r region) head() bool {
	return r.entry == "volume.json" || r.entry == "bundle.json" || r.entry == "bundle.json.sigstore.json"
}

// blob is the name of the entry without the number of its part.
func (r region) blob() string {
	if name, _, cut := strings.Cut(r.entry, "."); cut && strings.HasPrefix(name, "blobs/") {
		return name
	}
	return r.entry
}

// frameMax is the most content, in bytes, that a frame holds.
const frameMax = 4 << 20

// mapVolume says what every byte of a volume is.
func mapVolume(volume []byte) ([]region, error) {
	frames, err := seekTable(volume)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	var regions []region
	var at int64
	left, entry := 0, "" // frames of content still to come
	for i, length := range frames {
		r := region{from: at, to: at + int64(length), part: partContent, entry: entry}
		at = r.to
		if left > 0 {
			left--
			regions = append(regions, r)
			continue
		}
		head, err := dec.DecodeAll(volume[r.from:r.to], nil)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
		r.part = partHeader
		var size int64
		if entry, size, err = readHeader(head); errors.Is(err, io.EOF) {
			r.part, r.entry = partEnd, ""
		} else if err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		} else {
			r.entry, left = entry, int((size+frameMax-1)/frameMax)
		}
		regions = append(regions, r)
	}
	return append(regions, region{from: at, to: int64(len(volume)), part: partTable}), nil
}

// readHeader reads the tar header at the end of a frame, after the padding of the
// entry before it; io.EOF at the end of the tar.
func readHeader(head []byte) (name string, size int64, err error) {
	skip := len(head) % 512
	if skip >= len(head) {
		return "", 0, io.ErrUnexpectedEOF
	}
	h, err := tar.NewReader(bytes.NewReader(head[skip:])).Next()
	if err != nil {
		return "", 0, err
	}
	return h.Name, h.Size, nil
}

// seekTable returns the lengths of a volume's frames.
func seekTable(volume []byte) ([]uint32, error) {
	const footer, entry = 9, 8
	if len(volume) < footer || binary.LittleEndian.Uint32(volume[len(volume)-4:]) != 0x8F92EAB1 {
		return nil, errors.New("no seek table")
	}
	n := int(binary.LittleEndian.Uint32(volume[len(volume)-footer:]))
	start := len(volume) - footer - n*entry
	if start < 8 {
		return nil, errors.New("seek table is longer than the volume")
	}
	frames, total := make([]uint32, n), int64(0)
	for i := range frames {
		frames[i] = binary.LittleEndian.Uint32(volume[start+i*entry:])
		total += int64(frames[i])
	}
	if total != int64(start-8) {
		return nil, fmt.Errorf("frames have %d bytes, the table starts at %d", total, start-8)
	}
	return frames, nil
}

// over returns the regions that touch [from, to).
func over(regions []region, from, to int64) []region {
	i, _ := slices.BinarySearchFunc(regions, from, func(r region, at int64) int {
		if r.to <= at {
			return -1
		}
		return 1
	})
	var out []region
	for ; i < len(regions) && regions[i].from < to; i++ {
		out = append(out, regions[i])
	}
	return out
}

// listVolume returns the sha256 of every entry of a volume, read as any unpacker
// would, but for those that hold a signature, which differ from run to run, and
// what follows from them.
func listVolume(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	dec, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	out := map[string]string{}
	for tr := tar.NewReader(dec); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", path, err)
		}
		if h.Name == "bundle.json.sigstore.json" || h.Name == "toc.json" || strings.HasPrefix(h.Name, "signatures/") {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, tr); err != nil {
			return nil, fmt.Errorf("reading %q of %q: %w", h.Name, path, err)
		}
		out[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
}
