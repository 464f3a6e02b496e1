package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// Options configures a [Server].
type Options struct {
	// Contents are the bundles to serve, as one. Where two give the same tag or
	// file different content, the later one is served and the conflict noted.
	Contents []Content
	// Refused are bundles that are not among Contents and were to be: /bundles tells of
	// them, and /healthz how many they are.
	Refused []Refused
	// OnRequest, when set, is called after each request, from many goroutines.
	OnRequest func(Request)
	// OnReady, when set, is called by Serve once its certificate is there, before
	// the first connection is answered.
	OnReady func(net.Addr)
	// OnError, when set, is told of connections that failed outside a request,
	// such as TLS handshakes. It is called from many goroutines.
	OnError func(error)
}

// Request is one request that was answered.
type Request struct {
	Time     time.Time     `json:"time"`
	Remote   string        `json:"remote"`
	Method   string        `json:"method"`
	Path     string        `json:"path"`
	Query    string        `json:"query,omitempty"`
	Agent    string        `json:"agent,omitempty"`
	Status   int           `json:"status"`
	Bytes    int64         `json:"bytes"`
	Duration time.Duration `json:"durationNanoseconds"`
	// Err is why content could not be served whole; the connection was cut if
	// the status had gone out already.
	Err error `json:"-"`
}

// Server is an [http.Handler] over the content of bundles. It is safe for
// concurrent use and does not change after New.
type Server struct {
	opts     Options
	contents union
	catalog  *catalog
	verifier *verifier
	places   chan struct{} // taken by contents under way
	bundles  []bundleInfo
	buffers  sync.Pool // of *[]byte, for copies in flight
}

// New reads the manifests of all contents and returns the server. An entry that
// cannot be read or understood is a *ContentError: a bundle is served whole or not
// at all.
func New(ctx context.Context, opts Options) (*Server, error) {
	if len(opts.Contents) == 0 {
		return nil, errors.New("opening the depot: no bundles to serve")
	}
	s := &Server{opts: opts, contents: slices.Clone(opts.Contents), places: make(chan struct{}, maxPlaces)}
	var err error
	if s.catalog, err = newCatalog(ctx, s.contents); err != nil {
		return nil, fmt.Errorf("opening the depot: %w", err)
	}
	s.bundles = describe(s.contents)
	s.verifier = newVerifier(ctx, s.contents)
	return s, nil
}

// Conflicts lists the names to which the bundles give different content.
func (s *Server) Conflicts() []Conflict { return slices.Clone(s.catalog.conflicts) }

// Repositories lists the names of all repositories, sorted, upstream host in
// front.
func (s *Server) Repositories() []string { return slices.Clone(s.catalog.names) }

// Tag is a tag of the served union.
type Tag struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
}

// Tags lists every tag of every repository, sorted.
func (s *Server) Tags() []Tag {
	var tags []Tag
	for _, name := range s.catalog.names {
		repo := s.catalog.repos[name]
		for _, tag := range repo.sortedTags() {
			tags = append(tags, Tag{Repository: name, Tag: tag, Digest: repo.tags[tag]})
		}
	}
	return tags
}

// ServeHTTP answers one request. When content turns out damaged after the status
// went out, it cuts the connection, by [http.ErrAbortHandler], so that the client
// cannot take what it got for whole.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), buffers: &s.buffers}
	rec.extend()
	if r.ContentLength != 0 {
		rec.abandonBody(r)
	}
	err := s.route(rec, r)
	if err != nil && !rec.started() {
		writeError(rec, r, err)
	}
	if s.opts.OnRequest != nil {
		s.opts.OnRequest(Request{
			Time: start, Remote: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
			Agent: r.UserAgent(), Status: rec.status, Bytes: rec.bytes, Duration: time.Since(start), Err: cause(err),
		})
	}
	var broken *bodyError
	if errors.As(err, &broken) {
		panic(http.ErrAbortHandler) // net/http's one way to cut a response short
	}
}

// cause drops the errors that only tell a client that a name is unknown.
func cause(err error) error {
	var re *registryError
	if errors.As(err, &re) {
		return re.err
	}
	return err
}

// route hands the request to its handler. An error is answered by the caller
// unless the response has started.
func (s *Server) route(w *recorder, r *http.Request) error {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	path := r.URL.Path
	registry := path == "/v2" || strings.HasPrefix(path, "/v2/")
	if registry {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return errUnsupported(r.Method)
	}
	if r.ContentLength != 0 {
		return errBody()
	}
	switch {
	case registry:
		return s.serveRegistry(w, r)
	case path == "/files" || strings.HasPrefix(path, "/files/"):
		return s.serveTree(w, r, s.catalog.files)
	case path == "/charts" || strings.HasPrefix(path, "/charts/"):
		return s.serveCharts(w, r)
	case path == "/apt" || strings.HasPrefix(path, "/apt/"):
		return s.servePackages(w, r, s.catalog.apt)
	case path == "/yum" || strings.HasPrefix(path, "/yum/"):
		return s.servePackages(w, r, s.catalog.yum)
	case path == "/bundles":
		writeJSON(w, r, http.StatusOK, state{Bundles: s.bundles, Refused: append([]Refused{}, s.opts.Refused...), Conflicts: s.catalog.conflicts})
		return nil
	case path == "/healthz":
		writeJSON(w, r, http.StatusOK, healthOf(len(s.opts.Refused)))
		return nil
	}
	return &registryError{status: http.StatusNotFound, code: codeNameUnknown, message: fmt.Sprintf("there is nothing at %q", path)}
}
