package manifest

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Reference is a fully qualified image reference: host/repository with a tag, a
// digest, or both.
type Reference struct {
	// Host is the upstream registry as written ("docker.io", "localhost:5000").
	Host string
	// Repository is the path below the host ("library/debian").
	Repository string
	Tag        string
	Digest     digest.Digest
}

// ParseReference reads a fully qualified reference. A name without a registry
// host, or without tag and digest, is an error: naru never guesses a default.
func ParseReference(s string) (Reference, error) {
	named, err := reference.Parse(s)
	if err != nil {
		return Reference{}, fmt.Errorf("parsing image reference %q: %w", s, err)
	}
	n, ok := named.(reference.Named)
	if !ok {
		return Reference{}, fmt.Errorf("parsing image reference %q: no repository name", s)
	}
	r := Reference{Host: reference.Domain(n), Repository: reference.Path(n)}
	if !isHost(r.Host) {
		return Reference{}, fmt.Errorf("parsing image reference %q: no registry host (write docker.io/library/NAME:TAG for an image of Docker Hub)", s)
	}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	if r.Tag == "" && r.Digest == "" {
		return Reference{}, fmt.Errorf("parsing image reference %q: neither tag nor digest", s)
	}
	return r, nil
}

// isHost tells a registry host from the first element of a path, by the rule
// that every registry client follows.
func isHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:")
}

// Name is host/repository.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

// String is the reference as ParseReference reads it.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}
