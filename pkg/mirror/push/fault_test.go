package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// one is a bundle of one image with one layer of n bytes.
func one(t *testing.T, n int) *bundle {
	b := newBundle(t)
	b.add("quay.io/a/b:1", b.image("amd64", random(n, 1)), "")
	return b
}

// cut is a fault: the connection breaks after n bytes of the request.
func cut(n int64) fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		panic(http.ErrAbortHandler)
	}
}

// half is a fault: the registry gets n bytes of the body, then the connection
// breaks on both sides.
func half(n int64) fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r.Body, n), brokenReader{}), r.Body}
		return false
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestFaultsAreSurvived(t *testing.T) {
	tests := []struct {
		name   string
		n      int64
		match  func(*http.Request) bool
		strike fault
	}{
		{"overload", 4, func(*http.Request) bool { return true }, answerWith(429, "TOOMANYREQUESTS")},
		{"overload with Retry-After", 1, method("PUT", "manifests"), answerWith(429, "TOOMANYREQUESTS", "Retry-After", "1")},
		{"server error on the final PUT", 2, method("PUT", "blobs/uploads"), answerWith(500, "UNKNOWN")},
		{"gateway error on the manifest", 2, method("PUT", "manifests"), answerWith(502, "")},
		{"unavailable on HEAD", 3, method("HEAD", "blobs"), answerWith(503, "")},
		{"reset before an upload begins", 2, method("POST", "blobs/uploads"), cut(0)},
		{"reset in the middle of a chunk", 2, method("PATCH", "blobs/uploads"), cut(40_000)},
		{"reset in the middle of the last chunk", 2, method("PUT", "blobs/uploads"), cut(100)},
		{"half a chunk arrives", 1, method("PATCH", "blobs/uploads"), half(30_000)},
		{"session lost", 2, method("PATCH", "blobs/uploads"), answerWith(404, "BLOB_UPLOAD_UNKNOWN")},
		{"session lost at the end", 2, method("PUT", "blobs/uploads"), answerWith(404, "BLOB_UPLOAD_UNKNOWN")},
		{"another offset", 1, method("PATCH", "blobs/uploads"), answerWith(416, "")},
		{"blob unknown for a while", 2, method("PUT", "manifests"), answerWith(404, "MANIFEST_BLOB_UNKNOWN")},
		{"reset on the manifest", 1, method("PUT", "manifests"), cut(10)},
	}
	registries(t, func(t *testing.T, l *lab) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				l.heal()
				target := l.target()
				target.Base += "/" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-")
				target.Base = strings.ReplaceAll(target.Base, "_", "-")
				l.fail(tt.n, tt.match, tt.strike)
				var retries atomic.Int64
				p := plan(t, target, Options{ChunkSize: 100_000, OnRetry: func(RetryEvent) { retries.Add(1) }}, uniqueBundle(t, tt.name))
				push(t, p)
				if retries.Load() == 0 {
					t.Error("nothing was retried: the fault did not strike")
				}
			})
		}
	})
}

// uniqueBundle has content that no other test has: one of the registries keeps
// the blobs of all repositories together.
func uniqueBundle(t *testing.T, name string) *bundle {
	b := newBundle(t)
	b.add("quay.io/a/b:1", b.image(name, append([]byte(name), random(300_000, 1)...)), "")
	return b
}

func TestChunksResumeWhereTheyWere(t *testing.T) {
	l := newLab(t, distribution(t))
	l.fail(1, func(r *http.Request) bool {
		return r.Method == "PATCH" && strings.HasPrefix(r.Header.Get("Content-Range"), "200000-")
	}, cut(5000))
	var again atomic.Int64 // questions the registry could not answer yet
	push(t, plan(t, l.target(), Options{ChunkSize: 100_000, OnRetry: func(e RetryEvent) {
		if e.Op == "asking for upload" {
			again.Add(1)
		}
	}}, one(t, 450_000)))
	if posts := l.count("POST"); posts != 2 { // one for the config
		t.Errorf("%d uploads were begun, want that of the layer to go on", posts)
	}
	if patches, asked := l.count("PATCH"), l.count("GET", "/blobs/uploads/"); patches != 5 || int64(asked) != 1+again.Load() {
		t.Errorf("%d chunks, %d questions, %d of them again; want the broken one sent again and no other", patches, asked, again.Load())
	}
}

func TestLostSessionStartsAgain(t *testing.T) {
	l := newLab(t, distribution(t))
	var sent atomic.Int64
	l.fail(1, method("PATCH", ""), answerWith(500, "UNKNOWN"))
	l.fail(1, method("GET", "/blobs/uploads/"), answerWith(404, "BLOB_UPLOAD_UNKNOWN"))
	push(t, plan(t, l.target(), Options{ChunkSize: 100_000, OnBytes: func(n int64) { sent.Add(n) }}, one(t, 250_000)))
	if posts := l.count("POST"); posts != 3 {
		t.Errorf("%d uploads were begun, want the layer's twice", posts)
	}
	if n := sent.Load(); n < 250_000 || n > 251_000 {
		t.Errorf("reported %d bytes: what is sent twice counts once", n)
	}
}

func TestFinishedUploadIsNotRepeated(t *testing.T) {
	l := newLab(t, distribution(t))
	backend := l.Config.Handler
	var once sync.Once
	// The registry finishes the upload, its answer is lost.
	l.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" && strings.Contains(r.URL.Path, "blobs/uploads") && r.ContentLength > 200_000 {
			lost := false
			once.Do(func() { lost = true })
			if lost {
				backend.ServeHTTP(discard{http.Header{}}, r)
				panic(http.ErrAbortHandler)
			}
		}
		backend.ServeHTTP(w, r)
	})
	push(t, plan(t, l.target(), Options{}, one(t, 300_000)))
	if puts := l.count("PUT", "/blobs/uploads/"); puts != 2 {
		t.Errorf("%d uploads, want one of the layer and one of the config", puts)
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func TestFalseMountIsUploaded(t *testing.T) {
	l := newLab(t, distribution(t))
	b := newBundle(t)
	shared := random(1000, 1)
	b.add("quay.io/a/one:1", b.image("amd64", shared), "")
	b.add("quay.io/a/two:1", b.image("arm64", shared), "")
	l.fail(1, method("POST", "mount="), answerWith(201, ""))
	result := push(t, plan(t, l.target(), Options{ImageJobs: 1}, b))
	if result.Blobs.Uploaded != 4 || len(result.Pushed) != 2 {
		t.Errorf("result %+v", result.Blobs)
	}
}

func TestMountRefusedIsUploaded(t *testing.T) {
	for _, status := range []int{403, 404, 405} {
		l := newLab(t, distribution(t))
		b := newBundle(t)
		shared := random(1000, 1)
		for i := range 6 {
			b.add(fmt.Sprintf("quay.io/a/x%d:1", i), b.image(fmt.Sprint(i), shared), "")
		}
		l.fail(1<<30, method("POST", "mount="), answerWith(status, "DENIED"))
		push(t, plan(t, l.target(), Options{ImageJobs: 1}, b))
		if n := l.count("POST", "mount="); n != mountTries {
			t.Errorf("status %d: %d mounts were tried, want %d", status, n, mountTries)
		}
	}
}

func TestConcurrencyFallsAndGrowsBack(t *testing.T) {
	l := newLimiter(16)
	l.slower(0)
	l.slower(0) // at once: counts as the same complaint
	if l.limit != 8 {
		t.Errorf("limit %d, want 8", l.limit)
	}
	for range 3 * growAfter {
		l.calmer()
	}
	if l.limit != 11 {
		t.Errorf("limit %d, want 11", l.limit)
	}
	for range 100 * growAfter {
		l.calmer()
	}
	if l.limit != 16 {
		t.Errorf("limit %d, want 16", l.limit)
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "-1": 0, "soon": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		if got := retryAfter(value); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	in := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := retryAfter(in); got < 50*time.Second || got > time.Minute {
		t.Errorf("%q: %s", in, got)
	}
}

func TestDeadRegistryIsToldOfOnce(t *testing.T) {
	l := newLab(t, ggcr(t))
	target := l.target()
	l.Close()
	var retries atomic.Int64
	p := plan(t, target, Options{Attempts: 3, OnRetry: func(RetryEvent) { retries.Add(1) }}, small(t))
	_, err := p.Execute(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Side != SideDestination || retries.Load() != 2 {
		t.Errorf("%d retries, error %v", retries.Load(), err)
	}
}

func TestPermanentErrorsAreNotRetried(t *testing.T) {
	for _, status := range []int{400, 401, 403, 412} {
		l := newLab(t, ggcr(t))
		l.fail(1<<30, method("PUT", "manifests"), answerWith(status, "DENIED"))
		p := plan(t, l.target(), Options{}, one(t, 1000))
		_, err := p.Execute(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Side != SideDestination || e.Ref != "quay.io/a/b:1" || e.Repository != "quay.io/a/b" || e.Digest == "" {
			t.Errorf("status %d: error %v", status, err)
		}
		if n := l.count("PUT", "manifests"); n != 1 {
			t.Errorf("status %d: tried %d times", status, n)
		}
	}
}

func TestUploadIsNotSentToAnotherHost(t *testing.T) {
	l := newLab(t, ggcr(t))
	l.fail(1<<30, method("POST", "blobs/uploads"), answerWith(202, "", "Location", "http://elsewhere.invalid/upload?secret=1"))
	_, err := plan(t, l.target(), Options{}, one(t, 1000)).Execute(t.Context())
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "elsewhere.invalid") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestErrorsHoldNoUploadState(t *testing.T) {
	l := newLab(t, distribution(t))
	l.fail(1<<30, method("PUT", "blobs/uploads"), cut(10))
	_, err := plan(t, l.target(), Options{Attempts: 2}, one(t, 1000)).Execute(t.Context())
	if err == nil || strings.Contains(err.Error(), "_state") {
		t.Errorf("error %v", err)
	}
}

// tokens is a fault: requests need a bearer token, and each lasts for some
// requests only.
func tokens(lasts int64) (serve fault) {
	var current, used atomic.Int64
	current.Store(1)
	var refused sync.Map // the token that a request was refused with
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "robot" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprintf("t%d", current.Load())})
			return true
		}
		if used.Add(1)%lasts == 0 {
			current.Add(1)
		}
		var got int64
		_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer t%d", &got) // 0 for none
		// A busy machine may hold a request up until its second token is old as well.
		request := r.Method + r.URL.RequestURI() + r.Header.Get("Content-Range")
		before, again := refused.Load(request)
		if got > 0 && (got >= current.Load()-1 || again && got > before.(int64)) {
			r.Header.Del("Authorization")
			return false
		}
		refused.Store(request, got)
		w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=lab", "http://"+r.Host+"/token"))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestTokensExpireOnTheWay(t *testing.T) {
	registries(t, func(t *testing.T, l *lab) {
		l.fail(1<<30, func(*http.Request) bool { return true }, tokens(25))
		target := l.target()
		store := credentials.NewMemoryStore()
		if err := store.Put(t.Context(), target.Base, auth.Credential{Username: "robot", Password: "secret"}); err != nil {
			t.Fatal(err)
		}
		client, ok := target.Client.(*http.Client)
		if !ok {
			t.Fatal("another client")
		}
		target.Client = &auth.Client{Client: client, Cache: auth.NewCache(), Credential: credentials.Credential(store)}
		b := small(t)
		b.add("quay.io/large/one:1", b.image("amd64", random(1_000_000, 9)), "")
		push(t, plan(t, target, Options{ChunkSize: 100_000, Jobs: 4}, b))
		if n := l.count("/token"); n < 5 {
			t.Errorf("%d tokens were asked for: none ran out", n)
		}
	})
}

func FuzzTargetName(f *testing.F) {
	for _, ref := range []string{
		"registry.k8s.io/pause:3.10", "docker.io/debian:12", "localhost:5000/a/b:1", "[::1]:5000/a:1",
		"naru/files/etcd/etcdctl:3.5.24+x", "quay.io/a/b@sha256:" + strings.Repeat("a", 64), "a/../b:1", "/x:1", "A B/c:1",
	} {
		f.Add(ref)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		repository, tag, err := targetName("prefix", ref)
		if err != nil {
			return
		}
		if !strings.HasPrefix(repository, "prefix/") || strings.Contains(repository, "..") || strings.ContainsAny(repository, " :@%?#\\") {
			t.Fatalf("%q became %q", ref, repository)
		}
		if tag != "" && !tagRE.MatchString(tag) {
			t.Fatalf("%q became tag %q", ref, tag)
		}
	})
}
