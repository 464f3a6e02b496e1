package harbor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"

	"naru/internal/sitepki"
)

// CAName is the file below a server's folder with what vouches for its certificate.
const CAName = "ca.crt"

// UnknownName is the file there with the requests that were not recorded, a line each.
const UnknownName = "unknown"

// Serve answers as the Harbor of URL at an address, for programs that no transport can
// be given: its API is replayed from path and ".yaml", or recorded there from the live
// Harbor that the environment names; /v2/ goes to a docker-registry, or to the live one.
// Of the exchanges that were recorded for a request the last is repeated: programs look
// again as often as they like. dir keeps CAName, UnknownName and the registry's content.
// It returns when ctx ends.
func Serve(ctx context.Context, address, path, dir string) (err error) {
	settings, recording, err := liveSettings()
	if err != nil {
		return err
	}
	s := &server{dir: dir}
	if recording {
		if s.exchange, err = open(path, settings, true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.exchange.vcr.Stop(), s.exchange.secrets.check(path+".yaml")) }()
	} else {
		if err := s.load(path); err != nil {
			return err
		}
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		registry, ended, err := startRegistry(rctx, dir)
		defer func() {
			cancel()
			if ended != nil {
				ended()
			}
		}()
		if err != nil {
			return err
		}
		s.registry = registry
	}
	return s.listen(ctx, address)
}

type server struct {
	dir      string
	exchange *Exchange // when it records
	registry *registry

	mu       sync.Mutex
	recorded []*cassette.Interaction
	used     map[int]bool
}

func (s *server) load(path string) error {
	c, err := cassette.Load(path)
	if err != nil {
		return fmt.Errorf("opening the recording %s: %w", path, err)
	}
	s.recorded, s.used = c.Interactions, map[int]bool{}
	return nil
}

// listen makes a certificate and serves.
func (s *server) listen(ctx context.Context, address string) error {
	ca, err := sitepki.New("lab", []string{host}, nil)
	if err != nil {
		return err
	}
	cert, key, err := ca.Issue("lab Harbor", []string{host})
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	if err := os.WriteFile(filepath.Join(s.dir, CAName), ca.PEM, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(ln, "", "") }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return srv.Close()
	}
}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	req := in.Clone(in.Context())
	req.RequestURI, req.Host = "", host
	req.URL.Scheme, req.URL.Host = "https", host
	resp, err := s.answer(req)
	if err != nil {
		s.note(req, err)
		http.Error(w, err.Error(), http.StatusNotImplemented)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // the client may be gone
}

func (s *server) answer(req *http.Request) (*http.Response, error) {
	if s.exchange != nil {
		return s.exchange.RoundTrip(req)
	}
	if isRegistry(req.URL) {
		return s.registry.RoundTrip(req)
	}
	i, err := s.next(req)
	if err != nil {
		return nil, err
	}
	return i.GetHTTPResponse()
}

// next is the first recorded exchange for a request that was not made yet, or the last.
func (s *server) next(req *http.Request) (*cassette.Interaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last *cassette.Interaction
	for n, i := range s.recorded {
		if !matches(req, i.Request) {
			continue
		}
		last = i
		if !s.used[n] {
			s.used[n] = true
			return i, nil
		}
	}
	if last == nil {
		return nil, fmt.Errorf("%s %s was not recorded", req.Method, req.URL.RequestURI())
	}
	return last, nil
}

func (s *server) note(req *http.Request, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ferr := os.OpenFile(filepath.Join(s.dir, UnknownName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if ferr != nil {
		return
	}
	_, _ = fmt.Fprintf(f, "%s %s: %v\n", req.Method, req.URL.RequestURI(), err) // it is answered too
	_ = f.Close()
}

// isRegistry tells requests of the registry protocol.
func isRegistry(u *url.URL) bool { return strings.HasPrefix(u.Path, "/v2/") }
