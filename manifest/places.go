package manifest

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Places says where the values of a document stand, for whoever finds a mistake
// after it was decoded.
type Places struct{ doc *document }

// ReadPlaces reads the places of a YAML document that was decoded before. A document
// that cannot be read has none: everything is said of the file alone.
func ReadPlaces(file string, data []byte) *Places {
	p := &Places{&document{file: file, at: map[string]*yaml.Node{}}}
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&root); err == nil && len(root.Content) == 1 {
		p.note(root.Content[0], "")
	}
	return p
}

func (p *Places) note(n *yaml.Node, path string) {
	p.doc.at[path] = n
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			child := n.Content[i].Value
			if path != "" {
				child = path + "." + child
			}
			p.note(n.Content[i+1], child)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			p.note(item, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

// Errorf is a mistake at a value's path, "images[2].ref", or at the nearest parent
// that stands in the document.
func (p *Places) Errorf(path, format string, args ...any) *SourceError {
	p.doc.errs = nil
	p.doc.errorf(path, format, args...)
	var e *SourceError
	errors.As(p.doc.err(), &e) // errorf adds no other kind
	return e
}
