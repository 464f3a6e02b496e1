package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// copyBuffer is the size of the buffers between bundle and connection, in bytes.
const copyBuffer = 128 << 10

// Bounds on what clients can take up together: contents under way, which hold
// buffers of up to 4 MiB each, the wait for a place among them, and the parts of
// one request.
const (
	maxPlaces = 128
	placeWait = 20 * time.Second
	maxRanges = 16
)

// bodyGrace is how long what follows a refused request is read, so that the client
// sees the answer before the connection ends.
const bodyGrace = time.Second

// writeIdle is how long a client may take for one buffer before its connection is
// cut.
const writeIdle = 2 * time.Minute

// bodyError is content that failed while it was read.
type bodyError struct {
	digest digest.Digest
	err    error
}

func (e *bodyError) Error() string { return fmt.Sprintf("serving %s: %v", e.digest, e.err) }

func (e *bodyError) Unwrap() error { return e.err }

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// serveContent answers with content of the given digest and size: whole, a range,
// headers alone or 304, as [http.ServeContent] finds in the request. Headers that
// name the content are the caller's. The error is a *bodyError when content
// failed while it was read.
func (s *Server) serveContent(w *recorder, r *http.Request, d digest.Digest, size int64) (err error) {
	leave, err := s.enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Etag", etag(d))
	r = boundRanges(r)
	part := wantsPart(r, etag(d))
	if part {
		if err := s.verifyFirst(w, r, d); err != nil {
			return err
		}
	}
	rc, err := s.contents.open(r.Context(), d)
	if err != nil {
		return err
	}
	body := &lazyReader{ctx: r.Context(), src: rc, size: size}
	defer func() {
		if cerr := rc.Close(); cerr != nil && err == nil && body.pos == size {
			err = &bodyError{digest: d, err: cerr}
		}
	}()
	if r.Method == http.MethodGet && !part {
		if err := body.prime(); err != nil {
			return fmt.Errorf("serving %s: %w", d, err)
		}
	}
	// No Last-Modified: bundles have no time that changes whenever content does.
	http.ServeContent(w, r, "", time.Time{}, body)
	if body.err != nil {
		return &bodyError{digest: d, err: body.err}
	}
	return nil
}

// enter takes one of the places for content under way. It waits for one, since
// few clients come back after a refusal, but not for long.
func (s *Server) enter(ctx context.Context) (leave func(), err error) {
	timer := time.NewTimer(placeWait)
	defer timer.Stop()
	select {
	case s.places <- struct{}{}:
		return func() { <-s.places }, nil
	case <-timer.C:
		return nil, errBusy()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// boundRanges drops a Range header of many parts: then the whole is served, as
// the protocol allows.
func boundRanges(r *http.Request) *http.Request {
	if strings.Count(r.Header.Get("Range"), ",") < maxRanges {
		return r
	}
	whole := *r
	whole.Header = r.Header.Clone()
	whole.Header.Del("Range")
	return &whole
}

// verifyFirst makes sure of content that goes out in parts, as a part alone does
// not tell whether it is right. Hashing may take minutes: no deadline runs
// meanwhile.
func (s *Server) verifyFirst(w *recorder, r *http.Request, d digest.Digest) error {
	_ = w.control.SetWriteDeadline(time.Time{})
	err := s.verifier.verify(r.Context(), d)
	w.extend()
	return err
}

// lazyReader is content of a known size that seeks only when a read is due, so
// that a read from the start to the end stays the sequential one that content is
// verified by. It keeps the first error, which http.ServeContent would drop.
type lazyReader struct {
	ctx  context.Context
	src  io.ReadSeeker
	size int64
	// pos is where the next read is due, at where src stands.
	pos, at int64
	// head was read ahead from the start of src.
	head []byte
	err  error
}

// prime reads the first bytes, so that small damaged content is found out before
// the status is sent.
func (l *lazyReader) prime() error {
	buf := make([]byte, min(l.size, 4096))
	n, err := io.ReadFull(l.src, buf)
	l.head, l.at = buf[:n], int64(n)
	if err == nil && l.size == int64(n) {
		// The end tells whether what was read is what the digest says.
		if n, err = l.src.Read(make([]byte, 1)); n > 0 {
			return fmt.Errorf("content is longer than the %d bytes of its descriptor", l.size)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("content is shorter than the %d bytes of its descriptor", l.size)
	}
	return err
}

func (l *lazyReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += l.pos
	case io.SeekEnd:
		offset += l.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seeking to %d: before the start", offset)
	}
	l.pos = offset
	return offset, nil
}

func (l *lazyReader) Read(p []byte) (int, error) {
	n, err := l.read(p)
	if err != nil && !errors.Is(err, io.EOF) && l.err == nil {
		l.err = err
	}
	return n, err
}

func (l *lazyReader) read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.pos >= l.size {
		return 0, io.EOF
	}
	if l.pos < int64(len(l.head)) {
		n := copy(p, l.head[l.pos:])
		l.pos += int64(n)
		return n, nil
	}
	if l.at != l.pos {
		if _, err := l.src.Seek(l.pos, io.SeekStart); err != nil {
			return 0, err
		}
		l.at = l.pos
	}
	n, err := l.src.Read(p)
	l.at += int64(n)
	l.pos = l.at
	if errors.Is(err, io.EOF) && l.pos < l.size {
		return n, fmt.Errorf("content ends after %d of %d bytes: %w", l.pos, l.size, io.ErrUnexpectedEOF)
	}
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}

// recorder notes what was answered, and cuts clients that stop reading.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	buffers *sync.Pool // of *[]byte
	status  int
	bytes   int64
}

func (w *recorder) started() bool { return w.status != 0 }

// Unwrap is what [http.ResponseController] looks for.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if !w.started() {
		w.status = status
		if status >= http.StatusBadRequest {
			dropContentHeaders(w.Header())
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.started() {
		w.status = http.StatusOK
	}
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// extend gives the client until writeIdle from now.
func (w *recorder) extend() {
	// Writers without deadlines, as in tests, only lose the protection.
	_ = w.control.SetWriteDeadline(time.Now().Add(writeIdle))
}

// abandonBody bounds the wait for a body that nobody reads, and ends the connection
// after the answer. net/http would else wait for it without end.
func (w *recorder) abandonBody(r *http.Request) {
	_ = w.control.SetReadDeadline(time.Now().Add(bodyGrace)) // as in extend
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// ReadFrom copies in pooled buffers.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	buf, ok := w.buffers.Get().(*[]byte)
	if !ok {
		b := make([]byte, copyBuffer)
		buf = &b
	}
	defer w.buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, r, *buf)
}
