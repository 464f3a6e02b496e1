package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDocument bounds every YAML document read, in bytes.
const maxDocument = 16 << 20

// SourceError is one mistake in a document, with its place.
type SourceError struct {
	File string
	// Line and Column count from 1; 0 where the place is the document itself.
	Line, Column int
	Msg          string
}

func (e *SourceError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// document is a parsed YAML file that still knows where each value stood.
type document struct {
	file string
	root *yaml.Node
	// at maps a value's path ("images[2].ref") to its node.
	at   map[string]*yaml.Node
	errs []error
}

// decodeYAML decodes one YAML document of the given kind strictly into out, a
// pointer to a struct. All mistakes are returned at once, joined, each a
// *SourceError; an apiVersion that this version does not read is a *VersionError.
// The document is returned for validation, also when there are mistakes.
func decodeYAML(file string, data []byte, kind string, out any) (*document, error) {
	doc := &document{file: file, at: map[string]*yaml.Node{}}
	if len(data) > maxDocument {
		doc.addf(nil, "document is larger than %d bytes", maxDocument)
		return doc, doc.err()
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		doc.addf(nil, "%v", err)
		return doc, doc.err()
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		doc.addf(nil, "more than one YAML document")
		return doc, doc.err()
	}
	doc.root = root.Content[0]
	if err := doc.checkHead(kind); err != nil {
		return doc, err
	}
	doc.check(doc.root, reflect.TypeOf(out).Elem(), "")
	if len(doc.errs) > 0 {
		return doc, doc.err()
	}
	if err := doc.root.Decode(out); err != nil {
		doc.addf(nil, "%v", err)
	}
	return doc, doc.err()
}

// checkHead refuses another kind or apiVersion before fields are looked at,
// since those of another version would only be noise.
func (d *document) checkHead(kind string) error {
	if d.root.Kind != yaml.MappingNode {
		d.addf(d.root, "want a mapping with apiVersion and kind")
		return d.err()
	}
	got := map[string]*yaml.Node{}
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		got[d.root.Content[i].Value] = d.root.Content[i+1]
	}
	if k := got["kind"]; k == nil {
		d.addf(d.root, "kind is missing, want %q", kind)
	} else if k.Value != kind {
		d.addf(k, "kind is %q, want %q", k.Value, kind)
	}
	v := got["apiVersion"]
	if v == nil {
		d.addf(d.root, "apiVersion is missing, want %q", APIVersion)
	} else if v.Value != APIVersion {
		return fmt.Errorf("%s:%d: %w", d.file, v.Line, &VersionError{Kind: kind, APIVersion: v.Value})
	}
	return d.err()
}

// check walks node and the Go type it will be decoded into side by side and
// notes unknown and repeated fields, wrong kinds, anchors and aliases.
func (d *document) check(node *yaml.Node, t reflect.Type, path string) {
	d.at[path] = node
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		d.addf(node, "anchors and aliases are not used in naru documents")
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Interface:
		d.checkFree(node, path)
	case reflect.Struct:
		d.checkStruct(node, t, path)
	case reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			d.addf(node, "%s: want a list", label(path))
			return
		}
		for i, item := range node.Content {
			d.check(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	case reflect.Map:
		if node.Kind != yaml.MappingNode {
			d.addf(node, "%s: want a mapping", label(path))
			return
		}
		d.eachField(node, func(key, value *yaml.Node) { d.check(value, t.Elem(), path+"."+key.Value) })
	default:
		if node.Kind != yaml.ScalarNode {
			d.addf(node, "%s: want a single value", label(path))
			return
		}
		if err := node.Decode(reflect.New(t).Interface()); err != nil {
			d.addf(node, "%s: %q is not a %s", label(path), node.Value, t.Kind())
		}
	}
}

// checkFree notes repeated fields, anchors and aliases below a value of any form.
func (d *document) checkFree(node *yaml.Node, path string) {
	free := reflect.TypeFor[any]()
	switch node.Kind {
	case yaml.MappingNode:
		d.eachField(node, func(key, value *yaml.Node) { d.check(value, free, path+"."+key.Value) })
	case yaml.SequenceNode:
		for i, item := range node.Content {
			d.check(item, free, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (d *document) checkStruct(node *yaml.Node, t reflect.Type, path string) {
	if node.Kind != yaml.MappingNode {
		d.addf(node, "%s: want a mapping", label(path))
		return
	}
	fields := structFields(t)
	d.eachField(node, func(key, value *yaml.Node) {
		ft, ok := fields[key.Value]
		if !ok {
			d.addf(key, "unknown field %q%s", key.Value, suggest(key.Value, mapKeys(fields)))
			return
		}
		child := key.Value
		if path != "" {
			child = path + "." + key.Value
		}
		d.check(value, ft, child)
	})
}

// eachField calls f for each key of a mapping and notes keys given twice.
func (d *document) eachField(node *yaml.Node, f func(key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if line, ok := seen[key.Value]; ok {
			d.addf(key, "field %q was given on line %d already", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		f(key, node.Content[i+1])
	}
}

// structFields maps the YAML names of t's fields to their types; inline structs
// are flattened.
func structFields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case opts == "inline":
			for k, v := range structFields(f.Type) {
				out[k] = v
			}
		case name != "" && name != "-":
			out[name] = f.Type
		}
	}
	return out
}

// errorf notes a mistake found by validation at path, or at the nearest parent
// that stands in the file.
func (d *document) errorf(path, format string, args ...any) {
	for p := path; ; p = parent(p) {
		if n, ok := d.at[p]; ok || p == "" {
			d.addf(n, format, args...)
			return
		}
	}
}

func (d *document) addf(n *yaml.Node, format string, args ...any) {
	e := &SourceError{File: d.file, Msg: fmt.Sprintf(format, args...)}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	d.errs = append(d.errs, e)
}

func (d *document) err() error { return errors.Join(d.errs...) }

// parent drops the last step of a path.
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

func label(path string) string {
	if path == "" {
		return "document"
	}
	return path
}
