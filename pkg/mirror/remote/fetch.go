package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// Get opens a file at offset, in bytes, and returns the offset it is open at: 0
// where the server does not serve ranges, or not that one. size is that of the
// whole file, -1 if the server does not say.
//
// Errors: ErrURL, ErrPlainHTTP, *StatusError, *AuthError, *url.Error; of the body,
// *BodyError. A body that ends early is not always noticed: the size tells.
func (c *Client) Get(ctx context.Context, rawURL string, offset int64) (body io.ReadCloser, actualOffset, size int64, err error) {
	u, err := c.places.file(rawURL)
	if err != nil {
		return nil, 0, 0, err
	}
	return c.open(ctx, u, offset, -1)
}

// Blob opens a blob of a repository, named as upstream has it, at offset, as Get
// does. What is read is not verified.
func (c *Client) Blob(ctx context.Context, upstreamName string, desc ocispec.Descriptor, offset int64) (body io.ReadCloser, actualOffset int64, err error) {
	ref, plain, err := c.reference(upstreamName)
	if err != nil {
		return nil, 0, err
	}
	if err := desc.Digest.Validate(); err != nil {
		return nil, 0, fmt.Errorf("naming blob %q of %q: %w", desc.Digest, upstreamName, err)
	}
	u := &url.URL{Scheme: "https", Host: ref.Host(), Path: "/v2/" + ref.Repository + "/blobs/" + desc.Digest.String()}
	if plain {
		u.Scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	body, actualOffset, _, err = c.open(ctx, u, offset, desc.Size)
	return body, actualOffset, err
}

// open asks for what is left, and for all where that is not to be had. A range that
// ends is asked for where the size is known: some registries take no other.
func (c *Client) open(ctx context.Context, u *url.URL, offset, size int64) (io.ReadCloser, int64, int64, error) {
	if offset > 0 {
		span := fmt.Sprintf("bytes=%d-", offset)
		if size > offset {
			span += strconv.FormatInt(size-1, 10)
		}
		resp, err := c.get(ctx, u, span)
		if err != nil {
			return nil, 0, 0, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			return resp.Body, 0, resp.ContentLength, nil
		case http.StatusPartialContent:
			if total, ok := continues(resp, offset); ok {
				return resp.Body, offset, total, nil
			}
		case http.StatusRequestedRangeNotSatisfiable: // there is less than was thought
		default:
			return nil, 0, 0, newStatusError(resp)
		}
		_ = resp.Body.Close() // nothing of it is used
	}
	resp, err := c.get(ctx, u, "")
	if err != nil {
		return nil, 0, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, 0, 0, newStatusError(resp)
	}
	return resp.Body, 0, resp.ContentLength, nil
}

// get sends a request for span, a Range, or for all if that is empty. A server that
// wants credentials which are not there has refused: that is a *StatusError like
// other refusals.
func (c *Client) get(ctx context.Context, u *url.URL, span string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for %q: %w", redact(u), parseCause(err))
	}
	req.Header.Set("Accept-Encoding", "identity")
	if span != "" {
		req.Header.Set("Range", span)
	}
	do := c.Do
	if u.Scheme == "http" && !c.places.isPlain(u.Host) {
		do = c.anonymous
	}
	resp, err := do(req)
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return nil, &StatusError{Method: req.Method, URL: redact(u).String(), Status: http.StatusUnauthorized,
			Message: "credentials are wanted, and none are configured for " + strconv.Quote(u.Host)}
	}
	return resp, err
}

// continues tells whether an answer is what begins at offset, and of what size the
// whole is, -1 if that is not said.
func continues(resp *http.Response, offset int64) (total int64, ok bool) {
	first, last, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || first != offset || resp.ContentLength >= 0 && resp.ContentLength != last-first+1 {
		return 0, false
	}
	return total, true
}

// parseContentRange reads "bytes first-last/total", where total is -1 for "*".
// See RFC 9110, section 14.4.
func parseContentRange(value string) (first, last, total int64, ok bool) {
	unit, rest, _ := strings.Cut(value, " ")
	span, size, found := strings.Cut(rest, "/")
	from, to, dash := strings.Cut(span, "-")
	if !strings.EqualFold(unit, "bytes") || !found || !dash {
		return 0, 0, 0, false
	}
	first, ok1 := parseLength(from)
	last, ok2 := parseLength(to)
	total, ok3 := int64(-1), true
	if size != "*" {
		total, ok3 = parseLength(size)
		ok3 = ok3 && last < total
	}
	if !ok1 || !ok2 || !ok3 || first > last {
		return 0, 0, 0, false
	}
	return first, last, total, true
}

// parseLength reads digits and nothing else.
func parseLength(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
