// Package imageref tells image references from what merely looks like one. The doc of
// package chart says by which rules.
package imageref

import (
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"naru/manifest"
)

// Hint says what is known about a string from the key, flag or variable that it
// belongs to.
type Hint int

// The hints.
const (
	// None: nothing; only a full reference counts.
	None Hint = iota
	// Image: it should name an image; shorthand counts.
	Image
)

// notAbout are words in a key beside "image" that make it speak of something else.
var notAbout = []string{"policy", "pullpolicy", "secret", "secrets", "pullsecret", "pullsecrets", "registry", "tag", "digest", "format", "size", "type", "pull", "gc", "repository"}

// wordRE finds the words of a key: "sidecarImage", "RELATED_IMAGE_X", "--base-image".
var wordRE = regexp.MustCompile(`[A-Z]+[a-z0-9]*|[a-z0-9]+`)

// HintOf reads a key, flag or variable name.
func HintOf(key string) Hint {
	h := None
	for _, word := range wordRE.FindAllString(key, -1) {
		word = strings.ToLower(word)
		rest, begins := strings.CutPrefix(word, "image")
		if slices.Contains(notAbout, word) || begins && slices.Contains(notAbout, rest) {
			return None
		}
		if begins || strings.HasSuffix(word, "image") || strings.HasSuffix(word, "images") {
			h = Image
		}
	}
	return h
}

// Normalize reads an image as a container's field has it, with Docker's shorthands:
// no host is docker.io, a single name is below library/, neither tag nor digest is
// "latest".
func Normalize(s string) (manifest.Reference, bool) {
	r, ok := normalize(s)
	if ok && r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, ok
}

// normalize is Normalize that leaves a missing tag missing.
func normalize(s string) (manifest.Reference, bool) {
	named, err := reference.ParseNormalizedNamed(strings.TrimSpace(s))
	if err != nil {
		return manifest.Reference{}, false
	}
	r := manifest.Reference{Host: strings.ToLower(reference.Domain(named)), Repository: reference.Path(named)}
	if r.Host != "localhost" && !strings.ContainsAny(r.Host, ".:") {
		return manifest.Reference{}, false // Docker takes "Upper/case" for a host
	}
	if r.Host == "index.docker.io" || r.Host == "registry-1.docker.io" {
		r.Host = "docker.io"
	}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	return r, true
}

// urlRE finds URLs, which are no references even where a part of them reads like one.
var urlRE = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\x60]*`)

// carriers are the schemes of URLs that stand before an image reference.
var carriers = []string{"docker://", "oci://", "docker-image://"}

// Find finds the image references in free text, in their order, each once.
func Find(text string, h Hint) []manifest.Reference {
	var out []manifest.Reference
	add := func(r manifest.Reference, ok bool) {
		if ok && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	text = urlRE.ReplaceAllStringFunc(text, func(u string) string {
		for _, scheme := range carriers {
			if rest, ok := strings.CutPrefix(u, scheme); ok {
				// Behind docker:// stands an image; behind oci:// it may be a chart.
				add(Match(trim(rest), None))
			}
		}
		return " "
	})
	tokens := strings.FieldsFunc(text, func(r rune) bool { return !isReferenceRune(r) })
	if h == Image && (len(tokens) != 1 || strings.TrimSpace(text) != tokens[0]) {
		h = None // a sentence or a list, not the name of one image
	}
	for _, t := range tokens {
		if h == None {
			t = trim(t)
		}
		add(Match(t, h))
	}
	return out
}

func isReferenceRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._:/@-~", r)
}

// trim takes punctuation off the end of a word in a sentence.
func trim(s string) string { return strings.TrimRight(s, ".:/-@") }

// Match tells whether one word is an image reference.
func Match(s string, h Hint) (manifest.Reference, bool) {
	if len(s) < 3 || len(s) > 512 || strings.ContainsRune("/.-:@~", rune(s[0])) || strings.ContainsRune(s, '~') {
		return manifest.Reference{}, false
	}
	r, ok := normalize(s)
	if !ok {
		return r, false
	}
	host := ExplicitHost(s)
	switch {
	case host == "" && h != Image, r.Tag == "" && r.Digest == "" && (h != Image || host == ""):
		return r, false
	case host == "":
		// name:8080 is a host with a port.
		return r, strings.Contains(s, "/") || !isPort(r.Tag)
	}
	return r, plausibleHost(r.Host) && plausiblePath(r)
}

// ExplicitHost is the registry host that stands in s, or "".
func ExplicitHost(s string) string {
	first, _, ok := strings.Cut(s, "/")
	if !ok || (first != "localhost" && !strings.ContainsAny(first, ".:")) {
		return ""
	}
	return first
}

func isPort(tag string) bool {
	return len(tag) >= 4 && strings.Trim(tag, "0123456789") == ""
}

// notRegistries are hosts that stand before the path of something else: source
// repositories and names of the Kubernetes API.
var notRegistries = []string{"github.com", "gitlab.com", "bitbucket.org", "golang.org", "go.dev", "gopkg.in", "go.uber.org", "sigs.k8s.io"}

// plausibleHost tells whether a name may be that of a registry.
func plausibleHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case net.ParseIP(name) != nil:
		return true
	case last == "" || strings.Trim(last, "0123456789") == "":
		return false // a version, "1.2.3/x"
	case slices.Contains(notRegistries, name):
		return false
	case name == "kubernetes.io" || strings.HasSuffix(name, ".kubernetes.io"):
		return false
	case strings.HasSuffix(name, ".k8s.io") && name != "registry.k8s.io":
		return false
	case last == "svc" || last == "local" || slices.Contains(labels, "svc"):
		return false // a service of the cluster
	}
	return true
}

// apiVersionRE is the path of "monitoring.coreos.com/v1:Prometheus".
var apiVersionRE = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)

// effects are those of taints: "example.com/gpu:NoSchedule".
var effects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

func plausiblePath(r manifest.Reference) bool {
	return !apiVersionRE.MatchString(r.Repository) && !slices.Contains(effects, r.Tag)
}
