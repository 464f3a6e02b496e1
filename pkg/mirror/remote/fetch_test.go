package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

func TestGetRanges(t *testing.T) {
	const content = "0123456789"
	part := func(contentRange, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				text(content)(w, r)
				return
			}
			say(http.StatusPartialContent, body, "Content-Range", contentRange)(w, r)
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
		offset  int64
		want    string
		at      int64
		size    int64
	}{
		{"whole", text(content), 0, content, 0, 10},
		{"rest", text(content), 4, "456789", 4, 10},
		{"range ignored", say(200, content), 4, content, 0, 10},
		{"size unknown", part("bytes 4-9/*", "456789"), 4, "456789", 4, -1},
		{"less than asked", part("bytes 4-5/10", "45"), 4, "45", 4, 10},
		{"another offset", part("bytes 3-9/10", "3456789"), 4, content, 0, 10},
		{"lying length", part("bytes 4-9/10", "45"), 4, content, 0, 10},
		{"no Content-Range", part("", "456789"), 4, content, 0, 10},
		{"other unit", part("chars 4-9/10", "456789"), 4, content, 0, 10},
		{"beyond the end", text(content), 11, content, 0, 10},
		{"at the end", text(content), 10, content, 0, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, tt.handler)
			got, at, size, err := read(t, newClient(t, Options{}), s.URL+"/f", tt.offset)
			if err != nil || got != tt.want || at != tt.at || size != tt.size {
				t.Errorf("got %q at %d of %d, error %v; want %q at %d of %d", got, at, size, err, tt.want, tt.at, tt.size)
			}
		})
	}
}

func TestPartialContentThatWasNotAskedForIsRefused(t *testing.T) {
	s := newServer(t, say(http.StatusPartialContent, "456", "Content-Range", "bytes 4-6/10"))
	for _, offset := range []int64{0, 2} {
		_, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f", offset)
		if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != http.StatusPartialContent {
			t.Errorf("offset %d: error %v", offset, err)
		}
	}
}

func TestContentIsTakenAsItIs(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		say(200, "\x1f\x8b no gzip at all", "Content-Encoding", "gzip")(w, r)
	})
	if got, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f", 0); err != nil || got != "\x1f\x8b no gzip at all" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestStatusError(t *testing.T) {
	s := newServer(t, say(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone\u001b[2J"}]}`, "Retry-After", "7"))
	_, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f?X-Signature=secret", 0)
	e, ok := errors.AsType[*StatusError](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	if e.Method != "GET" || e.URL != s.URL+"/f" || e.Status != 404 || e.Code != "MANIFEST_UNKNOWN" || e.Message != "gone [2J" || e.RetryAfter != 7*time.Second {
		t.Errorf("error %+v", e)
	}
	if response, ok := errors.AsType[*errcode.ErrorResponse](err); !ok || response.StatusCode != 404 {
		t.Error("no error of oras-go within")
	}
	if !errors.Is(err, errdef.ErrNotFound) || !IsNetwork(err) || IsTemporary(err) {
		t.Errorf("not found %t, network %t, temporary %t", errors.Is(err, errdef.ErrNotFound), IsNetwork(err), IsTemporary(err))
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{"truncated": broken(t, "abc"), "reset": reset(t, "abc")} {
		s := newServer(t, h)
		got, _, _, err := read(t, newClient(t, Options{}), s.URL+"/f?token=secret", 0)
		e, ok := errors.AsType[*BodyError](err)
		if !ok || e.Read != int64(len(got)) || !strings.HasPrefix("abc", got) || e.URL != s.URL+"/f" || e.Timeout() {
			t.Fatalf("%s: got %q, error %v", name, got, err)
		}
		if !IsTemporary(err) || !IsNetwork(err) || name == "truncated" && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestBodyThatStalls(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	defer close(release)
	begin := time.Now()
	got, _, _, err := read(t, newClient(t, Options{IdleTimeout: 100 * time.Millisecond}), s.URL+"/f", 0)
	if got != "abc" || !errors.Is(err, ErrStalled) || !IsTemporary(err) || !IsNetwork(err) {
		t.Errorf("got %q, error %v", got, err)
	}
	if e, ok := errors.AsType[*BodyError](err); !ok || !e.Timeout() {
		t.Errorf("error %v is no timeout", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestSlowBodyAndSlowReaderAreNoStall(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 6 {
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			<-time.After(50 * time.Millisecond)
		}
	})
	body, _, _, err := newClient(t, Options{IdleTimeout: 200 * time.Millisecond}).Get(t.Context(), s.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	<-time.After(500 * time.Millisecond) // the reader is at something else
	if got, err := io.ReadAll(body); err != nil || string(got) != "aaaaaa" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestAnswerThatDoesNotBegin(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, first(1, func(http.ResponseWriter, *http.Request) { <-release }, text("abc")))
	defer close(release)
	got, _, _, err := read(t, newClient(t, Options{ResponseTimeout: 100 * time.Millisecond}), s.URL+"/f", 0)
	if err != nil || got != "abc" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestUploadThatIsNotTaken(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := newClient(t, Options{IdleTimeout: 200 * time.Millisecond, ResponseTimeout: time.Minute})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.URL, io.LimitReader(zeros{}, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := c.Do(req); err == nil || !IsNetwork(err) {
		t.Errorf("answer %v, error %v", resp, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestCanceledBodyIsNotTemporary(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "abc")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	body, _, _, err := newClient(t, Options{}).Get(ctx, s.URL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = io.ReadAll(body)
	if !errors.Is(err, context.Canceled) || IsTemporary(err) || IsNetwork(err) {
		t.Errorf("error %v", err)
	}
}

// A server may end its answer because we hang up: then the end is none.
func TestEndOfARequestIsNotTheEndOfItsBody(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	b := &body{
		rc: io.NopCloser(strings.NewReader("abc")), cancel: cancel, cause: func() error { return context.Cause(ctx) },
		timer: time.NewTimer(time.Hour), idle: time.Hour,
	}
	cancel(ErrStalled)
	if got, err := io.ReadAll(b); !errors.Is(err, ErrStalled) || !IsTemporary(err) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-1/2", "bytes 5-9/*", "bytes */10", "bytes 9-5/10", "bytes 0-9/5", "bytes +1-2/3", "", "bytes 1-99999999999999999999/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, ok := parseContentRange(s)
		if ok && (first < 0 || last < first || total != -1 && total <= last) {
			t.Errorf("%q: %d-%d/%d", s, first, last, total)
		}
		if ok && strings.ContainsAny(s, "+") {
			t.Errorf("%q was read", s)
		}
	})
}
