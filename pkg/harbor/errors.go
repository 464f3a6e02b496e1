package harbor

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-openapi/runtime"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
)

// Sentinels that an *Error is, by its status.
var (
	ErrUnauthorized = errors.New("not logged in")
	ErrForbidden    = errors.New("no right to do this")
	ErrNotFound     = errors.New("not there")
	ErrConflict     = errors.New("there already")
	ErrPrecondition = errors.New("something stands against it")
)

// Message is one line of Harbor's answer.
type Message struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Error is an operation that Harbor refused or that did not reach it.
type Error struct {
	// Op is what was done, as a gerund, Name what it was done to.
	Op, Name string
	// Status is that of the answer, 0 when there was none.
	Status int
	// Messages are what Harbor says about it, often nothing.
	Messages []Message
	// Err is why there was no answer, or one that cannot be read.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Name != "" {
		fmt.Fprintf(&b, " %q", e.Name)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ": Harbor answers %d %s", e.Status, http.StatusText(e.Status))
	}
	for _, m := range e.Messages {
		fmt.Fprintf(&b, ": %s", m.Text)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes the sentinels of this package match by status.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrConflict:
		return e.Status == http.StatusConflict
	case ErrPrecondition:
		return e.Status == http.StatusPreconditionFailed
	}
	return false
}

// statuses are those that answers of the API are told by: the generated types offer
// no more than to be asked for one.
var statuses = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
	http.StatusPreconditionFailed, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusInternalServerError,
}

// failure makes err, from go-client, an *Error. It unwraps what the generated types
// keep behind pointers that they print as such. Nil stays nil.
func failure(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Name: name}
	var unexpected *runtime.APIError
	var coded interface{ IsCode(code int) bool }
	switch {
	case errors.As(err, &unexpected):
		e.Status = unexpected.Code
	case errors.As(err, &coded):
		for _, s := range statuses {
			if coded.IsCode(s) {
				e.Status = s
			}
		}
	default:
		e.Err = err
	}
	var bearer interface{ GetPayload() *models.Errors }
	if errors.As(err, &bearer) && bearer.GetPayload() != nil {
		for _, m := range bearer.GetPayload().Errors {
			e.Messages = append(e.Messages, Message{Code: m.Code, Text: m.Message})
		}
	}
	if e.Status == 0 && e.Err == nil {
		e.Err = errors.New("an answer of a kind that go-client does not tell of")
	}
	return e
}
