package harbor

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
)

// kept are the headers that a recording keeps: what a client reads.
var kept = []string{"Content-Type", "Location", "X-Total-Count", "Link", "Content-Length"}

// secretFields are the fields of JSON documents whose strings are secrets.
var secretFields = regexp.MustCompile(`"(secret|access_secret|password|token|access_token|old_password|new_password)":\s*"([^"]*)"`)

// secrets knows what must not be written, and what stands for it.
type secrets struct {
	mu    sync.Mutex
	pairs [][2]string // real, stand-in
}

func (s *secrets) add(secret, standIn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairs = append(s.pairs, [2]string{secret, standIn})
}

// real is the secret that a stand-in stands for.
func (s *secrets) real(standIn string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pairs {
		if p[1] == standIn {
			return p[0]
		}
	}
	return standIn
}

// learn replaces the secrets in an answer by stand-ins, "recorded-secret-1" and so on,
// and the address of the live Harbor by that which tests know.
func (e *Exchange) learn(resp *http.Response) error {
	if !strings.Contains(resp.Header.Get("Content-Type"), "json") {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	body = bytes.ReplaceAll(body, []byte(e.place), []byte(host))
	body = secretFields.ReplaceAllFunc(body, func(field []byte) []byte {
		m := secretFields.FindSubmatch(field)
		if len(m[2]) == 0 {
			return field
		}
		return []byte(`"` + string(m[1]) + `":"` + e.secrets.standIn(string(m[2])) + `"`)
	})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (s *secrets) standIn(secret string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pairs {
		if p[0] == secret || p[1] == secret {
			return p[1]
		}
	}
	standIn := "recorded-secret-" + strconv.Itoa(len(s.pairs))
	s.pairs = append(s.pairs, [2]string{secret, standIn})
	return standIn
}

// scrub takes from an exchange what is secret, or differs from run to run.
func (e *Exchange) scrub(i *cassette.Interaction) error {
	i.Request.Headers = keep(i.Request.Headers)
	i.Response.Headers = keep(i.Response.Headers)
	i.Request.Form, i.Request.RemoteAddr, i.Response.Duration = nil, "", 0
	i.Request.Body = e.clean(scrubBody(i.Request.Body))
	i.Response.Body = late(e.clean(i.Response.Body))
	i.Response.ContentLength = int64(len(i.Response.Body))
	if i.Response.Headers.Get("Content-Length") != "" {
		i.Response.Headers.Set("Content-Length", strconv.Itoa(len(i.Response.Body)))
	}
	i.Request.ContentLength = int64(len(i.Request.Body))
	i.Request.URL, i.Request.Host = e.clean(i.Request.URL), e.clean(i.Request.Host)
	return nil
}

// clean replaces the address of the live Harbor and known secrets.
func (e *Exchange) clean(text string) string {
	if e.place != "" {
		text = strings.ReplaceAll(text, e.place, host)
	}
	e.secrets.mu.Lock()
	defer e.secrets.mu.Unlock()
	for _, p := range e.secrets.pairs {
		text = strings.ReplaceAll(text, p[0], p[1])
	}
	return text
}

func keep(h http.Header) http.Header {
	out := http.Header{}
	for _, name := range kept {
		if v := h.Values(name); len(v) > 0 {
			out[name] = v
		}
	}
	return out
}

// scrubBody blanks the secrets of a request: they are also what no request is told by.
func scrubBody(body string) string {
	return secretFields.ReplaceAllString(body, `"$1":"scrubbed"`)
}

// matches tells whether a request is a recorded one: method, path, query and body.
func matches(req *http.Request, recorded cassette.Request) bool {
	if req.Method != recorded.Method {
		return false
	}
	want, err := url.Parse(recorded.URL)
	if err != nil || req.URL.EscapedPath() != want.EscapedPath() || req.URL.Query().Encode() != want.Query().Encode() {
		return false
	}
	if req.Body == nil {
		return recorded.Body == ""
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return strings.TrimSpace(scrubBody(string(body))) == strings.TrimSpace(recorded.Body)
}

// check makes sure that a recording holds none of the secrets, in no spelling that
// credentials travel in. One that does is removed.
func (s *secrets) check(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, p := range s.pairs {
		for _, spelled := range []string{p[0], url.QueryEscape(p[0]), base64.StdEncoding.EncodeToString([]byte(p[0]))} {
			if bytes.Contains(data, []byte(spelled)) {
				return errors.Join(fmt.Errorf("%s holds a secret; it is removed", path), os.Remove(path))
			}
		}
	}
	return nil
}

// expiry is when a robot ends, in seconds since 1970.
var expiry = regexp.MustCompile(`"expires_at":\s*[1-9]\d*`)

// late lets every robot of a recording end in 2100: what apply does about one that ends
// soon must not depend on the day a recording is replayed.
func late(body string) string { return expiry.ReplaceAllString(body, `"expires_at":4102444800`) }
