package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/test/lab/upstream"
)

func TestStatusFaults(t *testing.T) {
	l := start(t, upstream.Options{})
	for _, status := range []int{429, 500, 502, 503} {
		l.inject(t, upstream.Fault{Kind: upstream.Status, Status: status, RetryAfter: upstream.Duration(1500 * time.Millisecond), When: upstream.When{Times: 1}})
		r := l.get(t, l.blobPath(), "")
		if r.status != status || r.header.Get("Retry-After") != "2" {
			t.Errorf("status %d, Retry-After %q; want %d and 2", r.status, r.header.Get("Retry-After"), status)
		}
		if r := l.get(t, l.blobPath(), ""); r.status != http.StatusOK || !bytes.Equal(r.body, l.blob) {
			t.Errorf("after the fault: status %d, %d bytes", r.status, len(r.body))
		}
	}
	before := time.Now()
	l.inject(t, upstream.Fault{Kind: upstream.Status, Status: 429, RetryAfter: upstream.Duration(5 * time.Second), RetryForm: upstream.RetryDate})
	at, err := http.ParseTime(l.get(t, tagPath, "").header.Get("Retry-After"))
	if err != nil || at.Before(before.Add(5*time.Second)) || at.After(before.Add(10*time.Second)) {
		t.Errorf("Retry-After is %v (%v), asked at %v", at, err, before)
	}
}

func TestConnectionFaults(t *testing.T) {
	l := start(t, upstream.Options{})
	for _, path := range []string{l.blobPath(), filePath} {
		t.Run("drop", func(t *testing.T) {
			defer l.ClearFaults()
			l.inject(t, upstream.Fault{Kind: upstream.Drop})
			if r := l.get(t, path, ""); r.err == nil || r.status != 0 {
				t.Errorf("status %d, error %v", r.status, r.err)
			}
		})
		t.Run("reset", func(t *testing.T) {
			defer l.ClearFaults()
			l.inject(t, upstream.Fault{Kind: upstream.Reset, After: 40_000})
			r := l.get(t, path, "")
			if !errors.Is(r.err, syscall.ECONNRESET) || len(r.body) > 40_000 {
				t.Errorf("%d bytes, error %v", len(r.body), r.err)
			}
		})
		t.Run("truncate", func(t *testing.T) {
			defer l.ClearFaults()
			l.inject(t, upstream.Fault{Kind: upstream.Truncate, After: 40_000})
			r := l.get(t, path, "")
			if !errors.Is(r.err, io.ErrUnexpectedEOF) || len(r.body) != 40_000 {
				t.Errorf("%d bytes, error %v", len(r.body), r.err)
			}
		})
		t.Run("short", func(t *testing.T) {
			defer l.ClearFaults()
			l.inject(t, upstream.Fault{Kind: upstream.Short, After: upstream.Middle})
			r := l.get(t, path, "bytes=0-999")
			if r.err != nil || len(r.body) != 500 {
				t.Errorf("%d bytes, error %v", len(r.body), r.err)
			}
		})
	}
}

func TestSlowFaults(t *testing.T) {
	l := start(t, upstream.Options{})
	elapsed := func(f upstream.Fault, path, rng string) (time.Duration, reply) {
		defer l.ClearFaults()
		l.inject(t, f)
		begin := time.Now()
		r := l.get(t, path, rng)
		return time.Since(begin), r
	}
	pause := upstream.Duration(300 * time.Millisecond)
	for _, f := range []upstream.Fault{
		{Kind: upstream.Delay, Delay: pause},
		{Kind: upstream.Stall, After: 10, Delay: pause},
		{Kind: upstream.Slow, Rate: 3000},
	} {
		d, r := elapsed(f, filePath, "bytes=0-999")
		if d < 250*time.Millisecond || r.err != nil || !bytes.Equal(r.body, l.file[:1000]) {
			t.Errorf("%s: %d bytes after %v, error %v", f.Kind, len(r.body), d, r.err)
		}
	}

	l.inject(t, upstream.Fault{Kind: upstream.Stall, After: 10})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r := l.do(ctx, http.MethodGet, filePath, ""); !errors.Is(r.err, context.DeadlineExceeded) || len(r.body) != 10 {
		t.Errorf("endless stall: %d bytes, error %v", len(r.body), r.err)
	}
}

func TestStalledReaderStopsNobodyElse(t *testing.T) {
	l := start(t, upstream.Options{})
	l.inject(t, upstream.Fault{Kind: upstream.Stall, After: 10, When: upstream.When{Times: 1}})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stalled := make(chan reply, 1)
	go func() { stalled <- l.do(ctx, http.MethodGet, tagPath, "") }()
	for l.Faults()[0].Fired == 0 {
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.SetTag("ghcr.io/lab/app", "v2", l.image.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if r := l.get(t, "/v2/ghcr.io/lab/app/manifests/v2", ""); r.status != http.StatusOK {
		t.Errorf("beside a stalled reader: status %d, error %v", r.status, r.err)
	}
	cancel()
	if r := <-stalled; !errors.Is(r.err, context.Canceled) {
		t.Errorf("stalled reader: %v", r.err)
	}
}

func TestCorruptFlipsTheSameByteInEveryRange(t *testing.T) {
	l := start(t, upstream.Options{})
	l.inject(t, upstream.Fault{Kind: upstream.Corrupt, After: 1000})
	want := bytes.Clone(l.blob)
	want[1000] ^= 1
	for rng, part := range map[string][]byte{"": want, "bytes=0-999": want[:1000], "bytes=900-1100": want[900:1101], "bytes=1001-": want[1001:]} {
		if r := l.get(t, l.blobPath(), rng); r.err != nil || !bytes.Equal(r.body, part) {
			t.Errorf("range %q is not what was expected (error %v)", rng, r.err)
		}
	}
	l.ClearFaults()
	l.inject(t, upstream.Fault{Kind: upstream.Corrupt, After: upstream.Middle, Match: upstream.Match{Path: "/manifests/"}})
	r := l.get(t, tagPath, "")
	if r.header.Get("Docker-Content-Digest") != l.image.Digest.String() || digest.FromBytes(r.body) == l.image.Digest {
		t.Errorf("manifest is as it was")
	}
}

func TestMovedTag(t *testing.T) {
	l := start(t, upstream.Options{})
	l.inject(t, upstream.Fault{Kind: upstream.MovedTag, Match: upstream.Match{Path: "/manifests/v1$"}})
	r := l.get(t, tagPath, "")
	moved := digest.FromBytes(r.body)
	if moved == l.image.Digest || r.header.Get("Docker-Content-Digest") != moved.String() {
		t.Fatalf("tag did not move: %s, header %s", moved, r.header.Get("Docker-Content-Digest"))
	}
	if byDigest := l.get(t, "/v2/ghcr.io/lab/app/manifests/"+moved.String(), ""); !bytes.Equal(byDigest.body, r.body) {
		t.Errorf("what the tag moved to cannot be pulled by digest: status %d", byDigest.status)
	}
	if old := l.get(t, "/v2/ghcr.io/lab/app/manifests/"+l.image.Digest.String(), ""); digest.FromBytes(old.body) != l.image.Digest {
		t.Errorf("the old digest cannot be pulled any more: status %d", old.status)
	}
}

func TestRangeFaults(t *testing.T) {
	l := start(t, upstream.Options{})
	l.inject(t, upstream.Fault{Kind: upstream.IgnoreRange, When: upstream.When{Times: 1}})
	l.inject(t, upstream.Fault{Kind: upstream.WrongRange, Shift: 5})
	if r := l.get(t, filePath, "bytes=10-19"); r.status != http.StatusOK || !bytes.Equal(r.body, l.file) {
		t.Errorf("ignored range: status %d, %d bytes", r.status, len(r.body))
	}
	r := l.get(t, filePath, "bytes=10-19")
	if got := r.header.Get("Content-Range"); r.status != http.StatusPartialContent || !strings.HasPrefix(got, "bytes 15-24/") || !bytes.Equal(r.body, l.file[10:20]) {
		t.Errorf("wrong range: status %d, Content-Range %q", r.status, got)
	}
	if r := l.get(t, filePath, ""); r.status != http.StatusOK {
		t.Errorf("a request without a range was touched: status %d", r.status)
	}
}

func TestWhen(t *testing.T) {
	l := start(t, upstream.Options{})
	pattern := func(n int, paths ...string) string {
		var b strings.Builder
		for range n {
			for _, p := range paths {
				if l.get(t, p, "bytes=0-0").status == http.StatusServiceUnavailable {
					b.WriteByte('x')
				} else {
					b.WriteByte('.')
				}
			}
		}
		l.ClearFaults()
		return b.String()
	}
	fail := upstream.Fault{Kind: upstream.Status, Status: 503}
	for _, c := range []struct {
		when upstream.When
		want string
	}{
		{upstream.When{}, "xxxxxx"},
		{upstream.When{Times: 2}, "xx...."},
		{upstream.When{Skip: 1, Times: 2}, ".xx..."},
		{upstream.When{Skip: 4}, "....xx"},
		{upstream.When{Times: 1, Per: upstream.PerPath}, "xx...."},
	} {
		fail.When = c.when
		l.inject(t, fail)
		if got := pattern(3, filePath, l.blobPath()); got != c.want {
			t.Errorf("%+v: %s, want %s", c.when, got, c.want)
		}
	}
	fail.When = upstream.When{Probability: 0.3, Seed: 7}
	l.inject(t, fail)
	first := pattern(100, filePath)
	l.inject(t, fail)
	if again := pattern(100, filePath); again != first {
		t.Errorf("the same seed gave\n%s\nand\n%s", first, again)
	}
	if n := strings.Count(first, "x"); n < 15 || n > 45 {
		t.Errorf("probability 0.3 fired %d times of 100", n)
	}
}

func TestBadFaults(t *testing.T) {
	l := start(t, upstream.Options{})
	for _, f := range []upstream.Fault{
		{Kind: "unheard-of"},
		{Kind: upstream.Status},
		{Kind: upstream.Slow},
		{Kind: upstream.Reset, After: -2},
		{Kind: upstream.Drop, Match: upstream.Match{Path: "("}},
		{Kind: upstream.Drop, When: upstream.When{Probability: 1.5}},
		{Kind: upstream.Drop, When: upstream.When{Per: "moon"}},
	} {
		if err := l.Inject(f); !errors.Is(err, upstream.ErrBadFault) {
			t.Errorf("injecting %+v: %v", f, err)
		}
	}
}
