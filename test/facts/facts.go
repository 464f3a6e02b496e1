// Package facts holds what is known of the outside world: versions, addresses,
// digests and checksums of the systems that releases carry, each with the public
// file that it was read in.
//
// platform.yaml and apps.yaml were gathered before the releases were written and are
// kept as they came; extra.yaml has what was looked up while writing them. Releases
// are compared with these files, and a simulated internet is filled from them, so
// that neither is compared with itself.
package facts

import (
	"embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed *.yaml
var files embed.FS

// Kind of an artifact.
type Kind string

// Kinds of artifacts. A manifest is a file too.
const (
	Image Kind = "image"
	Chart Kind = "chart"
	File  Kind = "file"
)

// Artifact is one thing that upstream publishes.
type Artifact struct {
	Kind Kind
	// Component is the id of the fact's entry, which need not be that of a component.
	Component string
	// Ref is an image's reference; one that is known by digest alone ends with it.
	Ref string
	// Name, Version and Repository of a chart.
	Name, Version, Repository string
	// URL of a file, and of a packaged chart where it is known.
	URL string
	// SHA256 are 64 hex digits, or empty where no public file was found that says it.
	SHA256 string
	// Source is the public file that says SHA256.
	Source string
	// Proven tells that Source is upstream's own file or a fork of it, which is good
	// enough to pin; others are for comparison only.
	Proven bool
	// OCI tells an artifact in a registry that is no image: a scanner's database.
	OCI bool
	// MediaType is that of the layer of such an artifact, where it is known.
	MediaType string
	// Moving tells that upstream moves the name to other content.
	Moving bool
}

// entry is one element of the YAML files.
type entry struct {
	ID        string               `yaml:"id"`
	Sources   []string             `yaml:"sources"`
	Artifacts map[string]yaml.Node `yaml:"artifacts"`
}

// item is one artifact as the files spell it, both of them.
type item struct {
	Kind         string `yaml:"kind"`
	Ref          string `yaml:"ref"`
	MediaType    string `yaml:"mediaType"`
	Name         string `yaml:"name"`
	URL          string `yaml:"url"`
	Repo         string `yaml:"repo"`
	Version      string `yaml:"version"`
	ChartVersion string `yaml:"chart_version"`
	Digest       string `yaml:"digest"`
	DigestSource string `yaml:"digest_source"`
	Confidence   string `yaml:"digest_confidence"`
	SHA256       string `yaml:"sha256"`
	SHA256Source string `yaml:"sha256_source"`
	Source       string `yaml:"source"`
	Moving       bool   `yaml:"moving"`
	// Items and URLPattern are of lists of files with one pattern.
	Items      []string `yaml:"items"`
	URLPattern string   `yaml:"url_pattern"`
}

// All are the artifacts of all files.
func All() ([]Artifact, error) {
	var out []Artifact
	for _, name := range []string{"platform.yaml", "apps.yaml", "extra.yaml"} {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var entries []entry
		if err := yaml.Unmarshal(data, &entries); err != nil {
			return nil, fmt.Errorf("reading %q: %w", name, err)
		}
		for _, e := range entries {
			got, err := e.all()
			if err != nil {
				return nil, fmt.Errorf("reading %q of %q: %w", e.ID, name, err)
			}
			out = append(out, got...)
		}
	}
	return out, nil
}

func (e *entry) all() ([]Artifact, error) {
	var out []Artifact
	for _, kind := range []string{"images", "oci_artifacts", "charts", "binaries", "manifests", "other", "extra_files"} {
		node, ok := e.Artifacts[kind]
		if !ok {
			continue
		}
		var items []item
		if err := node.Decode(&items); err != nil {
			return nil, err
		}
		for _, i := range items {
			out = append(out, e.one(kind, i)...)
		}
	}
	return out, nil
}

// one is what an item says: an artifact, or several for a list with a pattern.
func (e *entry) one(kind string, i item) []Artifact {
	a := Artifact{Component: e.ID, Version: i.Version, Moving: i.Moving, SHA256: hexOnly(i.SHA256), Source: i.SHA256Source}
	switch {
	case i.URLPattern != "":
		return pattern(a, i)
	case kind == "charts":
		a.Kind, a.Name, a.Repository, a.URL = Chart, i.Name, i.Repo, i.URL
		if i.ChartVersion != "" {
			a.Version = i.ChartVersion
		}
		if a.Source == "" {
			a.Source = i.Source
		}
		if a.Source == "" && len(e.Sources) > 0 {
			a.Source = strings.Join(e.Sources, "; ")
		}
	case i.Ref != "" && (kind == "images" || kind == "oci_artifacts" || i.URL == ""):
		a.Kind, a.Ref, a.SHA256, a.Source = Image, i.Ref, hexOnly(i.Digest), i.DigestSource
		a.OCI, a.MediaType = kind == "oci_artifacts" || i.Kind == "oci-artifact", i.MediaType
		if last := a.Ref[strings.LastIndex(a.Ref, "/")+1:]; !strings.Contains(last, ":") && a.SHA256 != "" {
			a.Ref += "@sha256:" + a.SHA256
		}
	case i.URL != "":
		a.Kind, a.URL = File, i.URL
	default:
		return nil
	}
	a.Moving = a.Moving || moves(a.Ref)
	a.Proven = a.SHA256 != "" && proven(i.Confidence, a.Source)
	return []Artifact{a}
}

// pattern makes a file of every "name:version" of a list.
func pattern(a Artifact, i item) []Artifact {
	var out []Artifact
	for _, s := range i.Items {
		name, version, ok := strings.Cut(s, ":")
		if !ok {
			continue
		}
		b := a
		b.Kind, b.Version, b.SHA256 = File, version, ""
		b.URL = strings.NewReplacer("<id>", name, "<version>", version).Replace(i.URLPattern)
		out = append(out, b)
	}
	return out
}

// moves tells references whose content upstream replaces: Docker's official images
// are rebuilt under the same tag.
func moves(ref string) bool {
	return !strings.Contains(ref, "@") && (strings.Contains(ref, "/library/") || strings.HasSuffix(ref, ":latest"))
}

// proven tells a source that is good enough to pin: upstream's own file or a fork of
// it, named with its commit. Copies of third parties and single citations are not.
func proven(confidence, source string) bool {
	text := strings.ToLower(confidence + " " + source)
	for _, word := range []string{"third-party", "third party", "unconfirmed", "believed", "no guarantee", "copied in file id"} {
		if strings.Contains(text, word) {
			return false
		}
	}
	return source != ""
}

func hexOnly(s string) string {
	s = strings.TrimPrefix(s, "sha256:")
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}
	return s
}
