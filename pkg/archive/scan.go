package archive

import (
	"context"
	"fmt"

	"naru/pkg/archive/frame"
)

// scan lists the entries by their headers, trusting nothing but what the seek table
// says of sizes, and checks the end of the tar.
func (v *volume) scan(ctx context.Context) ([]entry, error) {
	var entries []entry
	last := v.table.Len() - 1
	i, pad := 0, 0
	for i < last {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name, size, err := v.header(i, pad)
		if err != nil {
			return nil, v.damaged("", fmt.Errorf("reading the header in frame %d: %w", i, err))
		}
		if err := v.framesOf(i+1, last, size); err != nil {
			return nil, v.damaged(name, err)
		}
		entries = append(entries, entry{name: name, frame: i, size: size})
		i, pad = i+1+int(frame.Count(size)), padding(size)
	}
	if i != last {
		return nil, v.damaged("", fmt.Errorf("%w: no frame for the end of the tar", frame.ErrTable))
	}
	if err := v.checkEnd(pad); err != nil {
		return nil, v.damaged("", err)
	}
	return entries, nil
}

// checkEnd checks the last frame: padding and two zero blocks.
func (v *volume) checkEnd(pad int) error {
	rest, err := v.small(v.table.Len()-1, pad)
	if err == nil && len(rest) == tarEnd {
		rest, err = cutPadding(rest, tarEnd)
	}
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("the end of the tar: %w", errorOr(err, ErrHeader))
	}
	return nil
}

func errorOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// toc lists the entries by toc.json, of at most limit bytes. The headers are not
// read: what it says is checked against the seek table only, so that it may still
// lie about names.
func (v *volume) toc(limit int64, dec *frame.Decoder) ([]entry, error) {
	list, err := v.tocEntries(limit, dec)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(list))
	pad := 0
	for i, e := range list {
		end := v.table.Len() - 1
		if i+1 < len(list) {
			end = list[i+1].Frame
		}
		if i == 0 && e.Frame != 0 || end <= e.Frame || end > v.table.Len()-1 {
			return nil, fmt.Errorf("%q in frame %d: %w", e.Name, e.Frame, errTOC)
		}
		entries[i] = entry{name: e.Name, frame: e.Frame, size: v.content(e.Frame+1, end)}
		if err := v.framesOf(e.Frame+1, end, entries[i].size); err != nil {
			return nil, err
		}
		head, err := tarHeader(e.Name, entries[i].size)
		if err != nil {
			return nil, err
		}
		if _, _, content := v.table.Frame(e.Frame); content != pad+len(head) {
			return nil, fmt.Errorf("%q in frame %d: %w", e.Name, e.Frame, errTOC)
		}
		pad = padding(entries[i].size)
	}
	return entries, nil
}

// tocEntries reads toc.json, which volume.json says where to find, and adds it to
// what it lists.
func (v *volume) tocEntries(limit int64, dec *frame.Decoder) ([]tocEntry, error) {
	at, last := v.doc.TOC, v.table.Len()-1
	if at >= last {
		return nil, fmt.Errorf("header in frame %d: %w", at, errTOC)
	}
	data, err := v.data(entry{name: TOCName, frame: at, size: v.content(at+1, last)}, limit, dec)
	if err != nil {
		return nil, err
	}
	list, err := decodeTOC(data)
	if err != nil {
		return nil, err
	}
	if n := len(list); n == 0 || list[n-1].Frame >= at {
		return nil, errTOC
	}
	return append(list, tocEntry{Name: TOCName, Frame: at}), nil
}

// content is how much content frames first to before end hold.
func (v *volume) content(first, end int) int64 {
	var size int64
	for i := first; i < end; i++ {
		_, _, n := v.table.Frame(i)
		size += int64(n)
	}
	return size
}
