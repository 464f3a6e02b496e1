package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"naru/pkg/mirror/store"
)

const blobSize = 1 << 20

// zero is how a source that knows no ranges answers.
func zero(int64) int64 { return 0 }

func TestIngestSurvives(t *testing.T) {
	good := content(1, blobSize)
	other := content(2, blobSize)
	tests := []struct {
		name    string
		script  []answer
		partial []byte // left by an earlier process
		unsized bool
		offsets []int64
	}{
		{name: "nothing wrong", offsets: []int64{0}},
		{name: "size unknown", unsized: true, offsets: []int64{0}},
		{name: "reset mid-body", script: []answer{{bytes: 1000, end: errReset}}, offsets: []int64{0, 1000}},
		{name: "reset mid-body, size unknown", unsized: true, script: []answer{{bytes: 1000, end: errReset}}, offsets: []int64{0, 1000}},
		{name: "truncation", script: []answer{{bytes: 7, end: io.ErrUnexpectedEOF}}, offsets: []int64{0, 7}},
		{name: "short body that ends properly", script: []answer{{bytes: 7}}, offsets: []int64{0, 7}},
		{name: "many resets", script: []answer{{bytes: 9, end: errReset}, {bytes: 9, end: errReset}, {bytes: 9, end: errReset},
			{bytes: 9, end: errReset}, {bytes: 9, end: errReset}, {bytes: 9, end: errReset}}, offsets: []int64{0, 9, 18, 27, 36, 45, 54}},
		{name: "temporary error", script: []answer{{err: temporaryError{}}, {err: io.ErrUnexpectedEOF}}, offsets: []int64{0, 0, 0}},
		{name: "reset after the last byte", script: []answer{{end: errReset}}, offsets: []int64{0}},
		{name: "range ignored", script: []answer{{bytes: 1000, end: errReset}, {at: zero}}, offsets: []int64{0, 1000}},
		{name: "range ignored and reset again", script: []answer{{bytes: 1000, end: errReset}, {at: zero, bytes: 900, end: errReset}}, offsets: []int64{0, 1000, 900}},
		{name: "another range", script: []answer{{bytes: 1000, end: errReset}, {at: func(o int64) int64 { return o + 1 }}}, offsets: []int64{0, 1000, 0}},
		{name: "an earlier range", script: []answer{{bytes: 1000, end: errReset}, {at: func(o int64) int64 { return o - 1 }}}, offsets: []int64{0, 1000, 0}},
		{name: "range refused", script: []answer{{bytes: 1000, end: errReset}, {err: errors.New("416")}}, offsets: []int64{0, 1000, 0}},
		{name: "content changes midway", script: []answer{{content: other, bytes: 1000, end: errReset}, {}}, offsets: []int64{0, 1000, 0}},
		{name: "resumed", partial: good[:500], offsets: []int64{500}},
		{name: "resumed whole", partial: good, offsets: nil},
		{name: "resumed, empty", partial: []byte{}, offsets: []int64{0}},
		{name: "resumed, too long", partial: append(bytes.Clone(good), 'x'), offsets: []int64{0}},
		{name: "resumed from other content", partial: other[:500], offsets: []int64{500, 0}},
		{name: "resumed from zeros after a power cut", partial: make([]byte, blobSize), offsets: []int64{0}},
		{name: "resumed whole, size unknown", partial: good, unsized: true, offsets: []int64{blobSize}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			src := &source{content: good, script: tt.script}
			want := src.expected()
			if tt.partial != nil {
				if err := os.WriteFile(partialPath(s, want.Digest), tt.partial, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.unsized {
				want.Size = -1
			}
			var told int64
			d, size, err := s.Ingest(t.Context(), want, src.fetch, func(n int64) { told += n })
			if err != nil {
				t.Fatal(err)
			}
			if d != want.Digest || size != blobSize {
				t.Errorf("got %s of %d bytes", d, size)
			}
			if !bytes.Equal(read(t, s, d), good) {
				t.Error("other content lies in the store")
			}
			if diff := cmp.Diff(tt.offsets, src.offsets); diff != "" {
				t.Errorf("offsets asked for (-want +got):\n%s", diff)
			}
			if told != blobSize && len(tt.partial) <= blobSize {
				t.Errorf("told of %d bytes, not %d", told, blobSize)
			}
			if !s.Fresh(d) {
				t.Error("not fresh")
			}
			if left := files(t, s, "ingest"); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestIngestRefuses(t *testing.T) {
	good := content(1, blobSize)
	other := content(2, blobSize)
	all := func(a answer) []answer { return []answer{a, a, a, a, a, a, a, a, a, a} }
	wanted := digest.FromBytes(good)
	tests := []struct {
		name    string
		script  []answer
		unsized bool
		got     digest.Digest
		gotSize int64
		offsets []int64
	}{
		{name: "other content", script: all(answer{content: other}), got: digest.FromBytes(other), gotSize: blobSize, offsets: []int64{0}},
		{name: "other content in pieces", script: append([]answer{{content: other, bytes: 10, end: errReset}}, all(answer{content: other})...),
			got: digest.FromBytes(other), gotSize: blobSize, offsets: []int64{0, 10, 0}},
		{name: "shorter", script: all(answer{content: good[:100]}), got: digest.FromBytes(good[:100]), gotSize: 100,
			offsets: []int64{0, 100, 100, 100, 100, 0, 100, 100, 100, 100}},
		{name: "shorter, size unknown", unsized: true, script: all(answer{content: good[:100]}), got: digest.FromBytes(good[:100]), gotSize: 100, offsets: []int64{0}},
		{name: "longer", script: all(answer{content: append(bytes.Clone(good), 'x')}), got: digest.FromBytes(append(bytes.Clone(good), 'x')), gotSize: blobSize + 1, offsets: []int64{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			src := &source{content: good, script: tt.script}
			want := src.expected()
			if tt.unsized {
				want.Size = -1
			}
			_, _, err := s.Ingest(t.Context(), want, src.fetch, nil)
			var got *store.MismatchError
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			expect := &store.MismatchError{Source: "lab", Want: wanted, Got: tt.got, WantSize: want.Size, GotSize: tt.gotSize}
			if diff := cmp.Diff(expect, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.offsets, src.offsets[:min(len(src.offsets), 10)]); diff != "" {
				t.Errorf("offsets asked for (-want +got):\n%s", diff)
			}
			if s.Has(wanted, -1) || s.Fresh(wanted) {
				t.Error("the store believes it")
			}
			if left := files(t, s, "ingest"); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

func TestIngestBoundsSurplus(t *testing.T) {
	s := open(t, t.TempDir())
	want := store.Expected{Digest: digest.FromString("x"), Size: 1, Source: "lab"}
	_, _, err := s.Ingest(t.Context(), want, func(context.Context, int64) (io.ReadCloser, int64, error) { return endless{}, 0, nil }, nil)
	var got *store.MismatchError
	if !errors.As(err, &got) || got.Got != "" || got.GotSize <= 1 {
		t.Fatalf("got %v", err)
	}
}

func TestIngestGivesUp(t *testing.T) {
	permanent := errors.New("not found")
	tests := []struct {
		name    string
		answer  answer
		want    error
		fetches int
		kept    int
	}{
		{"permanent error", answer{err: permanent}, permanent, 1, 0},
		{"temporary error that lasts", answer{err: temporaryError{}}, temporaryError{}, 4, 0},
		{"no range, cut at the same place", answer{at: zero, bytes: 10, end: errReset}, errReset, 5, 10},
		{"starts elsewhere", answer{at: func(int64) int64 { return 5 }}, store.ErrOffset, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			src := &source{content: content(1, blobSize), script: []answer{tt.answer, tt.answer, tt.answer, tt.answer, tt.answer, tt.answer}}
			_, _, err := s.Ingest(t.Context(), src.expected(), src.fetch, nil)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v", err)
			}
			if len(src.offsets) != tt.fetches {
				t.Errorf("fetched %d times, not %d", len(src.offsets), tt.fetches)
			}
			info, err := os.Stat(partialPath(s, src.expected().Digest))
			switch {
			case tt.kept == 0 && err == nil:
				t.Error("kept an empty partial")
			case tt.kept > 0 && (err != nil || info.Size() != int64(tt.kept)):
				t.Errorf("partial: %v, %v", info, err)
			}
		})
	}
}

func TestIngestPresent(t *testing.T) {
	s := open(t, t.TempDir())
	src := &source{content: content(1, 100)}
	want := src.expected()
	if _, _, err := s.Ingest(t.Context(), want, src.fetch, nil); err != nil {
		t.Fatal(err)
	}
	var told int64
	if _, size, err := s.Ingest(t.Context(), want, src.fetch, func(n int64) { told += n }); err != nil || size != 100 || told != 100 {
		t.Fatalf("got %d bytes, told of %d, %v", size, told, err)
	}
	if len(src.offsets) != 1 {
		t.Errorf("fetched %d times", len(src.offsets))
	}
	wrong := want
	wrong.Size = 99
	var mismatch *store.MismatchError
	if _, _, err := s.Ingest(t.Context(), wrong, src.fetch, nil); !errors.As(err, &mismatch) || mismatch.GotSize != 100 {
		t.Errorf("another size expected: %v", err)
	}
	if err := os.Truncate(blobPath(s, want.Digest), 50); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Ingest(t.Context(), want, src.fetch, nil); err != nil || !bytes.Equal(read(t, s, want.Digest), src.content) {
		t.Errorf("a truncated blob was not replaced: %v", err)
	}
}

func TestIngestCancelledThenResumed(t *testing.T) {
	s := open(t, t.TempDir())
	src := &source{content: content(1, blobSize)}
	ctx, cancel := context.WithCancel(t.Context())
	broken := func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		cancel()
		return io.NopCloser(bytes.NewReader(src.content[offset:])), offset, nil
	}
	if _, _, err := s.Ingest(ctx, src.expected(), broken, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, _, err := s.Ingest(t.Context(), src.expected(), src.fetch, nil); err != nil {
		t.Fatal(err)
	}
	if len(src.offsets) != 1 || src.offsets[0] == 0 {
		t.Errorf("asked for %d, not to go on", src.offsets)
	}
}

func TestIngestOnce(t *testing.T) {
	s := open(t, t.TempDir())
	src := &source{content: content(1, blobSize)}
	first := make(chan struct{})
	slow := func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		<-first
		return src.fetch(ctx, offset)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := s.Ingest(t.Context(), src.expected(), slow, nil); err != nil {
				t.Error(err)
			}
		})
	}
	close(first)
	wg.Wait()
	if len(src.offsets) != 1 {
		t.Errorf("fetched %d times", len(src.offsets))
	}
}

func TestIngestFollowerTriesItself(t *testing.T) {
	s := open(t, t.TempDir())
	src := &source{content: content(1, blobSize)}
	started, fail := make(chan struct{}), make(chan struct{})
	denied := errors.New("denied")
	refusing := func(context.Context, int64) (io.ReadCloser, int64, error) {
		close(started)
		<-fail
		return nil, 0, denied
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := s.Ingest(t.Context(), src.expected(), refusing, nil); !errors.Is(err, denied) {
			t.Errorf("got %v", err)
		}
	})
	<-started
	wg.Go(func() {
		if _, _, err := s.Ingest(t.Context(), src.expected(), src.fetch, nil); err != nil {
			t.Errorf("the second source: %v", err)
		}
	})
	close(fail)
	wg.Wait()
}

func TestIngestWithoutDigest(t *testing.T) {
	data := content(1, blobSize)
	cut := []answer{{bytes: 1000, end: errReset}, {err: errReset}, {err: errReset}}
	keyed := store.Expected{Size: -1, Source: "lab", Key: "https://lab/file etag"}
	// interrupted leaves 1000 bytes behind.
	interrupted := func(t *testing.T, want store.Expected) *store.Store {
		s := open(t, t.TempDir())
		src := &source{content: data, script: cut}
		if _, _, err := s.Ingest(t.Context(), want, src.fetch, nil); !errors.Is(err, errReset) {
			t.Fatal(err)
		}
		return s
	}
	tests := []struct {
		name    string
		want    store.Expected
		tamper  func(t *testing.T, path string)
		offsets []int64
	}{
		{name: "resumed", want: keyed, offsets: []int64{1000}},
		{name: "more there than vouched for", want: keyed, tamper: func(t *testing.T, path string) { appendTo(t, path, string(make([]byte, 2*blobSize))) }, offsets: []int64{1000}},
		{name: "damaged", want: keyed, tamper: func(t *testing.T, path string) { write(t, path, make([]byte, 1000)) }, offsets: []int64{0}},
		{name: "shorter than vouched for", want: keyed, tamper: func(t *testing.T, path string) { write(t, path, data[:999]) }, offsets: []int64{0}},
		{name: "not vouched for", want: keyed, tamper: func(t *testing.T, path string) { remove(t, path+".sum") }, offsets: []int64{0}},
		{name: "no key", want: store.Expected{Size: -1, Source: "lab"}, offsets: []int64{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := interrupted(t, tt.want)
			if tt.tamper != nil {
				tt.tamper(t, keyedPath(s, tt.want.Key))
			}
			src := &source{content: data}
			d, size, err := s.Ingest(t.Context(), tt.want, src.fetch, nil)
			if err != nil || d != digest.FromBytes(data) || size != blobSize {
				t.Fatalf("got %s of %d bytes, %v", d, size, err)
			}
			if !bytes.Equal(read(t, s, d), data) {
				t.Error("other content lies in the store")
			}
			if diff := cmp.Diff(tt.offsets, src.offsets); diff != "" {
				t.Error(diff)
			}
			if left := files(t, s, "ingest"); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestIngestWithoutKeyStartsOver(t *testing.T) {
	s := open(t, t.TempDir())
	src := &source{content: content(1, blobSize), script: []answer{{bytes: 1000, end: errReset}}}
	d, _, err := s.Ingest(t.Context(), store.Expected{Size: -1, Source: "lab"}, src.fetch, nil)
	if err != nil || d != digest.FromBytes(src.content) {
		t.Errorf("got %s, %v", d, err)
	}
	if diff := cmp.Diff([]int64{0, 0}, src.offsets); diff != "" {
		t.Error(diff)
	}
}

// FuzzResume holds that whatever lies in ingest/, only the right bytes become a blob.
func FuzzResume(f *testing.F) {
	data := content(1, 300)
	f.Add(data[:100], []byte("100 x\n"))
	f.Add([]byte{}, []byte{})
	f.Add(data, []byte("300 "+digest.FromBytes(data).String()+"\n"))
	f.Fuzz(func(t *testing.T, partial, sum []byte) {
		s := open(t, t.TempDir())
		src := &source{content: data}
		write(t, partialPath(s, src.expected().Digest), partial)
		keyed := store.Expected{Size: -1, Key: "k", Source: "lab"}
		write(t, keyedPath(s, "k"), partial)
		write(t, keyedPath(s, "k")+".sum", sum)
		d, _, err := s.Ingest(t.Context(), src.expected(), src.fetch, nil)
		if err != nil || !bytes.Equal(read(t, s, d), data) {
			t.Fatalf("by digest: %v", err)
		}
		// What a .sum vouches for is trusted, so its damage must show.
		if bytes.Contains(sum, []byte(digest.FromBytes(partial[:min(len(partial), 300)]).Encoded())) {
			return
		}
		if d, _, err := s.Ingest(t.Context(), keyed, src.fetch, nil); err != nil || d != digest.FromBytes(data) {
			t.Fatalf("by key: %v", err)
		}
	})
}
