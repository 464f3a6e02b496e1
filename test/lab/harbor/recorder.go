package harbor

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"gopkg.in/dnaeon/go-vcr.v4/pkg/cassette"
	"gopkg.in/dnaeon/go-vcr.v4/pkg/recorder"
)

// URL, User and Password are those that tests log in with. In recordings they stand for
// those of the live Harbor.
const (
	URL      = "https://harbor.lab.test"
	User     = "admin"
	Password = "lab-password"
)

// host is that of URL.
const host = "harbor.lab.test"

// Exchange is the transport of one test. It records or replays what goes to the API and
// passes on what goes to the registry.
type Exchange struct {
	// Live says that it records.
	Live bool

	vcr      *recorder.Recorder
	live     *http.Transport
	registry *registry
	secrets  *secrets
	place    string // host[:port] of the live Harbor
}

// Recording tells whether tests are run to record.
func Recording() bool { return os.Getenv("NARU_HARBOR") != "" }

// live are the settings of a recording.
type live struct{ place, user, password, ca string }

func liveSettings() (l live, ok bool, err error) {
	address := os.Getenv("NARU_HARBOR")
	if address == "" {
		return l, false, nil
	}
	password, err := os.ReadFile(os.Getenv("NARU_HARBOR_PASSWORD_FILE"))
	if err != nil {
		return l, false, err
	}
	return live{
		place: strings.TrimPrefix(address, "https://"), user: os.Getenv("NARU_HARBOR_USER"),
		password: strings.TrimSpace(string(password)), ca: os.Getenv("NARU_HARBOR_CA"),
	}, true, nil
}

// Open is the transport for a test, whose recording is testdata/<name>.yaml.
func Open(t *testing.T, name string) *Exchange {
	t.Helper()
	settings, recording, err := liveSettings()
	if err != nil {
		t.Fatal(err)
	}
	path := "testdata/" + name
	e, err := open(path, settings, recording)
	if err != nil {
		t.Fatal(err)
	}
	if !recording {
		e.registry = testRegistry(t)
	}
	t.Cleanup(func() { e.close(t, path) })
	return e
}

// open makes the transport that records to, or replays, path and ".yaml".
func open(path string, settings live, recording bool) (_ *Exchange, err error) {
	e := &Exchange{Live: recording, place: settings.place, secrets: &secrets{}}
	mode := recorder.ModeReplayOnly
	if recording {
		mode = recorder.ModeRecordOnly
		if e.live, err = liveTransport(settings.ca); err != nil {
			return nil, err
		}
		e.secrets.add(settings.password, Password)
	}
	e.vcr, err = recorder.New(path, recorder.WithMode(mode), recorder.WithSkipRequestLatency(true),
		recorder.WithRealTransport(roundTrip(func(req *http.Request) (*http.Response, error) { return e.toLive(req, settings) })),
		recorder.WithMatcher(matches),
		recorder.WithHook(e.scrub, recorder.BeforeSaveHook))
	if err != nil {
		return nil, fmt.Errorf("opening the recording %s: %w", path, err)
	}
	return e, nil
}

// close saves a recording, after looking for secrets in it, or makes sure that a replay
// used it up.
func (e *Exchange) close(t *testing.T, path string) {
	if t.Failed() && e.Live {
		return // half an exchange is none
	}
	if err := e.vcr.Stop(); err != nil {
		t.Error(err)
	}
	if e.Live {
		if err := e.secrets.check(path + ".yaml"); err != nil {
			t.Error(err)
		}
		return
	}
	c, err := cassette.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if used := e.registry.exchanges.Load(); !t.Failed() && int(used) != len(c.Interactions) {
		t.Errorf("%d of the %d recorded exchanges were made", used, len(c.Interactions))
	}
}

// RoundTrip implements [http.RoundTripper].
func (e *Exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if isRegistry(req.URL) {
		if e.Live {
			return e.toLive(req, live{})
		}
		return e.registry.RoundTrip(req)
	}
	resp, err := e.vcr.RoundTrip(req)
	if errors.Is(err, cassette.ErrInteractionNotFound) {
		return nil, fmt.Errorf("%s %s was not recorded: %w", req.Method, req.URL.RequestURI(), err)
	}
	if err == nil && !e.Live {
		e.registry.exchanges.Add(1)
	}
	return resp, err
}

// toLive sends a request to the live Harbor in the place of the one tests know.
func (e *Exchange) toLive(req *http.Request, l live) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL.Host, out.Host = e.place, e.place
	if user, password, ok := req.BasicAuth(); ok {
		if user == User && l.user != "" {
			user = l.user
		}
		out.SetBasicAuth(user, e.secrets.real(password))
	}
	if out.Body != nil && strings.Contains(out.Header.Get("Content-Type"), "json") {
		// A Harbor is told of itself in tests of replication.
		body, err := io.ReadAll(out.Body)
		if err != nil {
			return nil, err
		}
		text := strings.ReplaceAll(strings.ReplaceAll(string(body), host, e.place), Password, e.secrets.real(Password))
		out.Body, out.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
	resp, err := e.live.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if location := resp.Header.Get("Location"); location != "" {
		resp.Header.Set("Location", strings.ReplaceAll(location, e.place, host))
	}
	resp.Request = req
	if isRegistry(req.URL) {
		return resp, nil // bytes with a digest, or the size alone
	}
	return resp, e.learn(resp)
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func liveTransport(ca string) (*http.Transport, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}, nil
}
