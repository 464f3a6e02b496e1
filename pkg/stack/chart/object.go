package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"

	"naru/manifest"
)

// Object is one Kubernetes object, as rendered.
type Object struct {
	// Source is the template ("app/templates/web.yaml"), the file, or "inline".
	Source string
	// CRD says that it stands in a chart's crds folder, or is a definition itself.
	CRD bool
	// Hook says that Helm treats it as a hook.
	Hook    bool
	Content map[string]any
}

// Kind is that of the object, "" where it has none.
func (o Object) Kind() string { return text(o.Content["kind"]) }

// APIVersion is that of the object, "" where it has none.
func (o Object) APIVersion() string { return text(o.Content["apiVersion"]) }

// Name is that of the object, "" where it has none.
func (o Object) Name() string { return text(child(o.Content, "metadata")["name"]) }

// Namespace is that of the object, "" where it has none.
func (o Object) Namespace() string { return text(child(o.Content, "metadata")["namespace"]) }

// Group is the API group, "" for the core one.
func (o Object) Group() string {
	group, _, ok := strings.Cut(o.APIVersion(), "/")
	if !ok {
		return ""
	}
	return group
}

// String is "Kind namespace/name".
func (o Object) String() string {
	if ns := o.Namespace(); ns != "" {
		return o.Kind() + " " + ns + "/" + o.Name()
	}
	return o.Kind() + " " + o.Name()
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func child(m map[string]any, key string) map[string]any {
	c, _ := m[key].(map[string]any)
	return c
}

// ParseObjects reads YAML of any number of objects; a List gives its items.
func ParseObjects(source string, data []byte) ([]Object, error) {
	docs := releaseutil.SplitManifests(string(data))
	var out []Object
	keys := slices.Collect(maps.Keys(docs))
	slices.SortFunc(keys, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // manifest-2 before manifest-10
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(docs[key]), &content); err != nil {
			return nil, fmt.Errorf("parsing %q: %w", source, err)
		}
		if len(content) == 0 {
			continue // comments alone
		}
		o := Object{Source: source, Content: content}
		if o.Kind() == "" || o.APIVersion() == "" {
			return nil, fmt.Errorf("parsing %q: an object without apiVersion and kind", source)
		}
		out = append(out, o.flatten()...)
	}
	return out, nil
}

// flatten gives the items of a List, and the object itself otherwise.
func (o Object) flatten() []Object {
	items, isList := o.Content["items"].([]any)
	if !isList || !strings.HasSuffix(o.Kind(), "List") {
		o.CRD = o.Kind() == "CustomResourceDefinition"
		annotations := child(child(o.Content, "metadata"), "annotations")
		_, o.Hook = annotations["helm.sh/hook"]
		return []Object{o}
	}
	var out []Object
	for _, item := range items {
		if content, ok := item.(map[string]any); ok {
			out = append(out, Object{Source: o.Source, Content: content}.flatten()...)
		}
	}
	return out
}

// test tells a hook that only helm test runs, which naru never does.
func (o Object) test() bool {
	hooks := text(child(child(o.Content, "metadata"), "annotations")["helm.sh/hook"])
	if hooks == "" {
		return false
	}
	for _, h := range strings.Split(hooks, ",") {
		if h = strings.TrimSpace(h); h != "test" && h != "test-success" && h != "test-failure" {
			return false
		}
	}
	return true
}

// provides are the API versions that a CustomResourceDefinition brings, as
// "group/version" and "group/version/Kind".
func (o Object) provides() []string {
	if o.Kind() != "CustomResourceDefinition" {
		return nil
	}
	spec := child(o.Content, "spec")
	group, kind := text(spec["group"]), text(child(spec, "names")["kind"])
	var out []string
	versions, _ := spec["versions"].([]any)
	for _, v := range versions {
		m, _ := v.(map[string]any)
		if served, ok := m["served"].(bool); ok && !served {
			continue
		}
		if name := text(m["name"]); group != "" && name != "" {
			out = append(out, group+"/"+name, group+"/"+name+"/"+kind)
		}
	}
	return out
}

// Provides are the API versions that the CRDs among objects bring, sorted, each once.
func Provides(objects []Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.provides()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Matches tells whether a patch or a wait of this kind, name and namespace speaks of
// the object. kind may be qualified by its group; an empty namespace is any.
func (o Object) Matches(kind, name, namespace string) bool {
	k, group, qualified := strings.Cut(kind, ".")
	return o.Kind() == k && (!qualified || o.Group() == group) && o.Name() == name && (namespace == "" || o.Namespace() == namespace)
}

// Patch changes the objects that p names by its rendered patch, in place. A patch
// that finds nothing to change is an error: upstream has renamed something.
func Patch(objects []Object, p manifest.Patch, rendered string) error {
	var patch map[string]any
	if err := yaml.Unmarshal([]byte(rendered), &patch); err != nil {
		return fmt.Errorf("parsing the patch of %s %q: %w", p.Kind, p.Name, err)
	}
	found := false
	for _, o := range objects {
		if o.Matches(p.Kind, p.Name, p.Namespace) {
			merge(o.Content, patch)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("patching %s %q: no such object in the manifests", p.Kind, p.Name)
	}
	return nil
}

// merge is a JSON merge patch (RFC 7396) of objects.
func merge(target, patch map[string]any) {
	for key, value := range patch {
		sub, isMap := value.(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isMap:
			old, ok := target[key].(map[string]any)
			if !ok {
				old = map[string]any{}
				target[key] = old
			}
			merge(old, sub)
		default:
			target[key] = value
		}
	}
}

// JSON is the object's canonical JSON.
func (o Object) JSON() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(o.Content)
	return buf.Bytes(), err
}
