package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"naru/pkg/archive/frame"
)

// file is n frames of one byte each with their table.
func file(infos ...frame.Info) []byte {
	var data []byte
	for _, i := range infos {
		data = append(data, make([]byte, i.Size)...)
	}
	return frame.AppendTable(data, infos)
}

func TestTable(t *testing.T) {
	infos := []frame.Info{{Size: 13, Content: 1}, {Size: 20, Content: 500}, {Size: frame.MaxSize, Content: frame.MaxContent}}
	data := file(infos...)
	table, err := frame.ReadTable(bytes.NewReader(data), int64(len(data)), frame.MaxFrames)
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() != len(infos) || table.End() != int64(len(data))-frame.TableSize(3) {
		t.Errorf("%d frames to %d", table.Len(), table.End())
	}
	var at int64
	for i, want := range infos {
		start, size, content := table.Frame(i)
		if start != at || size != int(want.Size) || content != int(want.Content) {
			t.Errorf("frame %d: %d %d %d", i, start, size, content)
		}
		at += int64(size)
	}
}

func TestTableRefuse(t *testing.T) {
	good := file(frame.Info{Size: 13, Content: 1}, frame.Info{Size: 14, Content: 2})
	edit := func(from int, with ...byte) []byte {
		data := append([]byte(nil), good...)
		copy(data[len(data)-from:], with)
		return data
	}
	for name, data := range map[string][]byte{
		"empty":            {},
		"cut at the end":   good[:len(good)-1],
		"cut at the start": good[1:],
		"magic":            edit(4, 0),
		"checksums":        edit(5, 0x80),
		"reserved":         edit(5, 0x04),
		"more frames":      edit(9, 3),
		"fewer frames":     edit(9, 1),
		"many frames":      edit(9, 0xff, 0xff, 0xff, 0xff),
		"skippable size":   edit(29, 24),
		"skippable magic":  edit(33, 0x5f),
		"frame too long":   edit(25, 14),
		"frame too short":  edit(25, 12),
		"no content":       edit(21, 0),
		"much content":     edit(21, 1, 0, 0x40, 0),
		"sizes overflow":   edit(25, 0xff, 0xff, 0xff, 0xff),
		"tiny frame":       file(frame.Info{Size: 9, Content: 1}),
		"long frame":       file(frame.Info{Size: 100, Content: 1}),
	} {
		if _, err := frame.ReadTable(bytes.NewReader(data), int64(len(data)), frame.MaxFrames); !errors.Is(err, frame.ErrTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := frame.ReadTable(bytes.NewReader(good), int64(len(good)), 1); !errors.Is(err, frame.ErrTable) {
		t.Errorf("more frames than the limit: %v", err)
	}
	if _, err := frame.ReadTable(bytes.NewReader(good), int64(len(good))+100, 10); err == nil {
		t.Error("a file shorter than it says is accepted")
	}
}

func FuzzTable(f *testing.F) {
	f.Add(file())
	f.Add(file(frame.Info{Size: 13, Content: 1}))
	f.Add(file(frame.Info{Size: 13, Content: 1}, frame.Info{Size: 20, Content: 500}))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := frame.ReadTable(bytes.NewReader(data), int64(len(data)), frame.MaxFrames)
		if err != nil {
			return
		}
		var infos []frame.Info
		var end int64
		for i := range table.Len() {
			start, size, content := table.Frame(i)
			if start != end || size < 1 || content < 1 || content > frame.MaxContent || size > frame.MaxSize {
				t.Fatalf("frame %d: %d %d %d", i, start, size, content)
			}
			end += int64(size)
			infos = append(infos, frame.Info{Size: uint32(size), Content: uint32(content)})
		}
		if end != table.End() || !bytes.Equal(frame.AppendTable(nil, infos), data[end:]) {
			t.Error("the table does not come out as it went in")
		}
		if n := binary.LittleEndian.Uint32(data[len(data)-9:]); int(n) != table.Len() {
			t.Errorf("%d frames, table says %d", table.Len(), n)
		}
	})
}
