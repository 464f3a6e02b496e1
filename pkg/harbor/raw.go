package harbor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// maxDocument bounds an answer that is read as a document, in bytes.
const maxDocument = 4 << 20

// document is a JSON object of the API as it is, also with what go-client's types do not
// know: those of a newer Harbor. Numbers are json.Number.
type document map[string]any

// readDocument gets the document at a path below apiPath. op and name are those of errors.
func (c *Client) readDocument(ctx context.Context, op, name, path string) (document, error) {
	body, err := c.raw(ctx, op, name, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var d document
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		return nil, failure(op, name, fmt.Errorf("reading the answer: %w", err))
	}
	return d, nil
}

// writeDocument puts a document in the place of the one at a path.
func (c *Client) writeDocument(ctx context.Context, op, name, path string, d document) error {
	body, err := json.Marshal(d)
	if err != nil {
		return failure(op, name, fmt.Errorf("encoding the request: %w", err))
	}
	_, err = c.raw(ctx, op, name, http.MethodPut, path, body)
	return err
}

// raw sends one request to the API and returns the body of an answer of success; another
// one is an *Error.
func (c *Client) raw(ctx context.Context, op, name, method, path string, body []byte) ([]byte, error) {
	u := *c.base
	u.Path = apiPath + path
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, failure(op, name, err)
	}
	req.SetBasicAuth(c.user, c.password)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, failure(op, name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, failure(op, name, fmt.Errorf("reading the answer: %w", err))
	case len(answer) > maxDocument:
		return nil, failure(op, name, errors.New("the answer is too long"))
	case resp.StatusCode != http.StatusOK:
		return nil, refusal(op, name, resp.StatusCode, answer)
	}
	return answer, nil
}

// refusal is an answer that is none of success.
func refusal(op, name string, status int, answer []byte) error {
	e := &Error{Op: op, Name: name, Status: status}
	var said models.Errors
	if json.Unmarshal(answer, &said) == nil { // a proxy in between answers in other words
		for _, m := range said.Errors {
			e.Messages = append(e.Messages, Message{Code: m.Code, Text: m.Message})
		}
	}
	return e
}
