package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// maxMemory is what each program may hold, in bytes, as the kernel counts it: pages of
// the program's own file that are mapped in included.
const maxMemory = 200e6

// measureMemory takes the peak memory of build, verify, serve and push with half of
// the large content and with all of it, and with -full with four times as much.
func (b *bench) measureMemory(ctx context.Context) error {
	sizes := []int64{b.bytes / 2, b.bytes}
	if b.full {
		sizes = append(sizes, 4*b.bytes)
	}
	for _, size := range sizes {
		if err := b.memoryAt(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) memoryAt(ctx context.Context, size int64) (err error) {
	s, err := b.subject(ctx, largeShape(size))
	if err != nil {
		return err
	}
	defer s.up.stop()
	defer func() { err = errors.Join(err, removeAll(s.file+".cache", s.file+".bundle")) }()
	rows, err := byTurns(ctx, 1, b.note,
		b.buildSide(s),
		side{name: "install verify", cmd: func() command { return b.verifyCommand(s.bundle) }},
		b.intoFresh(registries[0], "install push", func(to string) command { return b.pushCommand(s, to) }))
	if err != nil {
		return err
	}
	for _, r := range rows {
		b.report.memory(fmt.Sprintf("memory: %s, %.1f GB", r.name, float64(s.bytes)/1e9), r.figures(), maxMemory)
	}
	served, err := b.serveAll(ctx, s)
	if err != nil {
		return err
	}
	b.report.memory(fmt.Sprintf("memory: install serve, everything pulled by 8 clients, %.1f GB", float64(s.bytes)/1e9), served, maxMemory)
	return nil
}

// serveAll starts install serve on the bundle of s and pulls every blob of it.
func (b *bench) serveAll(ctx context.Context, s *subject) (figures, error) {
	state, err := os.MkdirTemp(b.dir, "depot-")
	if err != nil {
		return figures{}, err
	}
	begin := time.Now()
	depot, line, err := start(ctx, b.install(), "serve", s.bundle, "--allow-unscanned", "--key", b.key()+".pub", "--listen", "127.0.0.1:0", "--state", state, "--progress", "none")
	if err != nil {
		return figures{}, err
	}
	_, url, ok := strings.Cut(strings.TrimSpace(line), " at ")
	if !ok {
		err = fmt.Errorf("it printed %q", line)
	} else {
		err = s.pullAll(ctx, url, filepath.Join(state, "tls", "ca.crt"))
	}
	depot.stop()
	f := figures{name: "install serve", wall: time.Since(begin), cpu: depot.cmd.ProcessState.UserTime() + depot.cmd.ProcessState.SystemTime(), runs: 1}
	if usage, ok := depot.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.rss = usage.Maxrss << 10
	}
	return f, errors.Join(err, os.RemoveAll(state))
}

// pullAll gets every blob that the images of s consist of, eight at a time.
func (s *subject) pullAll(ctx context.Context, url, caFile string) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("the depot's ca.crt holds no certificate")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	paths, err := s.blobPaths()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, path := range paths {
		g.Go(func() error { return get(ctx, client, url+path) })
	}
	return g.Wait()
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("getting %q: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// blobPaths are where a registry has the blobs of the images of s, each once.
func (s *subject) blobPaths() ([]string, error) {
	var paths []string
	seen := map[digest.Digest]bool{}
	roots := s.layout.Refs()
	for _, ref := range s.refs {
		data, err := s.layout.Manifest(roots[ref].Digest)
		if err != nil {
			return nil, err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("decoding the manifest of %q: %w", ref, err)
		}
		repository := ref[:strings.LastIndex(ref, ":")]
		for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				paths = append(paths, "/v2/"+repository+"/blobs/"+d.Digest.String())
			}
		}
	}
	return paths, nil
}
