package chart

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"naru/manifest"
	"naru/pkg/stack/imageref"
)

// Hit is an image found in a rendered object.
type Hit struct {
	// Chart is the chart's name and version, "" for manifests.
	Chart string
	// Source is the template or file, Object "Kind namespace/name", Field the path in
	// it, "spec.template.spec.containers[0].image".
	Source, Object, Field string
	// Text is what stands there, Ref how that is read; a Ref without tag and digest
	// names a repository whose tag stands elsewhere.
	Text string
	Ref  manifest.Reference
	// ByPlace says that what stands there is an image whatever it looks like.
	ByPlace bool
}

// String says where the image was found.
func (h Hit) String() string {
	where := h.Source
	if h.Chart != "" {
		where = "chart " + h.Chart + ", template " + h.Source
	}
	return fmt.Sprintf("%s, %s, %s", where, h.Object, h.Field)
}

// Malformed is a container's image that cannot be read as a reference.
type Malformed struct{ Hit }

func (m *Malformed) Error() string {
	return fmt.Sprintf("reading the image %q of %s: no image reference", m.Text, m.Hit)
}

// Images finds the images in objects, in their order. A field that must hold an image
// and holds none is a *Malformed.
func Images(chart string, objects []Object) ([]Hit, error) {
	var out []Hit
	for _, o := range objects {
		f := &finder{hit: Hit{Chart: chart, Source: o.Source, Object: o.String()}}
		f.object(o)
		if f.err != nil {
			return nil, f.err
		}
		out = append(out, f.hits...)
	}
	return out, nil
}

// finder walks one object.
type finder struct {
	hit  Hit // what all hits of the object share
	hits []Hit
	err  error
	// depth counts documents inside strings.
	depth int
}

// maxDepth bounds how deep YAML is looked for inside YAML.
const maxDepth = 4

func (f *finder) object(o Object) {
	if o.CRD {
		f.defaults("", o.Content)
		return
	}
	for _, place := range places {
		if place.matches(o) {
			f.place(place, o.Content)
		}
	}
	if o.Kind() == "Secret" {
		f.secret(o.Content)
		return
	}
	f.walk("", "", o.Content)
}

// found notes a reference, once a field.
func (f *finder) found(field, text string, r manifest.Reference, byPlace bool) {
	h := f.hit
	h.Field, h.Text, h.Ref, h.ByPlace = field, text, r, byPlace
	for i, old := range f.hits {
		if old.Field == field && old.Ref.Name() == r.Name() && (old.Ref == r || old.ByPlace) {
			f.hits[i].ByPlace = old.ByPlace || byPlace
			return
		}
	}
	f.hits = append(f.hits, h)
}

// field takes a string that is an image by its place.
func (f *finder) field(path, s string) {
	if strings.TrimSpace(s) == "" {
		return // filled in by something else: an operator, an injector
	}
	r, ok := Normalize(s)
	if !ok {
		h := f.hit
		h.Field, h.Text, h.ByPlace = path, s, true
		f.err = &Malformed{h}
		return
	}
	f.found(path, s, r, true)
}

// walk looks at a value and everything in it; key is what it belongs to.
func (f *finder) walk(path, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		f.mapping(path, key, v)
	case []any:
		f.list(path, key, v)
	case string:
		f.text(path, key, v)
	}
}

// ignored are fields that hold no images but copies of other things.
var ignored = []string{"managedFields", "kubectl.kubernetes.io/last-applied-configuration", "labels", "matchLabels", "creationTimestamp"}

func (f *finder) mapping(path, key string, m map[string]any) {
	f.joined(path, key, m)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		at := join(path, k)
		switch list, isList := m[k].([]any); {
		case slices.Contains(ignored, k):
		case isList && (k == "containers" || k == "initContainers" || k == "ephemeralContainers"):
			f.containers(at, list)
		case k == "image" && key == "volumes[]" && child(m, k) != nil:
			f.field(at+".reference", text(child(m, k)["reference"]))
		default:
			f.walk(at, k, m[k])
		}
	}
	if name, value := text(m["name"]), text(m["value"]); name != "" && value != "" {
		f.text(join(path, "value"), name, value) // a variable of the environment
	}
}

// containers takes the images of a pod specification. A list of that name whose
// items are no containers is walked like any other.
func (f *finder) containers(path string, list []any) {
	for i, item := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		m, ok := item.(map[string]any)
		if !ok {
			f.walk(at, "", item)
			continue
		}
		image, isText := m["image"].(string)
		if _, named := m["name"]; isText && named {
			f.field(at+".image", image)
			m = maps.Clone(m)
			delete(m, "image")
		}
		f.mapping(at, "", m)
	}
}

func (f *finder) list(path, key string, list []any) {
	for i, item := range list {
		at, k := fmt.Sprintf("%s[%d]", path, i), key
		if key == "args" || key == "command" {
			k = flagBefore(list, i)
		}
		if key == "volumes" {
			k = "volumes[]"
		}
		f.walk(at, k, item)
	}
}

// flagBefore is the flag whose value the argument i is: "--image", "busybox:1".
func flagBefore(list []any, i int) string {
	if i > 0 {
		if flag := text(list[i-1]); strings.HasPrefix(flag, "-") && !strings.Contains(flag, "=") {
			return flag
		}
	}
	return ""
}

// text looks for references in a string.
func (f *finder) text(path, key, s string) {
	if len(s) < 3 || f.document(path, s) {
		return
	}
	if !strings.Contains(s, "\n") {
		f.line(path, key, s)
		return
	}
	for i, line := range strings.Split(s, "\n") {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "#") && !strings.HasPrefix(t, "//") {
			f.line(fmt.Sprintf("%s:%d", path, i+1), "", t)
		}
	}
}

// line looks at one line; "--flag=value", "key: value" and "key = value" give their
// key to the value.
func (f *finder) line(path, key, s string) {
	h := imageref.HintOf(key)
	if name, value, ok := assignment(s); ok && h == imageref.None {
		if imageref.HintOf(name) == imageref.Image {
			h, s = imageref.Image, value
		}
	}
	for _, r := range imageref.Find(s, h) {
		f.found(path, s, r, false)
	}
}

// assignment cuts a line into a key and the value it is given.
func assignment(s string) (key, value string, ok bool) {
	i := strings.IndexAny(s, "=:")
	if i <= 0 {
		return "", "", false
	}
	key = strings.Trim(strings.TrimSpace(s[:i]), `"'-`)
	if key == "" || strings.ContainsAny(key, " \t/") {
		return "", "", false
	}
	return key, strings.Trim(strings.TrimSpace(s[i+1:]), `"',`), true
}

// secret walks a Secret with its values decoded.
func (f *finder) secret(content map[string]any) {
	plain := maps.Clone(content)
	data := child(content, "data")
	decoded := map[string]any{}
	for k, v := range data {
		if raw, err := base64.StdEncoding.DecodeString(text(v)); err == nil && isText(raw) {
			decoded[k] = string(raw)
		}
	}
	plain["data"] = decoded
	f.walk("", "", plain)
}

func isText(data []byte) bool {
	return utf8.Valid(data) && !strings.ContainsFunc(string(data), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' })
}

func join(path, key string) string {
	if strings.ContainsAny(key, "./") {
		return path + "[" + key + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
