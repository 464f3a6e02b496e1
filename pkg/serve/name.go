package serve

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// What names, tags and hosts look like, by the distribution specification. A
// host may stand as the first element of a name.
var (
	elementRE = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	hostRE    = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?:[:_][0-9]{1,5})?$`)
	tagRE     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

const (
	maxName    = 255
	dockerHost = "docker.io"
)

// endpoint is what a path of the registry asks for.
type endpoint int

const (
	endpointBase endpoint = iota
	endpointCatalog
	endpointTags
	endpointManifest
	endpointBlob
	endpointReferrers
)

// route is a parsed path of the registry.
type route struct {
	endpoint endpoint
	// name is the repository as the catalog knows it, upstream host in front.
	name string
	// reference is a tag or digest.
	reference string
	// digest is set when reference is one.
	digest digest.Digest
	// ns is the upstream host of the query, in the catalog's spelling.
	ns string
}

// parseRoute reads a path under /v2/ and the ns of its query. The error is a
// *registryError.
func parseRoute(u *url.URL) (route, error) {
	escaped := strings.ToLower(u.EscapedPath())
	if strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") {
		return route{}, errNameInvalid(u.Path)
	}
	ns := u.Query().Get("ns")
	if ns != "" && (!hostRE.MatchString(ns) || len(ns) > maxName) {
		return route{}, errNameInvalid(ns)
	}
	r := route{ns: pathHost(ns)}
	rest, ok := strings.CutPrefix(u.Path, "/v2")
	switch {
	case !ok:
		return route{}, errNameInvalid(u.Path)
	case rest == "" || rest == "/":
		return r, nil
	case rest == "/_catalog":
		r.endpoint = endpointCatalog
		return r, nil
	}
	elements := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	n := len(elements)
	if n < 3 {
		return route{}, errNameInvalid(u.Path)
	}
	r.reference = elements[n-1]
	name, err := catalogName(strings.Join(elements[:n-2], "/"), ns)
	if err != nil {
		return route{}, err
	}
	r.name = name
	return r, r.parseReference(elements[n-2])
}

// parseReference sets the endpoint from the element before the last and checks
// the last.
func (r *route) parseReference(what string) error {
	switch what {
	case "tags":
		if r.reference != "list" {
			return errNameInvalid(r.name + "/tags/" + r.reference)
		}
		r.endpoint = endpointTags
		return nil
	case "manifests":
		r.endpoint = endpointManifest
		if !strings.Contains(r.reference, ":") {
			if !tagRE.MatchString(r.reference) {
				return errTagInvalid(r.reference)
			}
			return nil
		}
	case "blobs":
		r.endpoint = endpointBlob
	case "referrers":
		r.endpoint = endpointReferrers
	default:
		return errNameInvalid(r.name + "/" + what)
	}
	d, err := digest.Parse(r.reference)
	if err != nil {
		return errDigestInvalid(r.reference)
	}
	r.digest = d
	return nil
}

// catalogName is the catalog's spelling of a repository asked for under ns, which
// is empty when the upstream host stands in the name.
func catalogName(name, ns string) (string, error) {
	if len(name) > maxName || !validName(name, ns == "") {
		return "", errNameInvalid(name)
	}
	first, rest, _ := strings.Cut(name, "/")
	host := pathHost(ns)
	switch {
	case ns == "" || rest != "" && pathHost(first) == host:
		// A mirror with a path of its own repeats the host.
		host = pathHost(first)
	default:
		rest = name
	}
	if host == dockerHost && rest != "" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	if rest == "" {
		return host, nil
	}
	return host + "/" + rest, nil
}

func validName(name string, hostFirst bool) bool {
	for i, e := range strings.Split(name, "/") {
		if i == 0 && hostFirst && hostRE.MatchString(e) {
			continue
		}
		if !elementRE.MatchString(e) {
			return false
		}
	}
	return true
}

// pathHost spells an upstream host as the first element of a repository name:
// lower case, "_" before the port, one name for the Docker Hub.
func pathHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHost
	}
	if strings.HasPrefix(host, "[") {
		address, port, _ := strings.Cut(host[1:], "]")
		host = "ip6-" + strings.Trim(strings.ReplaceAll(address, ":", "-"), "-") + port
	}
	return strings.ReplaceAll(host, ":", "_")
}

// splitReference cuts the full reference of an index entry into the catalog's
// name and the tag, which is empty for a reference by digest alone.
func splitReference(ref string) (name, tag string, err error) {
	name, _, _ = strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, tag = name[:colon], name[colon+1:]
		// "+" is part of versions but not of tags.
		tag = strings.ReplaceAll(tag, "+", "_")
		if !tagRE.MatchString(tag) {
			return "", "", fmt.Errorf("parsing reference %q: %q is no tag", ref, tag)
		}
	}
	if !strings.Contains(name, "/") {
		return "", "", fmt.Errorf("parsing reference %q: want host/repository:tag", ref)
	}
	name, err = catalogName(name, "")
	if err != nil {
		return "", "", fmt.Errorf("parsing reference %q: %w", ref, err)
	}
	return name, tag, nil
}
