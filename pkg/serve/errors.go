package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/opencontainers/go-digest"
)

// Codes of the distribution specification that this server answers with.
const (
	codeBlobUnknown       = "BLOB_UNKNOWN"
	codeDigestInvalid     = "DIGEST_INVALID"
	codeManifestUnknown   = "MANIFEST_UNKNOWN"
	codeNameInvalid       = "NAME_INVALID"
	codeNameUnknown       = "NAME_UNKNOWN"
	codePaginationInvalid = "PAGINATION_NUMBER_INVALID"
	codeTagInvalid        = "TAG_INVALID"
	codeUnsupported       = "UNSUPPORTED"
	codeUnknown           = "UNKNOWN"
)

// registryError is an error as the registry API reports it.
type registryError struct {
	status  int
	code    string
	message string
	detail  any
	err     error // the cause, for OnRequest only
}

func (e *registryError) Error() string { return fmt.Sprintf("%s: %s", e.code, e.message) }

func (e *registryError) Unwrap() error { return e.err }

func errNameInvalid(name string) *registryError {
	return &registryError{status: http.StatusBadRequest, code: codeNameInvalid,
		message: fmt.Sprintf("%q is no repository name or path of this API", name)}
}

func errTagInvalid(tag string) *registryError {
	return &registryError{status: http.StatusBadRequest, code: codeTagInvalid, message: fmt.Sprintf("%q is neither a tag nor a digest", tag)}
}

func errDigestInvalid(d string) *registryError {
	return &registryError{status: http.StatusBadRequest, code: codeDigestInvalid, message: fmt.Sprintf("%q is no digest", d)}
}

func errNameUnknown(name string) *registryError {
	return &registryError{status: http.StatusNotFound, code: codeNameUnknown,
		message: fmt.Sprintf("no bundle served here carries repository %q", name), detail: map[string]string{"name": name}}
}

func errManifestUnknown(name, reference string) *registryError {
	return &registryError{status: http.StatusNotFound, code: codeManifestUnknown,
		message: fmt.Sprintf("no bundle served here carries manifest %q of %q", reference, name),
		detail:  map[string]string{"name": name, "reference": reference}}
}

func errBlobUnknown(name string, d digest.Digest) *registryError {
	return &registryError{status: http.StatusNotFound, code: codeBlobUnknown,
		message: fmt.Sprintf("no bundle served here carries blob %s of %q", d, name),
		detail:  map[string]string{"name": name, "digest": d.String()}}
}

func errUnsupported(method string) *registryError {
	return &registryError{status: http.StatusMethodNotAllowed, code: codeUnsupported,
		message: fmt.Sprintf("the depot is read-only: %s is not served", method)}
}

func errBody() *registryError {
	return &registryError{status: http.StatusRequestEntityTooLarge, code: codeUnsupported,
		message: "the depot is read-only: requests have no body"}
}

func errBusy() *registryError {
	return &registryError{status: http.StatusServiceUnavailable, code: codeUnknown, message: "too many downloads are under way; try again"}
}

// errContent reports content that could not be read: damaged media, most likely.
func errContent(err error) *registryError {
	return &registryError{status: http.StatusInternalServerError, code: codeUnknown,
		message: "the content could not be read from the bundle; see the log of the depot", err: err}
}

// writeError answers with the error document of the distribution specification.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var re *registryError
	if !errors.As(err, &re) {
		re = errContent(err)
	}
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	body := map[string][]item{"errors": {{Code: re.code, Message: re.message, Detail: re.detail}}}
	h := w.Header()
	dropContentHeaders(h)
	h.Del("Content-Type")
	if re.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	if re.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD")
	}
	writeJSON(w, r, re.status, body)
}

// dropContentHeaders takes back what was said of content that is not sent.
func dropContentHeaders(h http.Header) {
	for _, name := range []string{"Etag", "Docker-Content-Digest", "Content-Disposition", "X-Checksum-Sha256", "Repr-Digest", "Accept-Ranges"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
}

// writeJSON answers with v. What fails while writing is the client's connection:
// there is nobody left to tell.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Content-Length", fmt.Sprint(len(data)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(data, '\n'))
	}
}
