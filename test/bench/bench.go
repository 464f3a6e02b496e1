package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"naru/test/lab/content"
	"naru/test/lab/layout"
	"naru/test/lab/workload"
)

// password guards the key that bundles of a run are signed with.
const password = "bench"

// subject is content that is measured with.
type subject struct {
	layout *layout.Layout
	file   string   // content file of its images
	refs   []string // of its images
	bytes  int64    // of its blobs
	bundle string   // folder of its bundle, once built
	cache  string   // the store that it was built from
	up     *server
	maps   []string
}

// bench is the state of a run.
type bench struct {
	options
	log    io.Writer
	dir    string // all that the run writes
	report report
	large  *subject
	split  string // folder of the large bundle in four volumes
	// fresh is the step pack of builds that fetched, and so hashed, the content.
	fresh figures
}

func newBench(ctx context.Context, o options, log io.Writer) (_ *bench, err error) {
	dir, err := os.MkdirTemp(o.work, "bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	b := &bench{options: o, log: log, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if _, err := (command{b.bundle(), "keygen", "--out-prefix", b.key()}).run(ctx); err != nil {
		return nil, err
	}
	b.large, err = b.subject(ctx, largeShape(o.bytes))
	return b, err
}

func (b *bench) close() error {
	if b.large != nil {
		b.large.up.stop()
	}
	return os.RemoveAll(b.dir)
}

func (b *bench) note(line string) { _, _ = fmt.Fprintln(b.log, line) }

func (b *bench) bundle() string          { return filepath.Join(b.bin, "bundle") }
func (b *bench) install() string         { return filepath.Join(b.bin, "install") }
func (b *bench) key() string             { return filepath.Join(b.dir, "cosign") }
func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// largeShape is 40 images on 6 bases; a fifth of their bytes is in layers that are
// not compressed. The generator makes as many plain files again, which are left out:
// none of the tools compared with carries files.
func largeShape(size int64) workload.Shape {
	const images, files = 83, 17 // of a hundred bytes
	return workload.Shape{Name: "bench", Bytes: size * (images + files) / images, Images: 40, Bases: 6, Layers: 3, RawPercent: 2 * files, Files: 1}
}

// subject generates content of a shape, or finds it in the cache, and serves it.
func (b *bench) subject(ctx context.Context, shape workload.Shape) (*subject, error) {
	real, err := content.Build(ctx, content.Options{CacheDir: b.cache, OnStep: b.note})
	if err != nil {
		return nil, err
	}
	b.note(fmt.Sprintf("content %q of %d MB", shape.Name, shape.Bytes/1e6))
	l, err := workload.Generate(ctx, workload.Options{CacheDir: b.cache, Shape: shape, Seed: 1, Material: workload.Material(real)})
	if err != nil {
		return nil, err
	}
	s := &subject{layout: l, file: b.path(fmt.Sprintf("%s-%d.yaml", shape.Name, shape.Bytes))}
	images := *l
	images.Catalog.Files = nil
	doc, err := workload.ContentYAML(&images, "bench-"+shape.Name)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.file, doc, 0o600); err != nil {
		return nil, err
	}
	for _, img := range l.Catalog.Images {
		if len(img.Platforms) > 0 {
			s.refs = append(s.refs, img.Ref)
		}
	}
	if err := s.warm(); err != nil {
		return nil, err
	}
	return s, s.serve(ctx, b.upstream)
}

// warm reads all blobs, so that they are in the page cache, and adds them up.
func (s *subject) warm() error {
	return filepath.WalkDir(s.layout.BlobDir(), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n, err := readThrough(path)
		s.bytes += n
		return err
	})
}

// readThrough reads a file, so that it is in the page cache, and returns its size.
func readThrough(path string) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.Copy(io.Discard, f)
}

func warmFiles(paths []string) error {
	for _, p := range paths {
		if _, err := readThrough(p); err != nil {
			return err
		}
	}
	return nil
}

// serve starts a plain registry over the content in a process of its own.
func (s *subject) serve(ctx context.Context, program string) error {
	up, line, err := start(ctx, program, "-plain", s.layout.Dir)
	if err != nil {
		return err
	}
	s.up = up
	var ready struct {
		Addr        string   `json:"addr"`
		RegistryMap []string `json:"registryMap"`
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		return err
	}
	up.addr = ready.Addr
	for _, m := range ready.RegistryMap {
		s.maps = append(s.maps, strings.Replace(m, "=", "=http://", 1))
	}
	return nil
}

// server is a process that serves until it is stopped.
type server struct {
	cmd  *exec.Cmd
	addr string
}

// start starts a server and returns the first line it prints.
func start(ctx context.Context, program string, args ...string) (*server, string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	s := &server{cmd: cmd}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		s.stop()
		return nil, "", fmt.Errorf("starting %q: it printed nothing: %w", program, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
	return s, line, nil
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait() // it was told to end
}

// describe says what was measured where.
func (b *bench) describe() string {
	var d bytes.Buffer
	hash := "without"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(info), "sha_ni") {
		hash = "with"
	}
	fmt.Fprintf(&d, "%s, %d processors %s SHA instructions, %s %s/%s; %d images, %d MB; medians of %d runs (pushes %d), by turns; inputs in the page cache, dirty pages written out before each run.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, len(b.large.refs), b.large.bytes/1e6, b.reps, (b.reps+1)/2)
	return d.String()
}
