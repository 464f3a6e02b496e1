package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/manifest"
)

var errDamaged = errors.New("damaged")

// bundle is a Content in memory.
type bundle struct {
	t     *testing.T
	blobs map[digest.Digest][]byte
	// damaged blobs fail before their last chunk.
	damaged map[digest.Digest]bool
	index   ocispec.Index
	open    atomic.Int64
}

func newBundle(t *testing.T) *bundle {
	return &bundle{t: t, blobs: map[digest.Digest][]byte{}, damaged: map[digest.Digest]bool{}}
}

func (b *bundle) Index() ocispec.Index { return b.index }

func (b *bundle) OpenBlob(_ context.Context, d digest.Digest) (io.ReadSeekCloser, error) {
	data, ok := b.blobs[d]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", d, fs.ErrNotExist)
	}
	b.open.Add(1)
	return &blobReader{Reader: bytes.NewReader(data), bundle: b, damaged: b.damaged[d]}, nil
}

type blobReader struct {
	*bytes.Reader
	bundle  *bundle
	damaged bool
	once    sync.Once
}

func (r *blobReader) Read(p []byte) (int, error) {
	const chunk = 32 << 10
	if r.damaged && r.Len() <= chunk {
		return 0, errDamaged
	}
	return r.Reader.Read(p[:min(len(p), chunk)])
}

func (r *blobReader) Close() error {
	r.once.Do(func() { r.bundle.open.Add(-1) })
	return nil
}

func (b *bundle) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	b.blobs[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (b *bundle) json(mediaType string, v any) ocispec.Descriptor {
	data, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.blob(mediaType, data)
}

// random is content of n bytes that depends on the seed alone.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, seed))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// image adds an image manifest over layers.
func (b *bundle) image(arch string, layers ...[]byte) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var config ocispec.Image
	config.OS, config.Architecture, config.RootFS.Type = "linux", arch, "layers"
	for _, data := range layers {
		layer := b.blob(ocispec.MediaTypeImageLayer, data)
		m.Layers = append(m.Layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.Digest)
	}
	m.Config = b.json(ocispec.MediaTypeImageConfig, config)
	desc := b.json(ocispec.MediaTypeImageManifest, m)
	desc.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return desc
}

func (b *bundle) list(children ...ocispec.Descriptor) ocispec.Descriptor {
	return b.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children,
	})
}

func (b *bundle) referrer(subject ocispec.Descriptor, artifactType string) ocispec.Descriptor {
	subject.Platform = nil
	return b.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config:  b.blob(ocispec.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []ocispec.Descriptor{b.blob("text/plain", []byte(artifactType+subject.Digest.String()))},
		Subject: &subject,
	})
}

// add lists a manifest in the index; subject is empty but for referrers.
func (b *bundle) add(ref string, desc ocispec.Descriptor, subject digest.Digest) {
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: ref, manifest.AnnotationKind: string(manifest.ArtifactImage)}
	if subject != "" {
		desc.Annotations[manifest.AnnotationKind] = string(manifest.ArtifactReferrer)
		desc.Annotations[manifest.AnnotationSubject] = subject.String()
	}
	desc.Platform = nil
	b.index.Manifests = append(b.index.Manifests, desc)
}

// fault looks at a request before the registry does. It returns true when it has
// answered it.
type fault func(w http.ResponseWriter, r *http.Request) bool

// lab is a registry with faults in front of it.
type lab struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	faults []fault
	log    []string
}

// newLab puts faults before a registry.
func newLab(t *testing.T, registry http.Handler) *lab {
	l := &lab{t: t}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.log = append(l.log, r.Method+" "+r.URL.RequestURI())
		faults := l.faults
		l.mu.Unlock()
		for _, f := range faults {
			if f(w, r) {
				return
			}
		}
		registry.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

// fail adds a fault that strikes the first n requests that match.
func (l *lab) fail(n int64, match func(*http.Request) bool, f fault) {
	var struck atomic.Int64
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, func(w http.ResponseWriter, r *http.Request) bool {
		return match(r) && struck.Add(1) <= n && f(w, r)
	})
}

func (l *lab) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults, l.log = nil, nil
}

// count counts the requests whose method and path contain all of the parts.
func (l *lab) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.log {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue next
			}
		}
		n++
	}
	return n
}

func (l *lab) target() Target {
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	l.t.Cleanup(transport.CloseIdleConnections)
	return Target{Client: &http.Client{Transport: transport}, Base: strings.TrimPrefix(l.URL, "http://"), PlainHTTP: true}
}

func method(m, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m && strings.Contains(r.URL.RequestURI(), part) }
}

// answerWith is a fault: a plain answer.
func answerWith(status int, code string, header ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"injected"}]}`, code)
		return true
	}
}

// plan is a plan over bundles.
func plan(t *testing.T, target Target, opts Options, contents ...*bundle) *Plan {
	t.Helper()
	var list []Content
	for _, b := range contents {
		list = append(list, b)
	}
	p, err := NewPlan(t.Context(), list, target, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, b := range contents {
			if n := b.open.Load(); n != 0 {
				t.Errorf("%d blobs were left open", n)
			}
		}
	})
	return p
}

// push pushes a plan and checks that nothing is missing then. What was found during the
// push has to be what a check of its own finds after it.
func push(t *testing.T, p *Plan) *Result {
	t.Helper()
	result, during, err := p.Push(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(during.Findings) > 0 {
		t.Fatalf("after the push: %+v", during.Findings)
	}
	after, err := p.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(after, during); diff != "" {
		t.Errorf("compared during the push, and after it:\n%s", diff)
	}
	return result
}

// manifestBytes is what the registry has under a tag or digest.
func (l *lab) manifestBytes(repository, reference string) []byte {
	l.t.Helper()
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.URL+"/v2/"+repository+"/manifests/"+reference, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		l.t.Fatal(err)
	}
	return data
}

// dockerRegistry runs Debian's docker-registry (distribution 2.8) and returns its
// host and port.
func dockerRegistry(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatalf("this test needs a real registry: apt-get install docker-registry (%v)", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\nhttp: {addr: %q, secret: test}\n",
		filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, bin, "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close() // only to see that it answers
			return addr
		}
		<-ticker.C
	}
	t.Fatal("the registry does not come up")
	return ""
}
