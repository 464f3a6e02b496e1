package overview

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"naru/manifest"
)

// Host is one that a build fetches from.
type Host struct {
	Name string `json:"name"`
	// For is what it has: images, charts, files, packages.
	For []string `json:"for"`
	// Components that need it, or distributions with "packages of" in front.
	Components []string `json:"components"`
	// Also are further hosts that it is known to send clients to: token services and
	// the stores behind it. They change without notice; a proxy's log tells of others.
	Also []string `json:"also,omitempty"`
}

// Hosts are all hosts that a build of the selection fetches from, sorted. lock may
// be nil; it knows where packaged charts lie.
func Hosts(sel *manifest.Selection, lock *manifest.Lock) []Host {
	c := collector{}
	for _, comp := range sel.Components {
		for _, img := range comp.Images {
			if ref, err := manifest.ParseReference(img.Ref); err == nil {
				c.add(ref.Host, "images", comp.ID)
			}
		}
		for _, ch := range comp.Charts {
			c.addURL(ch.Repository, "charts", comp.ID)
		}
		for _, f := range comp.Files {
			for _, s := range f.Sources {
				c.addURL(s.URL, "files", comp.ID)
			}
		}
		if lock != nil {
			for _, l := range lock.Charts {
				if l.Component == comp.ID {
					c.addURL(l.Source, "charts", comp.ID)
				}
			}
		}
	}
	for _, d := range sel.Distributions {
		if !slices.ContainsFunc(sel.Platforms, func(p string) bool { return len(sel.Roots(d.ID, p)) > 0 }) {
			continue
		}
		for _, s := range d.Sources {
			c.addURL(s.URL, "packages", "packages of "+d.ID)
		}
	}
	var out []Host
	for _, name := range slices.Sorted(maps.Keys(c)) {
		h := c[name]
		h.Also = behind(name)
		out = append(out, *h)
	}
	return out
}

type collector map[string]*Host

func (c collector) addURL(raw, what, component string) {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		c.add(u.Host, what, component)
	}
}

func (c collector) add(host, what, component string) {
	host = strings.ToLower(host)
	h := c[host]
	if h == nil {
		h = &Host{Name: host}
		c[host] = h
	}
	h.For = insert(h.For, what)
	h.Components = insert(h.Components, component)
}

// insert puts s into a sorted list, once.
func insert(list []string, s string) []string {
	if i, found := slices.BinarySearch(list, s); !found {
		return slices.Insert(list, i, s)
	}
	return list
}

// behind are hosts that a public service is known to send its clients to.
func behind(host string) []string {
	switch host {
	case "docker.io":
		return []string{"registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com", "*.r2.cloudflarestorage.com"}
	case "github.com":
		return []string{"release-assets.githubusercontent.com", "objects.githubusercontent.com", "codeload.github.com"}
	case "ghcr.io":
		return []string{"pkg-containers.githubusercontent.com"}
	case "quay.io":
		return []string{"*.quay.io"}
	case "registry.k8s.io":
		return []string{"*.pkg.dev", "*.s3.dualstack.*.amazonaws.com"}
	case "dl.k8s.io":
		return []string{"cdn.dl.k8s.io"}
	case "gcr.io":
		return []string{"storage.googleapis.com"}
	case "public.ecr.aws", "ecr-public.aws.com":
		return []string{"*.cloudfront.net"}
	case "docker.elastic.co":
		return []string{"docker-auth.elastic.co"}
	case "registry.gitlab.com":
		return []string{"gitlab.com", "cdn.registry.gitlab-static.net"}
	case "nvcr.io":
		return []string{"authn.nvidia.com"}
	}
	return nil
}
