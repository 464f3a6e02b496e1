package store_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"naru/pkg/mirror/store"
)

// childDir and childURL turn the test program into one that fills a store.
const (
	childDir = "NARU_STORE_TEST_DIR"
	childURL = "NARU_STORE_TEST_URL"
)

// childBlobs is how many blobs a child fetches; blob i is content(i, childSize(i)).
const childBlobs = 40

func childSize(i int) int { return 1000 + i*7000 }

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := fill(context.Background(), os.Stdout, dir, os.Getenv(childURL)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fill ingests all blobs and writes "done i" for each once it is in the store.
func fill(ctx context.Context, out io.Writer, dir, url string) error {
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range childBlobs {
		group.Go(func() error {
			src := source{content: content(uint64(i), childSize(i))}
			_, _, err := s.Ingest(ctx, src.expected(), httpFetch(fmt.Sprintf("%s/%d", url, i)), nil)
			if err == nil {
				_, err = fmt.Fprintf(out, "done %d\n", i)
			}
			return err
		})
	}
	return errors.Join(group.Wait(), s.Close())
}

func httpFetch(url string) store.Fetch {
	return func(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, 0, err
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, 0, err
		}
		if resp.StatusCode != http.StatusPartialContent {
			return nil, 0, errors.Join(fmt.Errorf("status %s", resp.Status), resp.Body.Close())
		}
		return resp.Body, offset, nil
	}
}

// upstream serves the blobs of children, in drops, and counts requests.
type upstream struct {
	mu       sync.Mutex
	requests map[int]int
}

// counts are the requests so far, by blob.
func (u *upstream) counts() map[int]int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.requests)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i, err := strconv.Atoi(path.Base(r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	u.mu.Lock()
	u.requests[i]++
	u.mu.Unlock()
	http.ServeContent(&drops{w}, r, "", time.Time{}, bytes.NewReader(content(uint64(i), childSize(i))))
}

// drops passes a body on a few bytes at a time.
type drops struct {
	http.ResponseWriter
}

func (d *drops) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(n+4096, len(p))]
		m, err := d.ResponseWriter.Write(part)
		if n += m; err != nil {
			return n, err
		}
		if err := http.NewResponseController(d.ResponseWriter).Flush(); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

func startUpstream(t *testing.T) (*upstream, string) {
	u := &upstream{requests: map[int]int{}}
	srv := httptest.NewServer(u)
	t.Cleanup(srv.Close)
	return u, srv.URL
}

func child(t *testing.T, dir, url string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+url)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKilled kills processes at random moments and holds that no wrong byte is
// believed and no complete blob fetched again.
func TestKilled(t *testing.T) {
	u, url := startUpstream(t)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	done := map[int]bool{}
	for range 12 {
		before := u.counts()
		brought := runAndKill(t, child(t, dir, url), rng.IntN(8))
		after := u.counts()
		for i := range done {
			if after[i] != before[i] {
				t.Errorf("blob %d was complete and was fetched again", i)
			}
		}
		for _, i := range brought {
			done[i] = true
		}
		checkBlobs(t, dir)
	}
	if err := fill(t.Context(), io.Discard, dir, url); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for i := range childBlobs {
		if src := (&source{content: content(uint64(i), childSize(i))}); !s.Has(src.expected().Digest, int64(childSize(i))) {
			t.Errorf("blob %d is missing", i)
		}
	}
	if left := files(t, s, "ingest"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// runAndKill runs a child until it has brought n blobs, and a little longer.
func runAndKill(t *testing.T, cmd *exec.Cmd, n int) (done []int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var i int
		if _, err := fmt.Sscanf(lines.Text(), "done %d", &i); err != nil {
			t.Fatal(err)
		}
		if done = append(done, i); len(done) == n+1 {
			_ = cmd.Process.Kill() // it may have ended
		}
	}
	_ = cmd.Wait() // killed
	return done
}

// checkBlobs hashes all that the store believes.
func checkBlobs(t *testing.T, dir string) {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range childBlobs {
		src := &source{content: content(uint64(i), childSize(i))}
		if d := src.expected().Digest; s.Has(d, -1) && !bytes.Equal(read(t, s, d), src.content) {
			t.Errorf("blob %d is believed and wrong", i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTwoProcesses holds that processes that want the same blobs share the work.
func TestTwoProcesses(t *testing.T) {
	u, url := startUpstream(t)
	dir := t.TempDir()
	var group errgroup.Group
	for range 3 {
		cmd := child(t, dir, url)
		group.Go(cmd.Run)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	checkBlobs(t, dir)
	requests := u.counts()
	for i := range childBlobs {
		if requests[i] != 1 {
			t.Errorf("blob %d was fetched %d times", i, requests[i])
		}
	}
}
