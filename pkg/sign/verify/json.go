package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// maxDepth is how deep a JSON document may nest; a sigstore bundle needs three.
const maxDepth = 8

// jsonObject is a JSON object that is read field by field, every field exactly
// once. encoding/json alone would take a field in any case, and the last of two.
type jsonObject struct {
	at     string // where it is in the document, for messages
	fields map[string]any
	read   []string
	root   *jsonProblems
	inner  []*jsonObject
}

// jsonProblems holds the first thing that was wrong with a document.
type jsonProblems struct{ first error }

func (p *jsonProblems) add(err error) {
	if p.first == nil {
		p.first = err
	}
}

// decodeObject reads one JSON object and nothing after it. A name that is there
// twice is an error.
func decodeObject(data []byte) (*jsonObject, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON document")
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return &jsonObject{at: "the document", fields: fields, root: &jsonProblems{}}, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return decodeFields(dec, depth)
	case json.Delim('['):
		var list []any
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	return tok, nil
}

func decodeFields(dec *json.Decoder, depth int) (map[string]any, error) {
	fields := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("field name %v is not a string", tok)
		}
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("field %q is there twice", name)
		}
		if fields[name], err = decodeValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return fields, err
}

// has tells whether there is a field, without reading it.
func (o *jsonObject) has(name string) bool {
	_, ok := o.fields[name]
	return ok
}

// object reads a field that must be an object.
func (o *jsonObject) object(name string) *jsonObject {
	fields, ok := o.take(name).(map[string]any)
	if !ok {
		o.root.add(fmt.Errorf("%q of %s is missing or not an object", name, o.at))
	}
	inner := &jsonObject{at: fmt.Sprintf("%q", name), fields: fields, root: o.root}
	o.inner = append(o.inner, inner)
	return inner
}

// text reads a field that must be a string.
func (o *jsonObject) text(name string) string {
	s, ok := o.take(name).(string)
	if !ok {
		o.root.add(fmt.Errorf("%q of %s is missing or not a string", name, o.at))
	}
	return s
}

// bytes reads a field that must be a string in canonical base64.
func (o *jsonObject) bytes(name string) []byte {
	raw, err := decodeBase64(o.text(name))
	if err != nil {
		o.root.add(fmt.Errorf("%q of %s: %w", name, o.at, err))
	}
	return raw
}

func (o *jsonObject) take(name string) any {
	o.read = append(o.read, name)
	return o.fields[name]
}

func (o *jsonObject) err() error { return o.root.first }

// done returns the first problem; a field that nobody read is one.
func (o *jsonObject) done() error {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		if !slices.Contains(o.read, name) {
			o.root.add(fmt.Errorf("unknown field %q in %s", name, o.at))
		}
	}
	for _, inner := range o.inner {
		_ = inner.done()
	}
	return o.root.first
}
