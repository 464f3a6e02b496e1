package archive

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"naru/pkg/archive/frame"
)

// location says where a blob lies.
type location struct {
	blob  Blob
	parts []place
}

// place is an entry that holds a blob or a part of it.
type place struct {
	vol   *volume
	entry entry
	start int64 // of the part in the blob, in bytes
}

// Ranks of entries in a volume; those of metadata files and blobs follow rankFiles
// in the order of contents.json.
const (
	rankVolume = iota
	rankBundle
	rankSignature
	rankContents
	rankFiles
)

// matcher compares the entries that volumes have with those that contents.json
// says they must have, in format v1's order, and collects every difference.
type matcher struct {
	contents *Contents
	ranks    map[string]int // of metadata files
	blobs    map[digest.Digest]int
	seen     map[string]bool // metadata files and parts of blobs, over all volumes
	parts    [][]place       // by blob
	of       []int           // number of parts that the names of a blob's entries state
	lastBlob int             // rank of the last one met
	sum      signatureSum
	problems []error
}

// match returns where each blob lies, given the entries of each volume, and
// everything that is wrong. With problems the map is not complete.
func match(c *Contents, vols []*volume, entries [][]entry) (map[digest.Digest]*location, []error) {
	m := &matcher{
		contents: c,
		ranks:    map[string]int{ContentsName: rankContents},
		blobs:    make(map[digest.Digest]int, len(c.Blobs)),
		seen:     map[string]bool{},
		parts:    make([][]place, len(c.Blobs)),
		of:       make([]int, len(c.Blobs)),
	}
	for i, e := range c.Entries {
		m.ranks[e.Name] = rankFiles + i
	}
	for i, b := range c.Blobs {
		m.blobs[b.Digest] = i
	}
	for i, v := range vols {
		m.volume(v, entries[i], i == 0, i == len(vols)-1)
	}
	for _, e := range c.Entries {
		if !m.seen[e.Name] {
			m.problem(vols[0], e.Name, ErrMissing)
		}
	}
	locations := make(map[digest.Digest]*location, len(c.Blobs))
	for i, b := range c.Blobs {
		if m.whole(b, i) {
			locations[b.Digest] = &location{blob: b, parts: m.parts[i]}
		}
	}
	return locations, m.problems
}

func (m *matcher) problem(v *volume, name string, err error) {
	path := ""
	if v != nil {
		path = v.path
	}
	m.problems = append(m.problems, &DamagedError{Volume: path, Entry: name, Err: err})
}

// volume goes over the entries of one volume.
func (m *matcher) volume(v *volume, entries []entry, first, last bool) {
	prev, signature := -1, ""
	fixed := map[string]bool{}
	var signatures []string
	for _, e := range entries {
		rank, err := m.entry(v, e, first, last)
		switch {
		case err != nil:
		case rank == m.rankSignatures() && prev == rank && e.name > signature:
		case rank < prev:
			err = ErrOrder
		case rank == prev:
			err = ErrDuplicate
		}
		if err != nil {
			m.problem(v, e.name, err)
			continue
		}
		if prev = rank; rank == m.rankSignatures() {
			signature = e.name
			signatures = append(signatures, e.name)
		}
		fixed[e.name] = true
	}
	if err := checkTree(signatures); err != nil {
		m.problem(v, signature, err)
	}
	names := []string{VolumeName, BundleName, SignatureName, TOCName}
	if first {
		names = append(names, ContentsName)
	}
	for _, name := range names {
		if !fixed[name] {
			m.problem(v, name, ErrMissing)
		}
	}
}

func (m *matcher) rankSignatures() int {
	return rankFiles + len(m.contents.Entries) + len(m.contents.Blobs)
}

// entry returns the rank of an entry, or what is wrong with its being there.
func (m *matcher) entry(v *volume, e entry, first, last bool) (int, error) {
	switch e.name {
	case VolumeName:
		return rankVolume, nil
	case BundleName:
		return rankBundle, sameSize(e, int64(len(v.bundle)))
	case SignatureName:
		return rankSignature, sameSize(e, int64(len(v.signature)))
	case TOCName:
		return m.rankSignatures() + 1, nil
	}
	if strings.HasPrefix(e.name, signaturePrefix) {
		if err := checkSignatureName(e.name); err != nil {
			return 0, err
		}
		if !last {
			return 0, fmt.Errorf("%w: only the last volume has signatures", ErrOrder)
		}
		return m.rankSignatures(), m.sum.add(e.size)
	}
	if d, k, n, ok := parseBlobName(e.name); ok {
		return m.part(v, e, d, k, n)
	}
	return m.file(v, e, first)
}

// file is entry for metadata files.
func (m *matcher) file(v *volume, e entry, first bool) (int, error) {
	rank, ok := m.ranks[e.name]
	if !ok {
		return 0, ErrUnknown
	}
	if !first {
		return 0, fmt.Errorf("%w: only the first volume has metadata", ErrOrder)
	}
	if m.seen[e.name] {
		return 0, ErrDuplicate
	}
	m.seen[e.name] = true
	if rank == rankContents {
		return rank, sameSize(e, int64(len(v.contents)))
	}
	return rank, sameSize(e, m.contents.Entries[rank-rankFiles].Size)
}

// part is entry for blobs and their parts.
func (m *matcher) part(v *volume, e entry, d digest.Digest, k, n int) (int, error) {
	i, ok := m.blobs[d]
	if !ok {
		return 0, ErrUnknown
	}
	if m.seen[e.name] {
		return 0, ErrDuplicate
	}
	m.seen[e.name] = true
	if i < m.lastBlob {
		return 0, ErrOrder
	}
	m.lastBlob = i
	parts := m.parts[i]
	var start int64
	if len(parts) > 0 {
		before := parts[len(parts)-1]
		start = before.start + before.entry.size
		if before.vol.doc.Number+1 != v.doc.Number {
			return 0, fmt.Errorf("%w: not at the start of the volume after the part before", ErrOrder)
		}
	}
	if k != len(parts)+1 || len(parts) > 0 && n != m.of[i] {
		return 0, fmt.Errorf("%w: part %d of %d met as number %d", ErrOrder, k, n, len(parts)+1)
	}
	if k < n && (e.size == 0 || e.size%frame.MaxContent != 0) {
		return 0, fmt.Errorf("%w: part of %d bytes", ErrOrder, e.size)
	}
	m.of[i] = n
	m.parts[i] = append(parts, place{vol: v, entry: e, start: start})
	return rankFiles + len(m.contents.Entries) + i, nil
}

// whole checks that all parts of a blob were met.
func (m *matcher) whole(b Blob, i int) bool {
	parts := m.parts[i]
	if len(parts) == 0 {
		m.problem(nil, blobName(b.Digest), ErrMissing)
		return false
	}
	last := parts[len(parts)-1]
	if len(parts) != m.of[i] {
		m.problem(last.vol, chunkName(b.Digest, len(parts)+1, m.of[i]), ErrMissing)
		return false
	}
	if size := last.start + last.entry.size; size != b.Size {
		m.problem(last.vol, last.entry.name, fmt.Errorf("%w: %d bytes in place of %d", ErrSize, size, b.Size))
		return false
	}
	return true
}

func sameSize(e entry, want int64) error {
	if e.size != want {
		return fmt.Errorf("%w: %d bytes in place of %d", ErrSize, e.size, want)
	}
	return nil
}
