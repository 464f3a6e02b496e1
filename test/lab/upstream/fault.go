package upstream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Kind says what goes wrong.
type Kind string

// The faults. Those that speak of the body fire on GET only.
const (
	// Status answers with Fault.Status and nothing else, with a Retry-After if
	// Fault.RetryAfter is set.
	Status Kind = "status"
	// Drop closes the connection without an answer.
	Drop Kind = "drop"
	// Reset sends Fault.After bytes of the body, then a TCP reset.
	Reset Kind = "reset"
	// Truncate sends Fault.After bytes of the body, then closes the connection
	// cleanly: less than Content-Length says.
	Truncate Kind = "truncate"
	// Short sends Fault.After bytes of the body and a Content-Length that agrees.
	Short Kind = "short"
	// Slow sends Fault.Rate bytes a second.
	Slow Kind = "slow"
	// Stall sends Fault.After bytes of the body and then nothing for Fault.Delay, or
	// until the client leaves if that is 0; then it goes on.
	Stall Kind = "stall"
	// Delay waits for Fault.Delay before the request is looked at, or until the
	// client leaves if that is 0.
	Delay Kind = "delay"
	// Corrupt flips a bit of the byte at offset Fault.After of the object, whichever
	// range of it is asked for. Headers stay as they are.
	Corrupt Kind = "corrupt"
	// MovedTag answers for a tag with the manifest Fault.Digest of the repository or,
	// if that is empty, with a variant of the tag's own that was made up.
	MovedTag Kind = "moved-tag"
	// IgnoreRange answers a range request with 200 and the whole object.
	IgnoreRange Kind = "ignore-range"
	// WrongRange sends the range asked for under a Content-Range shifted by
	// Fault.Shift, or by one if that is 0.
	WrongRange Kind = "wrong-range"
)

func (k Kind) known() bool {
	return slices.Contains([]Kind{Status, Drop, Reset, Truncate, Short, Slow, Stall, Delay, Corrupt, MovedTag, IgnoreRange, WrongRange}, k)
}

// onBody says whether the fault needs an answer with a body.
func (k Kind) onBody() bool {
	return slices.Contains([]Kind{Reset, Truncate, Short, Slow, Stall, Corrupt, WrongRange}, k)
}

// Middle is a value of Fault.After: half of what the answer would hold (for
// Corrupt, half of the object).
const Middle = -1

// RetryForm is how Retry-After is spelled.
type RetryForm string

// Both forms of RFC 9110; RetrySeconds is the default.
const (
	RetrySeconds RetryForm = "seconds"
	RetryDate    RetryForm = "http-date"
)

// Duration is a time.Duration that reads and writes "1.5s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// Fault is one thing that goes wrong, for which requests, and when.
type Fault struct {
	// Name appears in the request log; the kind if empty.
	Name  string `json:"name,omitempty"`
	Kind  Kind   `json:"kind"`
	Match Match  `json:"match"`
	When  When   `json:"when"`

	Status     int       `json:"status,omitempty"`
	RetryAfter Duration  `json:"retryAfter,omitempty"` // whole seconds are sent, rounded up
	RetryForm  RetryForm `json:"retryForm,omitempty"`
	After      int64     `json:"after,omitempty"` // bytes, or Middle
	Rate       int64     `json:"rate,omitempty"`  // bytes a second, at least 1
	Delay      Duration  `json:"delay,omitempty"`
	Digest     string    `json:"digest,omitempty"`
	Shift      int64     `json:"shift,omitempty"`
}

// Match selects requests; the zero value selects all under /v2/ and /files/.
type Match struct {
	Method string `json:"method,omitempty"`
	// Path is a regular expression that the path, with the upstream host in it,
	// must contain a match of.
	Path string `json:"path,omitempty"`
}

// When selects among the matching requests; the zero value takes every one.
type When struct {
	// Skip lets the first ones pass.
	Skip int `json:"skip,omitempty"`
	// Times is how many then fire, 0 for no limit.
	Times int `json:"times,omitempty"`
	// Per is what Skip and Times count over.
	Per Scope `json:"per,omitempty"`
	// Probability, above 0 and below 1, lets a part of those fire. Which, depends
	// on Seed, method, path and how often the path was asked for, and so not on the
	// order of concurrent requests.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
}

// Scope is what requests are counted over.
type Scope string

// PerFault is the default: all matching requests in one count.
const (
	PerFault Scope = "fault"
	PerPath  Scope = "path"
)

// FaultStatus is a fault with its counts.
type FaultStatus struct {
	Fault Fault `json:"fault"`
	Seen  int   `json:"seen"`  // requests that matched
	Fired int   `json:"fired"` // requests that it was applied to
}

// ErrBadFault says that a fault makes no sense as given.
var ErrBadFault = errors.New("bad fault")

func (f Fault) validate() error {
	switch {
	case !f.Kind.known():
		return fmt.Errorf("%w: unknown kind %q", ErrBadFault, f.Kind)
	case f.Kind == Status && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("%w: status %d", ErrBadFault, f.Status)
	case f.Kind == Slow && f.Rate < 1:
		return fmt.Errorf("%w: rate %d", ErrBadFault, f.Rate)
	case f.After < Middle:
		return fmt.Errorf("%w: after %d", ErrBadFault, f.After)
	case f.When.Probability < 0 || f.When.Probability > 1:
		return fmt.Errorf("%w: probability %v", ErrBadFault, f.When.Probability)
	case f.When.Per != "" && f.When.Per != PerFault && f.When.Per != PerPath:
		return fmt.Errorf("%w: counting per %q", ErrBadFault, f.When.Per)
	case f.RetryForm != "" && f.RetryForm != RetrySeconds && f.RetryForm != RetryDate:
		return fmt.Errorf("%w: Retry-After as %q", ErrBadFault, f.RetryForm)
	}
	return nil
}

// armed is a fault with its counters.
type armed struct {
	Fault
	path  *regexp.Regexp
	seen  int
	fired int
	byKey map[string]int // requests seen, by scope
	byURL map[string]int // requests seen, by method and path
}

// faultTable holds the faults in order of injection.
type faultTable struct {
	mu     sync.Mutex
	faults []*armed
}

func (t *faultTable) add(f Fault) error {
	if err := f.validate(); err != nil {
		return err
	}
	re, err := regexp.Compile(f.Match.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadFault, err)
	}
	if f.Name == "" {
		f.Name = string(f.Kind)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, &armed{Fault: f, path: re, byKey: map[string]int{}, byURL: map[string]int{}})
	return nil
}

func (t *faultTable) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = nil
}

func (t *faultTable) status() []FaultStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]FaultStatus, 0, len(t.faults))
	for _, a := range t.faults {
		out = append(out, FaultStatus{Fault: a.Fault, Seen: a.seen, Fired: a.fired})
	}
	return out
}

// pick returns the fault to apply to a request, if any.
func (t *faultTable) pick(r *http.Request) (Fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.faults {
		if a.matches(r) && a.fires(r) {
			a.fired++
			return a.Fault, true
		}
	}
	return Fault{}, false
}

func (a *armed) matches(r *http.Request) bool {
	switch {
	case a.Match.Method != "" && a.Match.Method != r.Method:
		return false
	case a.Kind.onBody() && r.Method != http.MethodGet:
		return false
	case (a.Kind == IgnoreRange || a.Kind == WrongRange) && r.Header.Get("Range") == "":
		return false
	case a.Kind == MovedTag && parsePath(r.URL.Path).kind != kindManifest:
		return false
	}
	return a.path.MatchString(r.URL.Path)
}

// fires counts a matching request and decides.
func (a *armed) fires(r *http.Request) bool {
	key, url := "", r.Method+" "+r.URL.Path
	if a.When.Per == PerPath {
		key = url
	}
	a.seen++
	n, turn := a.byKey[key], a.byURL[url]
	a.byKey[key]++
	a.byURL[url]++
	if n < a.When.Skip || (a.When.Times > 0 && n >= a.When.Skip+a.When.Times) {
		return false
	}
	if p := a.When.Probability; p > 0 && p < 1 {
		return draw(a.When.Seed, url, turn) < p
	}
	return true
}

// draw is a number in [0, 1) that depends on nothing but its arguments.
func draw(seed uint64, url string, turn int) float64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, seed))
	_, _ = h.Write([]byte(url))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(turn)))
	x := h.Sum64() // fnv leaves the high bits of short inputs weak: mix (splitmix64)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}
