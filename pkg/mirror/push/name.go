package push

import (
	"fmt"
	"regexp"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// tagRE is what tags look like, by the distribution specification.
var tagRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// parseBase reads "host[:port][/prefix]".
func parseBase(base string) (host, prefix string, err error) {
	host, prefix, _ = strings.Cut(strings.TrimSuffix(base, "/"), "/")
	ref := registry.Reference{Registry: host, Repository: strings.TrimPrefix(prefix+"/x", "/")}
	if err := ref.ValidateRegistry(); err != nil {
		return "", "", fmt.Errorf("parsing registry %q: %w", base, err)
	}
	if err := ref.ValidateRepository(); err != nil {
		return "", "", fmt.Errorf("parsing registry %q: %w", base, err)
	}
	return host, prefix, nil
}

// targetName maps a reference of the bundle to repository and tag below prefix.
// The tag is empty for a reference by digest alone.
func targetName(prefix, ref string) (repository, tag string, err error) {
	name, _, _ := strings.Cut(ref, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name, tag = name[:colon], strings.ReplaceAll(name[colon+1:], "+", "_")
		if !tagRE.MatchString(tag) {
			return "", "", fmt.Errorf("parsing reference %q: %q is no tag", ref, tag)
		}
	}
	host, path, ok := strings.Cut(name, "/")
	if !ok || host == "" {
		return "", "", fmt.Errorf("parsing reference %q: want host/repository:tag", ref)
	}
	host = hostElement(host)
	if host == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	repository = strings.TrimPrefix(prefix+"/"+host+"/"+path, "/")
	if err := (registry.Reference{Registry: "registry", Repository: repository}).ValidateRepository(); err != nil {
		return "", "", fmt.Errorf("parsing reference %q: %w", ref, err)
	}
	return repository, tag, nil
}

// Project is the first element of the repositories of what comes from an upstream
// host: in Harbor, the project.
func Project(host string) string { return hostElement(host) }

// hostElement spells an upstream host as an element of a repository name, the
// way pkg/serve does: lower case, "_" before the port.
func hostElement(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	if strings.HasPrefix(host, "[") {
		address, port, _ := strings.Cut(host[1:], "]")
		host = "ip6-" + strings.Trim(strings.ReplaceAll(address, ":", "-"), "-") + port
	}
	return strings.ReplaceAll(host, ":", "_")
}
