package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry is Debian's docker-registry behind a proxy that remembers which uploads
// the registry acknowledged.
type registry struct {
	cmd   *exec.Cmd
	addr  string // of the registry itself
	proxy *httptest.Server
	busy  atomic.Int64 // requests under way
	count atomic.Int64 // requests so far

	mu    sync.Mutex
	acked map[string]bool // "repository@digest" that a run before this one completed
	fresh map[string]bool // likewise, this run
	again []string        // uploaded though acknowledged before
}

// uploadRE is the path of an upload's last request.
var uploadRE = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)

// startRegistry starts an empty registry that keeps its blobs in dir.
func (s *suite) startRegistry(ctx context.Context, dir string) (*registry, error) {
	path := filepath.Join(s.tools, "docker-registry")
	if _, err := os.Stat(path); s.tools == "" || err != nil {
		if path, err = exec.LookPath("docker-registry"); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	// Its output goes nowhere: it logs every access there, and blocks when nobody reads.
	cmd := exec.CommandContext(ctx, path, "serve", config)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &registry{cmd: cmd, addr: addr, acked: map[string]bool{}, fresh: map[string]bool{}}
	if err := r.wait(ctx); err != nil {
		r.stop()
		return nil, err
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: addr})
			p.Out.Host = p.In.Host // the registry makes Location of it
		},
		ModifyResponse: r.note,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	r.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.busy.Add(1)
		defer r.busy.Add(-1)
		r.count.Add(1)
		forward.ServeHTTP(w, req)
	}))
	return r, nil
}

func freeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// wait waits until the registry answers.
func (r *registry) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if body, err := r.get(ctx, "/v2/", ""); err == nil {
			return body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the registry: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (r *registry) stop() {
	if r.proxy != nil {
		r.proxy.CloseClientConnections()
		r.proxy.Close()
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	_ = r.cmd.Wait()
}

// host is where clients reach it.
func (r *registry) host() string { return strings.TrimPrefix(r.proxy.URL, "http://") }

// note takes down what an upload came to.
func (r *registry) note(resp *http.Response) error {
	req := resp.Request
	match := uploadRE.FindStringSubmatch(req.URL.Path)
	d := req.URL.Query().Get("digest")
	if match == nil || d == "" || req.Method != http.MethodPut {
		return nil
	}
	blob := match[1] + "@" + d
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.acked[blob] || r.fresh[blob] {
		r.again = append(r.again, blob)
	}
	if resp.StatusCode == http.StatusCreated {
		r.fresh[blob] = true
	}
	return nil
}

// settle waits until what a killed program asked is answered, and takes what the
// registry acknowledged so far as whole. It returns how many blobs that are.
func (r *registry) settle(ctx context.Context) (int, error) {
	err := settle(ctx, func() int { return int(r.count.Load()<<20 + r.busy.Load()) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for blob := range r.fresh {
		r.acked[blob] = true
	}
	r.fresh = map[string]bool{}
	return len(r.acked), err
}

// uploadedAgain are the blobs that were uploaded though the registry had them.
func (r *registry) uploadedAgain() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.again...)
}

// get asks the registry itself.
func (r *registry) get(ctx context.Context, path, accept string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+path, nil)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return resp.Body, nil
}

// manifestTypes are what is asked for.
var manifestTypes = strings.Join([]string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"}, ", ")

// readBack reads a manifest, by tag or digest, with all it refers to, hashes
// everything, and adds to have the digests that were right.
func (r *registry) readBack(ctx context.Context, repository, reference, want string, have map[string]bool) error {
	body, err := r.get(ctx, "/v2/"+repository+"/manifests/"+reference, manifestTypes)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("%s %s has digest %s, want %s", repository, reference, got, want)
	}
	have[want] = true
	var doc struct {
		Config            *ocispec.Descriptor
		Layers, Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	for _, child := range doc.Manifests {
		if err := r.readBack(ctx, repository, child.Digest.String(), child.Digest.String(), have); err != nil {
			return err
		}
	}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	for _, blob := range doc.Layers {
		if err := r.readBlob(ctx, repository, blob.Digest.String()); err != nil {
			return err
		}
		have[blob.Digest.String()] = true
	}
	return nil
}

func (r *registry) readBlob(ctx context.Context, repository, want string) error {
	body, err := r.get(ctx, "/v2/"+repository+"/blobs/"+want, "")
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.Copy(h, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("reading %s of %s: %w", want, repository, err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("blob %s of %s has digest %s", want, repository, got)
	}
	return nil
}
