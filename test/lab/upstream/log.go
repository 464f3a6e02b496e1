package upstream

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is one finished request.
type Request struct {
	Time   time.Time `json:"time"` // when it ended
	Method string    `json:"method"`
	// Path as the server's own address has it, that is, with the upstream host.
	Path   string `json:"path"`
	Range  string `json:"range,omitempty"` // the request's Range header
	Status int    `json:"status"`          // 0 when the connection was cut before an answer
	// Bytes of the body that were written; some may never have arrived.
	Bytes int64 `json:"bytes"`
	// Size of the whole object, 0 where the answer did not say.
	Size  int64  `json:"size,omitempty"`
	Fault string `json:"fault,omitempty"` // name of the fault that fired
}

// Object is what the request was about: the digest of a blob, for everything else
// the path.
func (r Request) Object() string {
	if p := parsePath(r.Path); p.kind == kindBlob {
		return p.ref
	}
	if d, ok := strings.CutPrefix(r.Path, blobsPath); ok {
		return d
	}
	return r.Path
}

// Complete says whether a GET handed out the whole object in one answer.
func (r Request) Complete() bool {
	return r.Method == http.MethodGet && r.Status == http.StatusOK && r.Size > 0 && r.Bytes == r.Size
}

// Total sums the successful GET requests for one object.
type Total struct {
	Requests int   `json:"requests"`
	Bytes    int64 `json:"bytes"`
	Size     int64 `json:"size"`
	// Complete counts the requests that handed out all of it.
	Complete int `json:"complete"`
}

func totals(requests []Request) map[string]Total {
	out := map[string]Total{}
	for _, r := range requests {
		if r.Method != http.MethodGet || (r.Status != http.StatusOK && r.Status != http.StatusPartialContent) {
			continue
		}
		t := out[r.Object()]
		t.Requests++
		t.Bytes += r.Bytes
		t.Size = max(t.Size, r.Size)
		if r.Complete() {
			t.Complete++
		}
		out[r.Object()] = t
	}
	return out
}

// Refetched returns the blobs and files, not manifests, that were handed out in
// whole more than once.
func Refetched(requests []Request) []string {
	var out []string
	for object, t := range totals(requests) {
		content := !strings.HasPrefix(object, "/") || strings.HasPrefix(object, filesPath)
		if content && t.Complete > 1 {
			out = append(out, object)
		}
	}
	slices.Sort(out)
	return out
}

type requestLog struct {
	mu       sync.Mutex
	requests []Request
}

func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = nil
}

// wrap records each request that next answers once it has ended.
func (l *requestLog) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, req: Request{Method: r.Method, Path: r.URL.Path, Range: r.Header.Get("Range")}}
		next.ServeHTTP(rec, r)
		if rec.req.Status == 0 && rec.req.Fault == "" {
			rec.req.Status = http.StatusOK // net/http answers so when the handler wrote nothing
		}
		rec.req.Time = time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.requests = append(l.requests, rec.req)
	})
}

// recorder notes what is answered.
type recorder struct {
	http.ResponseWriter
	req Request
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.req.Status == 0 {
		r.req.Status = status
		r.req.Size = objectSize(status, r.Header())
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.req.Status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	n, err := r.ResponseWriter.Write(p)
	r.req.Bytes += int64(n)
	return n, err
}

// ReadFrom keeps the way open for sendfile.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if r.req.Status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	n, err := io.Copy(r.ResponseWriter, src)
	r.req.Bytes += n
	return n, err
}

// objectSize reads the size of the whole object from the headers of an answer.
func objectSize(status int, h http.Header) int64 {
	s := h.Get("Content-Length")
	switch status {
	case http.StatusOK:
	case http.StatusPartialContent:
		_, s, _ = strings.Cut(h.Get("Content-Range"), "/")
	default:
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
