package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"

	"naru/manifest"
	"naru/pkg/stack/imageref"
)

// document walks a string that is itself YAML or JSON, and tells whether it was.
func (f *finder) document(path, s string) bool {
	if f.depth >= maxDepth || !looksLikeDocument(s) {
		return false
	}
	if t := strings.TrimSpace(s); t[0] == '[' && strings.Contains(t, "\n") && !json.Valid([]byte(t)) {
		return false // TOML and INI begin like a list, after which the YAML parser stops
	}
	var docs []any
	for _, part := range splitDocuments(s) {
		var v any
		if err := yaml.Unmarshal([]byte(part), &v); err != nil {
			return false
		}
		switch v.(type) {
		case map[string]any, []any:
			docs = append(docs, v)
		default:
			return false
		}
	}
	f.depth++
	for i, v := range docs {
		at := path
		if len(docs) > 1 {
			at = fmt.Sprintf("%s#%d", path, i)
		}
		f.walk(at, "", v)
	}
	f.depth--
	return len(docs) > 0
}

// looksLikeDocument spares the YAML parser the strings that cannot be one.
func looksLikeDocument(s string) bool {
	t := strings.TrimSpace(s)
	return strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") || strings.Contains(t, "\n") && strings.ContainsAny(t, ":-")
}

func splitDocuments(s string) []string {
	if !strings.Contains(s, "\n---") && !strings.HasPrefix(s, "---") {
		return []string{s}
	}
	docs := releaseutil.SplitManifests(s)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(docs)) {
		out = append(out, docs[key])
	}
	return out
}

// defaults walks a CustomResourceDefinition: of its schema only what objects are
// filled in with counts, not what descriptions give as examples.
func (f *finder) defaults(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			at := join(path, k)
			if k == "default" {
				key := path[strings.LastIndexByte(path, '.')+1:]
				f.walk(at, key, v[k])
				continue
			}
			f.defaults(at, v[k])
		}
	case []any:
		for i, item := range v {
			f.defaults(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
}

// joined takes references whose parts stand in fields of their own: repository with
// tag or digest, also under a common beginning ("trivy.repository", "trivy.tag"),
// and Istio's hub and tag with the names below them.
func (f *finder) joined(path, key string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		prefix, ok := cutSuffixFold(k, "repository")
		repository := text(m[k])
		if !ok || repository == "" {
			continue
		}
		if host := scalar(m[prefix+same(k, "registry")]); host != "" && imageref.ExplicitHost(repository) == "" {
			repository = host + "/" + repository
		}
		tag, digest := scalar(m[prefix+same(k, "tag")]), scalar(m[prefix+same(k, "digest")])
		if s := repository + suffix(":", tag) + suffix("@", digest); s != repository {
			f.part(join(path, k), s, imageref.HintOf(key) == imageref.Image || imageref.HintOf(prefix) == imageref.Image)
		}
	}
	if hub, tag := text(m["hub"]), scalar(m["tag"]); hub != "" && tag != "" {
		f.below(path, hub, tag, m)
	}
}

// below takes the images that Istio's injector names without hub and tag.
func (f *finder) below(path, hub, tag string, m map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if name := text(m[k]); k == "image" && name != "" && !strings.ContainsAny(name, "/:") {
			f.part(join(path, k), hub+"/"+name+":"+tag, true)
		}
		if sub := child(m, k); sub != nil {
			f.below(join(path, k), hub, tag, sub)
		}
	}
}

// part takes a reference that was put together.
func (f *finder) part(path, s string, image bool) {
	h := imageref.None
	if image {
		h = imageref.Image
	}
	if r, ok := imageref.Match(s, h); ok {
		f.found(path, s, r, false)
	}
}

// cutSuffixFold cuts a suffix in any case.
func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return "", false
	}
	return s[:len(s)-len(suffix)], true
}

// same spells word as k spells its last one: "imageRepository" has "imageTag".
func same(k, word string) string {
	if strings.HasSuffix(k, "Repository") {
		return strings.ToUpper(word[:1]) + word[1:]
	}
	if strings.HasSuffix(k, "REPOSITORY") {
		return strings.ToUpper(word)
	}
	return word
}

func suffix(separator, s string) string {
	if s == "" {
		return ""
	}
	return separator + s
}

// scalar is a string or number as text.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64, int64:
		return fmt.Sprint(v)
	}
	return ""
}

// place is a field of a custom resource that holds an image.
type place struct {
	// group is a suffix of the API group, kind may be empty for any.
	group, kind string
	// path leads to the image; "*" stands for every key or item.
	path []string
}

// places are the fields that look like less than a reference, or whose shorthand
// has to be read as one. Where a custom resource has a pod specification in it, that
// is found without being listed here: ARC's runner sets, Knative services, ECK's
// and KubeVirt's templates.
var places = []place{
	{"monitoring.coreos.com", "", []string{"spec", "image"}},
	{"monitoring.coreos.com", "Prometheus", []string{"spec", "thanos", "image"}},
	{"k8s.elastic.co", "", []string{"spec", "image"}},
	{"ceph.rook.io", "CephCluster", []string{"spec", "cephVersion", "image"}},
	{"kubevirt.io", "", []string{"spec", "template", "spec", "volumes", "*", "containerDisk", "image"}},
	{"kubevirt.io", "", []string{"spec", "volumes", "*", "containerDisk", "image"}},
	{"operator.knative.dev", "", []string{"spec", "registry", "override", "*"}},
	{"opentelemetry.io", "OpenTelemetryCollector", []string{"spec", "image"}},
	{"opentelemetry.io", "Instrumentation", []string{"spec", "*", "image"}},
	{"postgresql.cnpg.io", "Cluster", []string{"spec", "imageName"}},
	{"jaegertracing.io", "Jaeger", []string{"spec", "*", "image"}},
	{"operator.cluster.x-k8s.io", "", []string{"spec", "deployment", "containers", "*", "imageUrl"}},
}

func (p place) matches(o Object) bool {
	group := o.Group()
	return (p.kind == "" || p.kind == o.Kind()) && (group == p.group || strings.HasSuffix(group, "."+p.group))
}

// place takes the images at the end of p's path.
func (f *finder) place(p place, content map[string]any) {
	var follow func(at string, v any, rest []string)
	follow = func(at string, v any, rest []string) {
		if len(rest) == 0 {
			if s, ok := v.(string); ok {
				f.field(at, s)
			}
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				if k == rest[0] || rest[0] == "*" {
					follow(join(at, k), v[k], rest[1:])
				}
			}
		case []any:
			for i, item := range v {
				if rest[0] == "*" {
					follow(fmt.Sprintf("%s[%d]", at, i), item, rest[1:])
				}
			}
		}
	}
	follow("", content, p.path)
}

// Normalize reads an image as a container's field has it; see imageref.Normalize.
func Normalize(s string) (manifest.Reference, bool) { return imageref.Normalize(s) }

// Listed tells whether a reference that was found is the one that a component lists.
// Digests are for the caller, who knows what tags were pinned to.
func Listed(found, listed manifest.Reference) bool {
	if found.Name() != listed.Name() {
		return false
	}
	if found.Tag != "" && listed.Tag != "" {
		return found.Tag == listed.Tag
	}
	return true // by digest on one side, or without its tag
}
