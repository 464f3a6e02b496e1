package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Sentinels that errors of this package wrap.
var (
	// ErrURL says that a URL is not one of a file on a server.
	ErrURL = errors.New("want https://HOST/PATH")
	// ErrPlainHTTP says that a host was to be spoken to without TLS though
	// nothing allows it.
	ErrPlainHTTP = errors.New("plain HTTP is not allowed for this host")
	// ErrStalled says that a body did not move for Options.IdleTimeout.
	ErrStalled = errors.New("nothing came for too long")
	// ErrName says that a repository is not named as host/repository.
	ErrName = errors.New("want HOST/REPOSITORY")
)

// maxErrorBody bounds what is read of an answer that is an error, maxMessage what
// is kept of its message; in bytes.
const (
	maxErrorBody = 64 << 10
	maxMessage   = 300
)

// StatusError says that a server answered with a status that was not wanted.
// errors.As finds an *errcode.ErrorResponse of oras-go in it; a 404 is
// errdef.ErrNotFound.
type StatusError struct {
	Method string
	// URL asked for, without credentials and query.
	URL    string
	Status int
	// Code and Message are those of a registry's error document, empty if none.
	Code, Message string
	// RetryAfter is what the server asks for; 0 if nothing.
	RetryAfter time.Duration

	response *errcode.ErrorResponse
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: status %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	for _, part := range []string{e.Code, e.Message} {
		if part != "" {
			s += ": " + part
		}
	}
	return s
}

// Is makes a 404 errdef.ErrNotFound.
func (e *StatusError) Is(target error) bool {
	return e.Status == http.StatusNotFound && target == errdef.ErrNotFound
}

// Unwrap is the error in oras-go's terms.
func (e *StatusError) Unwrap() error {
	if e.response == nil {
		return nil
	}
	return e.response
}

// newStatusError reads the answer to req, which it closes.
func newStatusError(resp *http.Response) *StatusError {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is all there is to tell
	_ = resp.Body.Close()
	var doc struct {
		Errors errcode.Errors `json:"errors"`
	}
	_ = json.Unmarshal(data, &doc) // most servers of files answer with something else
	e := asStatusError(&errcode.ErrorResponse{
		Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode, Errors: doc.Errors,
	})
	e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	return e
}

// asStatusError takes over an error of oras-go.
func asStatusError(r *errcode.ErrorResponse) *StatusError {
	plain := *r
	e := &StatusError{Method: r.Method, Status: r.StatusCode}
	if r.URL != nil {
		plain.URL = redact(r.URL)
		e.URL = plain.URL.String()
	}
	plain.Errors = nil
	for _, inner := range r.Errors {
		plain.Errors = append(plain.Errors, errcode.Error{Code: printable(inner.Code), Message: printable(inner.Message)})
	}
	if len(plain.Errors) > 0 {
		e.Code, e.Message = plain.Errors[0].Code, plain.Errors[0].Message
	}
	e.response = &plain
	return e
}

// printable is what a server says, fit for a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "..."
	}
	return s
}

// AuthError says that credentials could not be had, or that they were refused: Err
// is a *StatusError of a token server, auth.ErrBasicCredentialNotFound where a
// server wants credentials and none are configured, or the error of a helper.
type AuthError struct {
	// Host that asked for credentials.
	Host string
	Err  error
}

func (e *AuthError) Error() string { return fmt.Sprintf("authenticating to %q: %v", e.Host, e.Err) }

func (e *AuthError) Unwrap() error { return e.Err }

// RetryError says that a request failed on the network as often as it was to be
// sent. It is no timeout and not temporary whatever Err is: enough was tried.
type RetryError struct {
	Attempts int
	Err      error
}

func (e *RetryError) Error() string { return fmt.Sprintf("%d attempts: %v", e.Attempts, e.Err) }

func (e *RetryError) Unwrap() error { return e.Err }

// Timeout and Temporary make net's errors within be none.
func (e *RetryError) Timeout() bool { return false }

// Temporary is false, see Timeout.
func (e *RetryError) Temporary() bool { return false }

// BodyError says that the body of an answer broke off.
type BodyError struct {
	// URL of the answer, without credentials and query.
	URL string
	// Read is how many bytes of this body came before.
	Read int64
	Err  error
}

func (e *BodyError) Error() string {
	return fmt.Sprintf("reading %s: after %d bytes: %v", e.URL, e.Read, e.Err)
}

func (e *BodyError) Unwrap() error { return e.Err }

// Temporary is true unless the caller's context ended.
func (e *BodyError) Temporary() bool {
	return !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded)
}

// Timeout tells that the body stalled.
func (e *BodyError) Timeout() bool { return errors.Is(e.Err, ErrStalled) }

// IsTemporary tells whether it is worth asking for the rest of a body that broke
// off. Errors of requests are not temporary: they were sent again already.
func IsTemporary(err error) bool {
	e, ok := errors.AsType[*BodyError](err)
	return ok && e.Temporary()
}

// IsNetwork tells whether err is one of the network, of TLS, or of what a server
// answered, rather than one of content, of the disk or of the caller, whose
// cancellation is none either.
func IsNetwork(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if is[*StatusError](err) || is[*AuthError](err) || is[*RetryError](err) || is[*BodyError](err) || is[*errcode.ErrorResponse](err) ||
		is[*net.OpError](err) || is[*net.DNSError](err) || is[*tls.CertificateVerificationError](err) {
		return true
	}
	if errors.Is(err, errdef.ErrNotFound) || errors.Is(err, ErrPlainHTTP) {
		return true
	}
	// Errors of url.Parse have the type of those of net/http.
	e, ok := errors.AsType[*url.Error](err)
	return ok && e.Op != "parse"
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// parseCause is the error of url.Parse without the URL.
func parseCause(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%w: %w", ErrURL, e.Err)
	}
	return err
}

// redact drops what may be secret from a URL.
func redact(u *url.URL) *url.URL {
	plain := *u
	plain.RawQuery, plain.ForceQuery, plain.Fragment, plain.RawFragment, plain.User = "", false, "", "", nil
	return &plain
}

// redactError drops what may be secret from an error of oras-go's client.
func redactError(host string, err error) error {
	switch e := err.(type) { //nolint:errorlint // the outermost error decides, not one within
	case nil:
		return nil
	case *url.Error:
		return redactURLError(e)
	case *errcode.ErrorResponse:
		return asStatusError(e)
	}
	if host == "" {
		return err
	}
	// oras-go puts the request's URL before what went wrong with credentials.
	cause := errors.Unwrap(err)
	if cause == nil {
		cause = errNotReplayable
	}
	return &AuthError{Host: host, Err: redactError("", cause)}
}

// errNotReplayable is what is left to go wrong: credentials are there, but the
// body was sent already.
var errNotReplayable = errors.New("the request cannot be sent again")

func redactURLError(e *url.Error) error {
	plain := *e
	if u, err := url.Parse(e.URL); err == nil {
		plain.URL = redact(u).String()
	} else {
		plain.URL, _, _ = strings.Cut(e.URL, "?")
	}
	plain.Err = redactError("", e.Err)
	return &plain
}

// retryAfter reads both forms of the header; 0 when there is none.
func retryAfter(value string) time.Duration {
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
