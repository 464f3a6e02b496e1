package serve

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Cache-Control of names that may point elsewhere tomorrow, and of digests.
const (
	cacheNever   = "no-cache"
	cacheForever = "public, max-age=31536000, immutable"
)

func (s *Server) serveRegistry(w *recorder, r *http.Request) error {
	rt, err := parseRoute(r.URL)
	if err != nil {
		return err
	}
	switch rt.endpoint {
	case endpointBase:
		writeJSON(w, r, http.StatusOK, struct{}{})
		return nil
	case endpointCatalog:
		return s.serveCatalog(w, r, rt)
	}
	repo := s.catalog.repos[rt.name]
	if repo == nil {
		return errNameUnknown(rt.name)
	}
	switch rt.endpoint {
	case endpointTags:
		return serveTags(w, r, rt, repo)
	case endpointReferrers:
		return serveReferrers(w, r, rt, repo)
	case endpointBlob:
		return s.serveBlob(w, r, rt, repo)
	default:
		return s.serveManifest(w, r, rt, repo)
	}
}

func (s *Server) serveManifest(w *recorder, r *http.Request, rt route, repo *repository) error {
	d, cache := rt.digest, cacheForever
	if d == "" {
		d, cache = repo.tags[rt.reference], cacheNever
	}
	desc, ok := repo.manifests[d]
	if !ok {
		return errManifestUnknown(rt.name, rt.reference)
	}
	if !acceptable(r.Header.Values("Accept")) {
		return &registryError{status: http.StatusNotAcceptable, code: codeManifestUnknown,
			message: fmt.Sprintf("manifest %q of %q is %s, and nothing of the kind is accepted", rt.reference, rt.name, desc.MediaType)}
	}
	h := w.Header()
	h.Set("Content-Type", desc.MediaType)
	h.Set("Cache-Control", cache)
	h.Set("Docker-Content-Digest", d.String())
	return s.serveContent(w, r, desc.Digest, desc.Size)
}

// acceptable tells whether the Accept headers leave room for a manifest. What is
// stored is served whatever a client names, since another encoding would be
// another digest; only a client that wants no application type at all is refused.
func acceptable(accept []string) bool {
	ranges := strings.Split(strings.Join(accept, ","), ",")
	named := false
	for _, item := range ranges {
		kind, _, _ := strings.Cut(item, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
		if kind == "" {
			continue
		}
		if kind == "*/*" || strings.HasPrefix(kind, "application/") {
			return true
		}
		named = true
	}
	return !named
}

func (s *Server) serveBlob(w *recorder, r *http.Request, rt route, repo *repository) error {
	size, ok := repo.blobs[rt.digest]
	if !ok {
		desc, manifest := repo.manifests[rt.digest]
		if !manifest {
			return errBlobUnknown(rt.name, rt.digest)
		}
		size = desc.Size
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", cacheForever)
	h.Set("Docker-Content-Digest", rt.digest.String())
	err := s.serveContent(w, r, rt.digest, size)
	if isNotExist(err) {
		return errBlobUnknown(rt.name, rt.digest)
	}
	return err
}

func serveTags(w *recorder, r *http.Request, rt route, repo *repository) error {
	tags, next, err := page(repo.sortedTags(), r.URL.Query())
	if err != nil {
		return err
	}
	setNext(w, r, next)
	writeJSON(w, r, http.StatusOK, map[string]any{"name": rt.name, "tags": tags})
	return nil
}

func (s *Server) serveCatalog(w *recorder, r *http.Request, rt route) error {
	names := s.catalog.names
	if rt.ns != "" {
		names = nil
		for _, name := range s.catalog.names {
			if rest, ok := strings.CutPrefix(name, rt.ns+"/"); ok {
				names = append(names, rest)
			}
		}
	}
	list, next, err := page(names, r.URL.Query())
	if err != nil {
		return err
	}
	setNext(w, r, next)
	writeJSON(w, r, http.StatusOK, map[string]any{"repositories": list})
	return nil
}

// page cuts the part that the query's n and last ask for from a sorted list. next
// is the query of the page after it, nil on the last one.
func page(list []string, q url.Values) (part []string, next url.Values, err error) {
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(list, last)
		if found {
			i++
		}
		list = list[i:]
	}
	part = append([]string{}, list...)
	if !q.Has("n") {
		return part, nil, nil
	}
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n < 0 {
		return nil, nil, &registryError{status: http.StatusBadRequest, code: codePaginationInvalid,
			message: fmt.Sprintf("n is %q, want a number from 0 up", q.Get("n"))}
	}
	if n >= len(part) {
		return part, nil, nil
	}
	part = part[:n]
	if n == 0 {
		return part, nil, nil
	}
	next = url.Values{"n": {strconv.Itoa(n)}, "last": {part[n-1]}}
	if ns := q.Get("ns"); ns != "" {
		next.Set("ns", ns)
	}
	return part, next, nil
}

func setNext(w http.ResponseWriter, r *http.Request, next url.Values) {
	if next != nil {
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.EscapedPath(), next.Encode()))
	}
}

// serveReferrers lists what refers to a digest. By the specification a digest
// that nothing refers to, or that is not here, has an empty list.
func serveReferrers(w *recorder, r *http.Request, rt route, repo *repository) error {
	list := repo.referrers[rt.digest]
	if want := r.URL.Query().Get("artifactType"); want != "" {
		list = slices.Clone(list)
		list = slices.DeleteFunc(list, func(d ocispec.Descriptor) bool { return d.ArtifactType != want })
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
	writeJSON(w, r, http.StatusOK, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: append([]ocispec.Descriptor{}, list...),
	})
	return nil
}

func (r *repository) sortedTags() []string { return slices.Sorted(maps.Keys(r.tags)) }

// etag is the strong validator of content: its digest.
func etag(d digest.Digest) string { return `"` + d.String() + `"` }
