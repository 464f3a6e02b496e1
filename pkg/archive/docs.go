package archive

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// kindTOC is the kind of toc.json, which no other package reads.
const kindTOC = "TOC"

// volumeDoc is volume.json, the first entry of every volume. It is not signed:
// what it says is checked against bundle.json and the other volumes.
type volumeDoc struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Bundle     digest.Digest `json:"bundle"` // of bundle.json
	Number     int           `json:"number"` // from 1
	Count      int           `json:"count"`
	TOC        int           `json:"toc"` // frame that holds the header of toc.json
}

func decodeVolumeDoc(data []byte) (volumeDoc, error) {
	var v volumeDoc
	if err := decodeCanonical(data, manifest.KindVolume, &v); err != nil {
		return v, err
	}
	if err := checkDigest(v.Bundle); err != nil {
		return v, err
	}
	if v.Count < 1 || v.Count > maxVolumes || v.Number < 1 || v.Number > v.Count {
		return v, fmt.Errorf("volume %d of %d", v.Number, v.Count)
	}
	if v.TOC < 0 || v.TOC >= frame.MaxFrames {
		return v, fmt.Errorf("toc in frame %d", v.TOC)
	}
	return v, nil
}

// tocDoc is toc.json, the last entry of every volume: where the others start. It
// is not signed and only ever a hint.
type tocDoc struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Entries    []tocEntry `json:"entries"`
}

type tocEntry struct {
	Name  string `json:"name"`
	Frame int    `json:"frame"` // that holds the header of the entry
}

var errTOC = errors.New("frames out of order")

func decodeTOC(data []byte) ([]tocEntry, error) {
	var t tocDoc
	if err := decodeCanonical(data, kindTOC, &t); err != nil {
		return nil, err
	}
	next := 0
	for _, e := range t.Entries {
		if err := checkName(e.Name); err != nil {
			return nil, err
		}
		if e.Frame < next || e.Frame >= frame.MaxFrames {
			return nil, fmt.Errorf("%q in frame %d: %w", e.Name, e.Frame, errTOC)
		}
		next = e.Frame + 1
	}
	return t.Entries, nil
}
