package dossier

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// utf8BOM makes spreadsheet programs read Korean right.
const utf8BOM = "\xef\xbb\xbf"

// AssetsCSV is the list of everything that comes in, headings in lang.
func (d *Document) AssetsCSV(lang Lang) ([]byte, error) {
	t := lang.texts()
	rows := [][]string{{t["kind"], t["name"], t["version"], t["platform"], t["size"], "SHA-256", t["source"], t["maker"], t["license"], t["pinnedBy"], t["components"]}}
	for _, a := range d.Assets {
		rows = append(rows, []string{
			t.Kind(a.Kind), a.Name, a.Version, a.Platform, strconv.FormatInt(a.Size, 10), a.Digest.Encoded(),
			a.Source, a.Maker, a.License, t.Pinned(a.PinnedBy), strings.Join(a.Components, " "),
		})
	}
	return encodeCSV(rows)
}

// FindingsCSV is the list of everything that the scan found, headings in lang.
func (d *Document) FindingsCSV(lang Lang) ([]byte, error) {
	t := lang.texts()
	rows := [][]string{{t["severity"], "ID", t["class"], t["state"], t["package"], t["installed"], t["fixed"], t["artifact"], t["platform"], t["component"], t["title"], t["reason"]}}
	for _, f := range d.Scan.Findings {
		rows = append(rows, []string{
			string(f.Severity), f.ID, t.Class(f.Class), t.State(f.State), f.Package, f.Installed, f.Fixed, f.Artifact, f.Platform, f.Component, f.Title, f.Why,
		})
	}
	return encodeCSV(rows)
}

// encodeCSV writes RFC 4180 with a byte order mark. A cell that a spreadsheet
// program would take for a formula gets an apostrophe before it.
func encodeCSV(rows [][]string) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteString(utf8BOM)
	w := csv.NewWriter(&buf)
	w.UseCRLF = true
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
		if err := w.Write(row); err != nil {
			return nil, fmt.Errorf("encoding CSV: %w", err)
		}
	}
	w.Flush()
	return buf.Bytes(), w.Error()
}
