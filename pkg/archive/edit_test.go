package archive_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/manifest"
	"naru/pkg/archive/frame"
)

// edited is a volume taken apart so that a test can put it together again wrongly.
// It knows the format by itself, from docs/format.md: agreeing with the package is
// part of what the tests show.
type edited struct {
	entries []editedEntry
	count   int
	number  int
	bundle  digest.Digest

	pad    byte                                  // in the place of zero padding
	end    []byte                                // in the place of the two zero blocks
	toc    func([]editedLine) []editedLine       // changes toc.json
	noTOC  bool                                  // leaves toc.json out
	frames func([][]byte, []frame.Info) [][]byte // changes frames, not what the table says
	table  func([]frame.Info) []frame.Info       // changes the seek table
}

type editedEntry struct {
	name    string
	content []byte
	zstd    bool
	header  func(*tar.Header) // changes the header
	raw     []byte            // in the place of the header
}

type editedLine struct {
	Name  string `json:"name"`
	Frame int    `json:"frame"`
}

// takeApart reads a volume with the tools of the world.
func takeApart(t testing.TB, path string) *edited {
	t.Helper()
	plain, err := exec.Command("zstd", "-dc", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	v := &edited{}
	for r := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		v.entries = append(v.entries, editedEntry{name: h.Name, content: content, zstd: len(content) >= 16<<10 && content[0] < 0x80})
	}
	var doc struct {
		Bundle        digest.Digest
		Number, Count int
	}
	if err := json.Unmarshal(v.entries[0].content, &doc); err != nil {
		t.Fatal(err)
	}
	v.bundle, v.number, v.count = doc.Bundle, doc.Number, doc.Count
	v.entries = v.entries[:len(v.entries)-1] // toc.json is made anew
	return v
}

func (v *edited) find(prefix string) *editedEntry {
	for i := range v.entries {
		if strings.HasPrefix(v.entries[i].name, prefix) {
			return &v.entries[i]
		}
	}
	return nil
}

func (v *edited) index(prefix string) int {
	for i := range v.entries {
		if strings.HasPrefix(v.entries[i].name, prefix) {
			return i
		}
	}
	return -1
}

// bytes puts the volume together.
func (v *edited) bytes(t testing.TB) []byte {
	t.Helper()
	entries := append([]editedEntry(nil), v.entries...)
	lines, next := []editedLine{}, 0
	for _, e := range entries {
		lines = append(lines, editedLine{e.name, next})
		next += 1 + int(frame.Count(int64(len(e.content))))
	}
	if entries[0].name == "volume.json" {
		entries[0].content = fmt.Appendf(nil, `{"apiVersion":"naru/v1","kind":"Volume","bundle":%q,"number":%d,"count":%d,"toc":%d}`+"\n", v.bundle, v.number, v.count, next)
	}
	if v.toc != nil {
		lines = v.toc(lines)
	}
	toc, err := manifest.EncodeJSON(struct {
		APIVersion string       `json:"apiVersion"`
		Kind       string       `json:"kind"`
		Entries    []editedLine `json:"entries"`
	}{"naru/v1", "TOC", lines})
	if err != nil {
		t.Fatal(err)
	}
	if !v.noTOC {
		entries = append(entries, editedEntry{name: "toc.json", content: toc})
	}
	enc, err := frame.NewEncoder(1)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	var infos []frame.Info
	add := func(content []byte, compress bool) {
		data := frame.AppendRaw(nil, content)
		if compress {
			data = enc.Append(nil, content)
		}
		frames = append(frames, data)
		infos = append(infos, frame.Info{Size: uint32(len(data)), Content: uint32(len(content))})
	}
	var pad []byte
	for _, e := range entries {
		add(append(pad, v.header(t, e)...), false)
		for rest := e.content; len(rest) > 0; {
			n := min(len(rest), frame.MaxContent)
			add(rest[:n], e.zstd)
			rest = rest[n:]
		}
		pad = bytes.Repeat([]byte{v.pad}, -len(e.content)&511)
	}
	end := v.end
	if end == nil {
		end = make([]byte, 1024)
	}
	add(append(pad, end...), false)
	if v.frames != nil {
		frames = v.frames(frames, infos)
	}
	if v.table != nil {
		infos = v.table(infos)
	}
	return frame.AppendTable(bytes.Join(frames, nil), infos)
}

func (v *edited) header(t testing.TB, e editedEntry) []byte {
	t.Helper()
	if e.raw != nil {
		return e.raw
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: 0o644}
	if e.header != nil {
		e.header(h)
	}
	var buf bytes.Buffer
	if err := tar.NewWriter(&buf).WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// write puts the volume together in the place of the one at path.
func (v *edited) write(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, v.bytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
}
