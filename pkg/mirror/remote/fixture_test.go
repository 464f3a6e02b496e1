package remote

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/credentials"
)

// server is a TLS server that notes what it was asked for.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func newServer(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(t.Context()))
		s.mu.Unlock()
		h(w, r)
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return s.Listener.Addr().String() }

func (s *server) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.seen...)
}

// caFile trusts the servers of httptest: all have one certificate.
func caFile(t *testing.T) string {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	name := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}
	if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// newClient is a client without waits that trusts the servers.
func newClient(t *testing.T, opts Options) *Client {
	t.Helper()
	opts.CAFiles = append(opts.CAFiles, caFile(t))
	if opts.Credentials == nil {
		opts.Credentials = credentials.NewMemoryStore()
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = time.Millisecond
	}
	c, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

// read reads a file through c.
func read(t *testing.T, c *Client, url string, offset int64) (data string, at, size int64, err error) {
	t.Helper()
	body, at, size, err := c.Get(t.Context(), url, offset)
	if err != nil {
		return "", 0, 0, err
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(body)
	return string(raw), at, size, err
}

// first answers the first n requests with h and the rest with then.
func first(n int, h, then http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n--
		strike := n >= 0
		mu.Unlock()
		if strike {
			h(w, r)
			return
		}
		then(w, r)
	}
}

// text answers with content, by range where asked.
func text(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
}

// say answers with a status, headers given in pairs, and a body.
func say(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// broken ends the connection, after some of a body of 100 bytes if there is any.
func broken(t *testing.T, body string) http.HandlerFunc {
	return cut(t, body, func(c net.Conn) { _ = c.Close() })
}

// reset does so with a TCP reset.
func reset(t *testing.T, body string) http.HandlerFunc {
	return cut(t, body, func(c net.Conn) {
		if secure, ok := c.(*tls.Conn); ok {
			c = secure.NetConn()
		}
		if tcp, ok := c.(*net.TCPConn); !ok || tcp.SetLinger(0) != nil {
			t.Errorf("cannot reset %T", c)
		}
		_ = c.Close()
	})
}

func cut(t *testing.T, body string, end func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn := hijack(t, w)
		if body != "" {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n%s", body)
		}
		end(conn)
	}
}

func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("hijacking: %v", err)
	}
	return conn
}
