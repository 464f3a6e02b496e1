package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Tags of headers that are read here, by rpm's names.
const (
	tagName          = 1000
	tagVersion       = 1001
	tagRelease       = 1002
	tagEpoch         = 1003
	tagArch          = 1022
	tagSourceRPM     = 1044
	tagPayloadDigest = 5092
	tagPayloadAlgo   = 5093

	sigDSA = 267 // over the header: DSA, ECDSA or EdDSA
	sigRSA = 268 // over the header
	sigPGP = 1002
	sigGPG = 1005 // both over header and payload
)

// Types of header entries.
const (
	typeInt32       = 4
	typeString      = 6
	typeBinary      = 7
	typeStringArray = 8
	typeI18N        = 9
)

// Bounds of headers, those of rpm itself.
const (
	maxHeaderEntries = 64 << 10
	maxHeaderData    = 256 << 20 // bytes
	maxSigData       = 64 << 20
	leadSize         = 96
)

var (
	leadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01}
)

// header is one header of a package file.
type header struct {
	raw     []byte // as it stands in the file, which is what is signed
	entries map[uint32]headerEntry
	data    []byte
}

type headerEntry struct{ kind, offset, count uint32 }

// readHeader reads a header of at most max bytes of data.
func readHeader(r io.Reader, limit uint32) (*header, error) {
	intro := make([]byte, 16)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if !bytes.Equal(intro[:4], headerMagic) {
		return nil, errors.New("reading the header: it does not start as one")
	}
	count, size := binary.BigEndian.Uint32(intro[8:12]), binary.BigEndian.Uint32(intro[12:16])
	if count == 0 || count > maxHeaderEntries || size > limit {
		return nil, fmt.Errorf("reading the header: %d entries and %d bytes are out of bounds", count, size)
	}
	// The buffer grows with what comes, not with what the intro claims.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(count)*16+int64(size)); err != nil {
		return nil, fmt.Errorf("reading the header: %w", noEOF(err))
	}
	h := &header{raw: append(intro, body.Bytes()...), entries: map[uint32]headerEntry{}}
	table := body.Bytes()[:count*16]
	h.data = body.Bytes()[count*16:]
	for i := range count {
		e := table[i*16 : i*16+16]
		tag := binary.BigEndian.Uint32(e)
		entry := headerEntry{binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:])}
		if entry.offset > size || entry.count > size {
			return nil, fmt.Errorf("reading the header: tag %d lies outside of it", tag)
		}
		if _, twice := h.entries[tag]; twice {
			return nil, fmt.Errorf("reading the header: tag %d stands twice", tag)
		}
		h.entries[tag] = entry
	}
	return h, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// str is the first string of a tag, "" where there is none.
func (h *header) str(tag uint32) string {
	e, ok := h.entries[tag]
	if !ok || (e.kind != typeString && e.kind != typeStringArray && e.kind != typeI18N) {
		return ""
	}
	s, _, ok := bytes.Cut(h.data[e.offset:], []byte{0})
	if !ok {
		return ""
	}
	return string(s)
}

// number is the first number of a tag.
func (h *header) number(tag uint32) (uint32, bool) {
	e, ok := h.entries[tag]
	if !ok || e.kind != typeInt32 || e.count == 0 || int(e.offset)+4 > len(h.data) {
		return 0, false
	}
	return binary.BigEndian.Uint32(h.data[e.offset:]), true
}

// bytes are those of a binary tag, nil where there is none.
func (h *header) bytes(tag uint32) []byte {
	e, ok := h.entries[tag]
	if !ok || e.kind != typeBinary || int(e.offset)+int(e.count) > len(h.data) {
		return nil
	}
	return h.data[e.offset : e.offset+e.count]
}

// has tells whether a tag is there.
func (h *header) has(tag uint32) bool {
	_, ok := h.entries[tag]
	return ok
}
