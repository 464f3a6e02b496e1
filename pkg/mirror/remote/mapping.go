package remote

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// ErrMapping is wrapped by the errors of ParseMapping, and by those of New for
// mappings that contradict each other.
var ErrMapping = errors.New("want HOST=MIRROR[/PREFIX]")

// Mapping says that the content of a host, images or files, is fetched from
// elsewhere.
type Mapping struct {
	// Host is the upstream host, "docker.io" or "files.example:8443".
	Host string
	// Mirror is the host to speak to instead, Prefix the path that goes before
	// repositories and before paths of files; without slashes at its ends.
	Mirror, Prefix string
	// PlainHTTP speaks to the mirror without TLS.
	PlainHTTP bool
}

// ParseMapping reads HOST=MIRROR[/PREFIX]; MIRROR may begin with https:// or
// http://. Errors wrap ErrMapping; they do not repeat what may hold a password.
func ParseMapping(s string) (Mapping, error) {
	if strings.Contains(s, "@") {
		return Mapping{}, fmt.Errorf("parsing a mapping with an @ in it, credentials belong into the Docker config: %w", ErrMapping)
	}
	host, mirror, _ := strings.Cut(s, "=")
	m := Mapping{Host: normalHost(host)}
	scheme, rest, ok := strings.Cut(mirror, "://")
	if ok {
		mirror = rest
	}
	if ok && scheme != "https" && scheme != "http" {
		return Mapping{}, fmt.Errorf("parsing mapping %q: scheme %q: %w", s, scheme, ErrMapping)
	}
	m.PlainHTTP = ok && scheme == "http"
	m.Mirror, m.Prefix, _ = strings.Cut(mirror, "/")
	m.Mirror = strings.ToLower(m.Mirror)
	m.Prefix = strings.TrimSuffix(m.Prefix, "/")
	if err := m.check(); err != nil {
		return Mapping{}, fmt.Errorf("parsing mapping %q: %w", s, err)
	}
	return m, nil
}

// String is the mapping as ParseMapping reads it.
func (m Mapping) String() string {
	s := m.Host + "="
	if m.PlainHTTP {
		s += "http://"
	}
	s += m.Mirror
	if m.Prefix != "" {
		s += "/" + m.Prefix
	}
	return s
}

func (m Mapping) check() error {
	for _, h := range []string{m.Host, m.Mirror} {
		if !isHost(h) {
			return fmt.Errorf("%q is no host: %w", h, ErrMapping)
		}
	}
	if m.Prefix != "" && (path.Clean("/"+m.Prefix) != "/"+m.Prefix || strings.ContainsAny(m.Prefix, "?#%@: \\")) {
		return fmt.Errorf("%q is no path prefix: %w", m.Prefix, ErrMapping)
	}
	return nil
}

// isHost tells host[:port] from anything else.
func isHost(s string) bool {
	u, err := url.ParseRequestURI("dummy://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// dockerHub is the upstream name of Docker Hub, dockerHubHost where it is served.
const (
	dockerHub     = "docker.io"
	dockerHubHost = "registry-1.docker.io"
)

// normalHost is a host as tables here have it.
func normalHost(host string) string {
	host = strings.ToLower(host)
	if host == dockerHubHost || host == "index.docker.io" {
		return dockerHub
	}
	return host
}

// places knows where hosts are to be found.
type places struct {
	mirrors map[string]Mapping
	plain   map[string]bool
	// plainFiles are hosts of files that are given by http.
	plainFiles map[string]bool
}

func newPlaces(opts Options) (*places, error) {
	p := &places{mirrors: map[string]Mapping{}, plain: map[string]bool{}, plainFiles: map[string]bool{}}
	for _, m := range opts.Map {
		m.Host = normalHost(m.Host)
		if err := m.check(); err != nil {
			return nil, err
		}
		if old, ok := p.mirrors[m.Host]; ok && old != m {
			return nil, fmt.Errorf("host %q is mapped both to %q and to %q: %w", m.Host, old.Mirror, m.Mirror, ErrMapping)
		}
		p.mirrors[m.Host] = m
		if m.PlainHTTP {
			p.plain[normalHost(m.Mirror)] = true
		}
	}
	for _, h := range opts.PlainHTTP {
		p.plain[normalHost(h)] = true
	}
	for _, h := range opts.PlainFiles {
		p.plainFiles[normalHost(h)] = true
	}
	return p, nil
}

// isPlain tells whether host may be spoken to without TLS.
func (p *places) isPlain(host string) bool { return p.plain[normalHost(host)] }

// takesPlain tells whether a file may come from an http URL of host.
func (p *places) takesPlain(host string) bool {
	return p.isPlain(host) || p.plainFiles[normalHost(host)]
}

// registry is where a repository is to be found.
func (p *places) registry(upstream, repository string) (host, mapped string, plainHTTP bool) {
	host = normalHost(upstream)
	if host == dockerHub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	if m, ok := p.mirrors[host]; ok {
		host = m.Mirror
		if m.Prefix != "" {
			repository = m.Prefix + "/" + repository
		}
	}
	plainHTTP = p.isPlain(host)
	if host == dockerHub {
		host = dockerHubHost
	}
	return host, repository, plainHTTP
}

// file is where a file is to be found. What a URL has of credentials is not shown
// to a mirror.
func (p *places) file(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, with what it may hold of secrets.
		return nil, fmt.Errorf("parsing the URL of a file: %w", parseCause(err))
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("locating file %q: %w", redact(u), ErrURL)
	}
	m, ok := p.mirrors[normalHost(u.Host)]
	if !ok {
		if u.Scheme == "http" && !p.takesPlain(u.Host) {
			return nil, fmt.Errorf("locating file %q: %w", redact(u), ErrPlainHTTP)
		}
		return u, nil
	}
	mapped := *u
	mapped.User, mapped.Scheme, mapped.Host = nil, "https", m.Mirror
	if p.isPlain(m.Mirror) {
		mapped.Scheme = "http"
	}
	if m.Prefix != "" {
		mapped.Path = "/" + m.Prefix + u.Path
		if u.RawPath != "" {
			mapped.RawPath = "/" + m.Prefix + u.RawPath
		}
	}
	return &mapped, nil
}
