package rpm

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ReadFilelists reads unpacked filelists.xml and calls found for every file whose
// path wanted holds, with the ID of its package. Memory does not grow with the file.
func ReadFilelists(r io.Reader, wanted map[string]bool, found func(id, path string)) error {
	f := filelist{wanted: wanted, found: found}
	d := xml.NewDecoder(r)
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			err = f.end()
			if err == nil {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("reading filelists.xml: %w", err)
		}
		f.take(token)
	}
}

// filelist is where a reader of filelists.xml stands.
type filelist struct {
	wanted map[string]bool
	found  func(id, path string)

	root, rootEnded bool
	id              string
	inFile          bool
	text            strings.Builder
}

func (f *filelist) take(token xml.Token) {
	switch t := token.(type) {
	case xml.StartElement:
		f.root = true
		f.inFile = t.Name.Local == "file"
		f.text.Reset()
		if t.Name.Local != "package" {
			return
		}
		f.id = ""
		for _, a := range t.Attr {
			if a.Name.Local == "pkgid" {
				f.id = a.Value
			}
		}
	case xml.CharData:
		if f.inFile {
			f.text.Write(t)
		}
	case xml.EndElement:
		if path := f.text.String(); f.inFile && f.wanted[path] {
			f.found(f.id, path)
		}
		f.inFile = false
		f.rootEnded = t.Name.Local == "filelists"
	}
}

// end tells a document that stops before its end.
func (f *filelist) end() error {
	if !f.root || !f.rootEnded {
		return io.ErrUnexpectedEOF
	}
	return nil
}
