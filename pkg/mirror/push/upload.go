package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// errSessionLost says that the registry no longer knows an upload; it is started
// again.
var errSessionLost = errors.New("the registry no longer knows the upload")

// uploader brings blobs into one registry.
type uploader struct {
	endpoint *endpoint
	source   source
	chunk    int64
	onBytes  func(int64)
}

// mount asks for a blob of another repository. When that is not to be had the
// session is where it may be uploaded instead; it may be nil.
func (u *uploader) mount(ctx context.Context, repository, from string, d digest.Digest) (mounted bool, session *session, err error) {
	ctx = u.endpoint.scoped(ctx, repository, from)
	err = u.endpoint.retry(ctx, "mounting blob", repository, d, func() error {
		start := u.endpoint.url(repository, "blobs", "uploads", "")
		start.RawQuery = url.Values{"mount": {d.String()}, "from": {from}}.Encode()
		resp, err := u.endpoint.request(ctx, http.MethodPost, start)
		if err != nil {
			return err
		}
		switch resp.StatusCode {
		case http.StatusCreated:
			mounted = true
			return nil
		case http.StatusAccepted:
			session, err = newSession(resp)
			return err
		}
		if err := resp.err(); retryable(err) {
			return err
		}
		return nil // refused: upload it
	})
	return mounted, session, err
}

// session is an upload that the registry has begun.
type session struct {
	location *url.URL
	// minChunk is the least size of a chunk, in bytes, that the registry takes.
	minChunk int64
	offset   int64
}

// newSession reads the answer that begins or continues an upload.
func newSession(resp *answer) (*session, error) {
	s := &session{}
	s.minChunk, _ = strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64)
	return s, s.move(resp)
}

// move follows the Location of an answer. Another host is refused: it would
// receive content, and perhaps credentials, that are not meant for it.
func (s *session) move(resp *answer) error {
	location, err := resp.Location()
	if err != nil {
		return fmt.Errorf("reading the location of an upload: %w", err)
	}
	asked := resp.Request.URL
	if location.Hostname() != asked.Hostname() {
		return fmt.Errorf("following an upload: the registry %q sends it to %q", asked.Host, location.Host)
	}
	if asked.Scheme == "https" && location.Scheme != "https" {
		return fmt.Errorf("following an upload: the registry %q sends it to plain HTTP", asked.Host)
	}
	if location.Port() == "" && asked.Port() != "" && location.Scheme == asked.Scheme {
		location.Host = asked.Host
	}
	s.location = location
	return nil
}

// upload brings a blob into a repository, over session when that is not nil.
// Sessions that break go on where the registry says they are, or start again.
func (u *uploader) upload(ctx context.Context, repository string, desc ocispec.Descriptor, s *session) error {
	ctx = u.endpoint.scoped(ctx, repository)
	t := &transfer{uploader: u, repository: repository, desc: desc, session: s}
	defer t.close()
	best := int64(0)
	failures := 0
	for {
		err := t.attempt(ctx)
		if err == nil {
			if rest := desc.Size - t.reported; rest > 0 {
				u.onBytes(rest) // sent again by the client below
			}
			return nil
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if t.session != nil && t.session.offset > best {
			best, failures = t.session.offset, 0
		}
		failures++
		if failures >= u.endpoint.attempts || !retryable(err) && !errors.Is(err, errSessionLost) {
			return destinationError("uploading blob", repository, desc.Digest, err)
		}
		u.endpoint.onRetry(RetryEvent{Op: "uploading blob", Repository: repository, Digest: desc.Digest, Attempt: failures, Err: err})
		if err := pause(ctx, backoff(failures)); err != nil {
			return destinationError("uploading blob", repository, desc.Digest, err)
		}
		held, err := t.resume(ctx)
		if err != nil {
			return err
		}
		if held {
			return nil
		}
	}
}

// transfer is one blob on its way into one repository.
type transfer struct {
	*uploader
	repository string
	desc       ocispec.Descriptor
	session    *session
	// content is open at position, nil when it is not open.
	content  io.ReadSeekCloser
	position int64
	// reported is how much of the blob onBytes was told of.
	reported int64
}

func (t *transfer) close() {
	if t.content != nil {
		_ = t.content.Close() // only read from
		t.content = nil
	}
}

// attempt sends what is left to send.
func (t *transfer) attempt(ctx context.Context) error {
	if t.session == nil {
		resp, err := t.endpoint.request(ctx, http.MethodPost, t.endpoint.url(t.repository, "blobs", "uploads", ""))
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusAccepted {
			return resp.err()
		}
		if t.session, err = newSession(resp); err != nil {
			t.session = nil
			return err
		}
	}
	chunk := max(t.chunk, t.session.minChunk)
	for t.desc.Size-t.session.offset > chunk {
		if err := t.patch(ctx, chunk); err != nil {
			return err
		}
	}
	return t.put(ctx)
}

// patch sends one chunk.
func (t *transfer) patch(ctx context.Context, n int64) error {
	resp, err := t.send(ctx, http.MethodPatch, t.session.location, n)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return sessionError(resp)
	}
	t.session.offset += n
	if resp.Header.Get("Location") == "" {
		return nil // by the specification there is one; without it the old one holds
	}
	return t.session.move(resp)
}

// put sends the rest, all of a small blob, and ends the upload.
func (t *transfer) put(ctx context.Context) error {
	location := *t.session.location
	query := location.Query()
	query.Set("digest", t.desc.Digest.String())
	location.RawQuery = query.Encode()
	resp, err := t.send(ctx, http.MethodPut, &location, t.desc.Size-t.session.offset)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return sessionError(resp)
	}
	return nil
}

// sessionError tells an upload that the registry forgot, or holds to be at
// another offset, from other refusals.
func sessionError(resp *answer) error {
	err := resp.err()
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable,
		hasCode(err, "BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"):
		return fmt.Errorf("%w: %w", errSessionLost, err)
	}
	return err
}

// resume finds out where a broken upload stands: done, at some offset, or gone,
// in which case the session is dropped. Only an error that ends the upload is
// returned.
func (t *transfer) resume(ctx context.Context) (held bool, err error) {
	if s := t.session; s != nil && t.desc.Size > t.chunk {
		var resp *answer
		// Only what the registry says ends a session: it may be about to come back.
		err := t.endpoint.retry(ctx, "asking for upload", t.repository, t.desc.Digest, func() (err error) {
			resp, err = t.endpoint.request(ctx, http.MethodGet, s.location)
			if err == nil && retryable(resp.err()) {
				err = resp.err()
			}
			return err
		})
		if err != nil {
			return false, err
		}
		if resp.StatusCode == http.StatusNoContent {
			offset, ok := parseRange(resp.Header.Get("Range"))
			if ok && offset <= t.desc.Size {
				s.offset = offset
				if resp.Header.Get("Location") == "" || s.move(resp) == nil {
					return false, nil
				}
			}
		}
	}
	// The registry may have finished what it could not tell us of.
	t.session = nil
	return t.endpoint.headBlob(ctx, t.repository, t.desc.Digest)
}

// parseRange is the offset after "0-<last>". The same "0-0" stands for nothing
// and for one byte in different registries: nothing is meant here, and a
// registry that disagrees answers 416.
func parseRange(value string) (offset int64, ok bool) {
	value = strings.TrimPrefix(value, "bytes=")
	first, last, ok := strings.Cut(value, "-")
	if !ok || first != "0" {
		return 0, false
	}
	n, err := strconv.ParseInt(last, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// send sends n bytes of the blob from the session's offset on.
func (t *transfer) send(ctx context.Context, method string, to *url.URL, n int64) (*answer, error) {
	offset := t.session.offset
	if t.content == nil {
		content, err := t.source.open(ctx, t.desc.Digest)
		if err != nil {
			return nil, err
		}
		t.content, t.position = content, 0
	}
	if t.position != offset {
		if _, err := t.content.Seek(offset, io.SeekStart); err != nil {
			return nil, t.sourceError(err)
		}
		t.position = offset
	}
	window := &body{src: t.content, left: n, onRead: func(n int) {
		t.position += int64(n)
		if fresh := t.position - t.reported; fresh > 0 {
			t.reported = t.position
			t.onBytes(fresh)
		}
	}}
	req, err := http.NewRequestWithContext(ctx, method, to.String(), window)
	if err != nil {
		return nil, err
	}
	req.ContentLength = n
	if n == 0 {
		req.Body = http.NoBody
	}
	replay := &replays{open: func() (io.ReadSeekCloser, error) { return t.source.open(ctx, t.desc.Digest) }, offset: offset, n: n}
	req.GetBody = replay.body
	req.Header.Set("Content-Type", "application/octet-stream")
	if offset > 0 || method == http.MethodPatch {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", offset, offset+n-1))
	}
	if n == 0 {
		req.Header.Del("Content-Range")
	}
	resp, err := t.endpoint.do(req)
	// From here on nothing reads from the content any more.
	if srcErr := errors.Join(window.detach(), replay.err()); srcErr != nil {
		return nil, t.sourceError(srcErr)
	}
	return resp, err
}

func (t *transfer) sourceError(err error) error {
	var e *Error
	if errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Op: "reading blob", Digest: t.desc.Digest, Side: SideSource, Err: err}
}

// body is a window on content that a transport reads. Transports may go on
// reading after they returned an answer; detach ends that. It is safe for
// concurrent use.
type body struct {
	onRead func(n int)

	mu     sync.Mutex
	src    io.Reader
	closer io.Closer // closed with the body; nil when the content lives on
	left   int64
	closed bool
	failed error
}

var errBodyClosed = errors.New("the request is over")

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errBodyClosed
	}
	if b.left <= 0 {
		return 0, io.EOF
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if n > 0 && b.onRead != nil {
		b.onRead(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
		if b.left > 0 {
			err = fmt.Errorf("content ends %d bytes early: %w", b.left, io.ErrUnexpectedEOF)
		}
	}
	if err != nil {
		b.failed = err
	}
	return n, err
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.closer != nil {
		return b.closer.Close()
	}
	return nil
}

// detach closes the body and returns the error of its source, if there was one.
func (b *body) detach() error {
	err := b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.failed, err)
}

// replays makes bodies for a client that sends a request again, each over
// content of its own.
type replays struct {
	open      func() (io.ReadSeekCloser, error)
	offset, n int64

	mu     sync.Mutex
	bodies []*body
}

func (r *replays) body() (io.ReadCloser, error) {
	if r.n == 0 {
		return http.NoBody, nil
	}
	content, err := r.open()
	if err != nil {
		return nil, err
	}
	if r.offset > 0 {
		if _, err := content.Seek(r.offset, io.SeekStart); err != nil {
			return nil, errors.Join(err, content.Close())
		}
	}
	b := &body{src: content, closer: content, left: r.n}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, b)
	return b, nil
}

// err closes all bodies and returns the errors of their sources.
func (r *replays) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, 0, len(r.bodies))
	for _, b := range r.bodies {
		errs = append(errs, b.detach())
	}
	return errors.Join(errs...)
}
