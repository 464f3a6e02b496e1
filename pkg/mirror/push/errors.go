package push

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Side says which end of the push an error comes from.
type Side string

// The two sides: the bundle and the registry.
const (
	SideSource      Side = "source"
	SideDestination Side = "destination"
)

// Error is the error of this package for one operation that failed.
type Error struct {
	// Op is what was done, as a gerund: "uploading blob".
	Op string
	// Ref is the artifact's reference in the bundle; empty when there is none.
	Ref string
	// Repository is where it was to go; empty on the source side.
	Repository string
	// Digest is what the operation was about; empty when it was about no content.
	Digest digest.Digest
	Side   Side
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Digest != "" {
		fmt.Fprintf(&b, " %s", e.Digest)
	}
	if e.Ref != "" {
		fmt.Fprintf(&b, " of %q", e.Ref)
	}
	if e.Repository != "" {
		fmt.Fprintf(&b, " in %q", e.Repository)
	}
	fmt.Fprintf(&b, ": %s: %v", e.Side, e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// withRef names the artifact in an *Error that does not know it yet.
func withRef(err error, ref string) error {
	var e *Error
	if errors.As(err, &e) && e.Ref == "" {
		named := *e
		named.Ref = ref
		return &named
	}
	return err
}

// status is the HTTP status an error carries, 0 when it carries none.
func status(err error) int {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		return resp.StatusCode
	}
	return 0
}

// hasCode tells whether the registry answered with one of the codes.
func hasCode(err error, codes ...string) bool {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) {
		return false
	}
	for _, e := range resp.Errors {
		for _, code := range codes {
			if e.Code == code {
				return true
			}
		}
	}
	return false
}

// retryable tells whether another attempt may do better: after overload, errors
// of the server and broken connections, never after refusals, errors of the
// source, certificates or a context that ended.
func retryable(err error) bool {
	var e *Error
	if errors.As(err, &e) && e.Side == SideSource {
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch code := status(err); code {
	case 0:
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return false
	}
	var transport *url.Error
	return errors.As(err, &transport) || errors.Is(err, io.ErrUnexpectedEOF)
}

// maxErrorBody bounds what is read of an answer, in bytes.
const maxErrorBody = 64 << 10

// responseError is the error an answer of the registry stands for.
func responseError(resp *http.Response, body []byte) error {
	e := &errcode.ErrorResponse{Method: resp.Request.Method, URL: redact(resp.Request.URL), StatusCode: resp.StatusCode}
	var doc struct {
		Errors errcode.Errors `json:"errors"`
	}
	if err := json.Unmarshal(body, &doc); err == nil {
		e.Errors = doc.Errors
	}
	return e
}

// redact drops what may be secret from a URL: registries put the state of
// uploads, signed, into queries.
func redact(u *url.URL) *url.URL {
	plain := *u
	plain.RawQuery, plain.User = "", nil
	return &plain
}
