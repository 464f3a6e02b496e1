package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/layout"
)

// registry is go-containerregistry's registry with what that lacks: blobs from
// several folders, ranges of every form, artifact types of referrers.
type registry struct {
	base     http.Handler
	blobs    *blobStore
	delivery BlobDelivery
}

func newRegistry(pushed string, delivery BlobDelivery) (*registry, error) {
	if err := os.MkdirAll(filepath.Join(pushed, "sha256"), 0o755); err != nil {
		return nil, err
	}
	blobs := &blobStore{pushed: pushed}
	base := ggcr.New(
		ggcr.WithBlobHandler(blobs),
		ggcr.WithReferrersSupport(true),
		ggcr.Logger(log.New(io.Discard, "", 0)),
	)
	return &registry{base: base, blobs: blobs, delivery: delivery}, nil
}

// ServeHTTP implements http.Handler.
func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := parsePath(r.URL.Path)
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case reading && p.kind == kindBlob && g.delivery == DeliverRedirect && g.blobs.holds(p.ref):
		http.Redirect(w, r, blobsPath+p.ref, http.StatusTemporaryRedirect)
	case reading && p.kind == kindBlob:
		g.blobs.serve(w, r, p.ref)
	case r.Method == http.MethodGet && p.kind == kindManifest:
		g.serveManifest(w, r)
	case r.Method == http.MethodGet && p.kind == kindReferrers:
		g.serveReferrers(w, r, p)
	default:
		g.base.ServeHTTP(w, r)
	}
}

// serveManifest answers from memory: the base registry holds a lock for as long
// as it writes, and a slow reader would stop everyone else.
func (g *registry) serveManifest(w http.ResponseWriter, r *http.Request) {
	m := &memoryResponse{header: w.Header(), status: http.StatusOK}
	g.base.ServeHTTP(m, r)
	w.WriteHeader(m.status)
	_, _ = w.Write(m.body.Bytes()) // the client is gone if this fails
}

// The kinds of registry paths that the lab tells apart.
const (
	kindBlob      = "blobs"
	kindManifest  = "manifests"
	kindReferrers = "referrers"
)

// registryPath is /v2/<repo>/<kind>/<ref>.
type registryPath struct{ repo, kind, ref string }

// parsePath takes a registry path apart; what is none of the three kinds gives
// the zero value.
func parsePath(p string) registryPath {
	rest, ok := strings.CutPrefix(p, "/v2/")
	if !ok {
		return registryPath{}
	}
	elems := strings.Split(rest, "/")
	if len(elems) < 3 {
		return registryPath{}
	}
	kind := elems[len(elems)-2]
	if !slices.Contains([]string{kindBlob, kindManifest, kindReferrers}, kind) || elems[len(elems)-1] == "uploads" {
		return registryPath{}
	}
	return registryPath{repo: strings.Join(elems[:len(elems)-2], "/"), kind: kind, ref: elems[len(elems)-1]}
}

// call runs a request through the base registry in process.
func (g *registry) call(method, path, contentType string, body []byte) (*memoryResponse, error) {
	r, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	w := &memoryResponse{header: http.Header{}, status: http.StatusOK}
	g.base.ServeHTTP(w, r)
	if w.status >= http.StatusBadRequest {
		return nil, fmt.Errorf("registry answers %d to %s %s: %s", w.status, method, path, w.body.String())
	}
	return w, nil
}

func (g *registry) put(repo, ref, mediaType string, data []byte) error {
	_, err := g.call(http.MethodPut, "/v2/"+repo+"/manifests/"+ref, mediaType, data)
	return err
}

func (g *registry) get(repo, ref string) (mediaType string, data []byte, err error) {
	w, err := g.call(http.MethodGet, "/v2/"+repo+"/manifests/"+ref, "", nil)
	if err != nil {
		return "", nil, err
	}
	return w.header.Get("Content-Type"), w.body.Bytes(), nil
}

func (g *registry) setTag(repo, tag, dig string) error {
	mediaType, data, err := g.get(repo, dig)
	if err != nil {
		return fmt.Errorf("moving tag %q: %w", repo+":"+tag, err)
	}
	return g.put(repo, tag, mediaType, data)
}

// load puts a root of l, named by its reference, into the registry.
func (g *registry) load(l *layout.Layout, desc ocispec.Descriptor) error {
	repo, ref := splitRef(desc.Annotations[ocispec.AnnotationRefName])
	if repo == "" {
		return fmt.Errorf("loading %s: no reference", desc.Digest)
	}
	if err := g.loadManifest(l, repo, ref, desc); err != nil {
		return fmt.Errorf("loading %q: %w", repo, err)
	}
	return nil
}

func (g *registry) loadManifest(l *layout.Layout, repo, ref string, desc ocispec.Descriptor) error {
	data, err := l.Manifest(desc.Digest)
	if err != nil {
		return err
	}
	if layout.IsIndex(desc.MediaType) {
		var idx ocispec.Index
		if err := json.Unmarshal(data, &idx); err != nil {
			return fmt.Errorf("decoding index %s: %w", desc.Digest, err)
		}
		for _, child := range idx.Manifests {
			if err := g.loadManifest(l, repo, child.Digest.String(), child); err != nil {
				return err
			}
		}
	}
	return g.put(repo, ref, desc.MediaType, data)
}

// splitRef splits "host/repo:tag" or "host/repo@digest".
func splitRef(s string) (repo, ref string) {
	if i := strings.Index(s, "@"); i >= 0 {
		return s[:i], s[i+1:]
	}
	if i := strings.LastIndex(s, ":"); i > strings.LastIndex(s, "/") {
		return s[:i], s[i+1:]
	}
	return "", ""
}

// serveReferrers answers in digest order with the artifact types that the
// distribution specification asks for, and honours the filter.
func (g *registry) serveReferrers(w http.ResponseWriter, r *http.Request, p registryPath) {
	res, err := g.call(http.MethodGet, r.URL.Path, "", nil)
	var idx ocispec.Index
	if err == nil {
		err = json.Unmarshal(res.body.Bytes(), &idx)
	}
	if err != nil { // a repository without manifests has no referrers
		g.base.ServeHTTP(w, r)
		return
	}
	want := r.URL.Query().Get("artifactType")
	found := []ocispec.Descriptor{}
	for _, d := range idx.Manifests {
		if err := g.completeReferrer(p.repo, &d); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if want == "" || d.ArtifactType == want {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b ocispec.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	idx.Manifests = found
	if want != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	_ = json.NewEncoder(w).Encode(idx) // the client is gone if this fails
}

func (g *registry) completeReferrer(repo string, d *ocispec.Descriptor) error {
	_, data, err := g.get(repo, d.Digest.String())
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("decoding referrer %s: %w", d.Digest, err)
	}
	if d.ArtifactType = m.ArtifactType; d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	d.Annotations = m.Annotations
	return nil
}

// moved returns the digest of another manifest for repo:ref than the one it has:
// the one named, or else one made from it by an annotation.
func (g *registry) moved(repo, ref, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	mediaType, data, err := g.get(repo, ref)
	if err != nil {
		return "", err
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("decoding manifest %q: %w", repo+":"+ref, err)
	}
	annotations, _ := m["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations["test.lab.moved"] = ref
	m["annotations"] = annotations
	if data, err = json.Marshal(m); err != nil {
		return "", err
	}
	d := digest.FromBytes(data)
	if err := g.put(repo, d.String(), mediaType, data); err != nil {
		return "", err
	}
	return d.String(), nil
}

// memoryResponse keeps a small response.
type memoryResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (m *memoryResponse) Header() http.Header         { return m.header }
func (m *memoryResponse) WriteHeader(status int)      { m.status = status }
func (m *memoryResponse) Write(p []byte) (int, error) { return m.body.Write(p) }

var errBadDigest = errors.New("malformed digest")
