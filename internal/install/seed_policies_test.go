package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/harbor"
	lab "naru/test/lab/harbor"
)

// TestContractPausedPolicies: what a run that was killed left switched off is switched on by
// the next, whatever became of it meanwhile. It wants a Harbor without replication.
func TestContractPausedPolicies(t *testing.T) {
	exchange := lab.Open(t, "paused")
	c := must(login(exchange).Client())(t)
	s := &seeding{SeedOptions: SeedOptions{State: t.TempDir(), Progress: progress.Nop{}}, client: c, result: &SeedResult{}}
	endpoint := must(c.EnsureEndpoint(t.Context(), harbor.Endpoint{Name: "contract-paused", URL: lab.URL, Kind: harbor.KindHarbor, User: lab.User}, lab.Password))(t)
	policy := harbor.Policy{
		Name: "contract-on-push", Endpoint: *endpoint, Direction: harbor.Push, Trigger: harbor.TriggerEvent, Repositories: "contract-*/**", Enabled: true,
	}
	byHand := policy
	byHand.Name, byHand.Trigger, byHand.Enabled = "contract-off", harbor.TriggerManual, false
	for _, p := range []harbor.Policy{policy, byHand} {
		_, _, err := c.EnsurePolicy(t.Context(), p)
		ok(t, err)
	}
	enabled := func(want ...string) {
		t.Helper()
		var got []string
		for _, p := range must(c.Policies(t.Context()))(t) {
			if p.Enabled {
				got = append(got, p.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("switched on: %q, want %q", got, want)
		}
	}
	kill := func() { // between the last tag and the end
		_ = must(s.pausePolicies(t.Context()))(t)
		enabled()
		if names := must(readPaused(s.pausedFile()))(t); !slices.Equal(names, []string{policy.Name}) {
			t.Errorf("written down: %q", names)
		}
	}
	resumed := func(want ...string) {
		t.Helper()
		enabled(want...)
		if _, err := os.Stat(s.pausedFile()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("still written down: %v", err)
		}
	}
	kill()
	ok(t, must(s.pausePolicies(t.Context()))(t)(t.Context()))
	resumed(policy.Name)
	kill()
	ok(t, s.resumePaused(t.Context())) // of a run that could not begin
	resumed(policy.Name)
	kill()
	policy.Trigger, policy.Enabled = harbor.TriggerManual, false
	_, _, err := c.EnsurePolicy(t.Context(), policy)
	ok(t, err)
	ok(t, must(s.pausePolicies(t.Context()))(t)(t.Context()))
	resumed(policy.Name)
	policy.Trigger, policy.Enabled = harbor.TriggerEvent, true
	_, _, err = c.EnsurePolicy(t.Context(), policy)
	ok(t, err)
	kill()
	for _, p := range must(c.Policies(t.Context()))(t) {
		ok(t, c.DeletePolicy(t.Context(), p))
	}
	ok(t, must(s.pausePolicies(t.Context()))(t)(t.Context()))
	resumed()
	ok(t, c.DeleteEndpoint(t.Context(), *endpoint))
}

// TestSeedingWithoutAPlanResumes: what a run that was killed left switched off stayed so when
// the next one could not even plan.
func TestSeedingWithoutAPlanResumes(t *testing.T) {
	for name, c := range map[string]struct {
		status int  // of the list of policies
		on     bool // the policy, at the end
	}{
		"an administrator":       {http.StatusOK, true},
		"one who sees no policy": {http.StatusForbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			on := false
			transport := roundTrip(func(req *http.Request) (*http.Response, error) {
				status, body := http.StatusOK, fmt.Sprintf(`{"id": 7, "name": "naru-to-busan", "enabled": %v}`, on)
				switch {
				case req.Method == http.MethodPut:
					on = strings.Contains(string(must(io.ReadAll(req.Body))(t)), `"enabled":true`)
				case strings.HasSuffix(req.URL.Path, "/policies"):
					status, body = c.status, "["+body+"]"
				}
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
			})
			o := SeedOptions{State: t.TempDir(), Progress: progress.Nop{}, Harbor: HarborLogin{URL: "https://harbor.test", User: "u", Password: "p", Transport: transport}}
			ok(t, writePaused(pausedPath(o.State, "harbor.test"), []harbor.Policy{{Name: "naru-to-busan"}}))
			if _, err := seedBundles(t.Context(), o, nil); !errors.Is(err, ErrNothingChosen) || errors.Is(err, harbor.ErrForbidden) {
				t.Errorf("got %v", err)
			}
			if on != c.on {
				t.Errorf("replication is on: %v, want %v", on, c.on)
			}
		})
	}
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestNotSeededWhileReplicationIsOff: an even comparison does not spare the run that
// switches on what one that was killed left switched off.
func TestNotSeededWhileReplicationIsOff(t *testing.T) {
	c, _ := planes(t, "a")
	c.StateDir = t.TempDir()
	c.Set = harborSite(t, oneHost, false).Set
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborExternal, Host: "harbor.corp.test", Port: 8443}
	ok(t, c.robotLogins().Keep(t.Context(), RobotLogin{Harbor: c.harborURL(), Role: harbor.RoleSeed, User: "u", Secret: "planted"}))
	key := must(sitekey.Load(filepath.Join(c.StateDir, "site")))(t)
	ok(t, os.MkdirAll(filepath.Join(c.StateDir, "reports"), 0o700))
	ok(t, key.WriteSigned(filepath.Join(c.StateDir, "reports", "seed-1.json"), SeedReport{Harbor: c.harborURL(), Bundles: []digest.Digest{}}))
	if _, err := c.seeded(t.Context()); err == nil {
		t.Fatal("Harbor was not asked")
	}
	client := must(HarborLogin{URL: c.harborURL(), User: "u", Password: "planted"}.Client())(t)
	s := &seeding{SeedOptions: SeedOptions{State: c.StateDir}, client: client}
	ok(t, writePaused(s.pausedFile(), []harbor.Policy{{Name: "naru-to-busan"}}))
	if done, err := c.seeded(t.Context()); done || err != nil {
		t.Errorf("while a policy is switched off: %v, %v", done, err)
	}
}

// policies is a Harbor that has replication policies and nothing else, by their ids.
type policies map[string]map[string]any

func (p policies) RoundTrip(req *http.Request) (*http.Response, error) {
	var answer any = slices.Collect(maps.Values(p))
	id := strings.TrimPrefix(req.URL.Path, "/api/v2.0/replication/policies/")
	switch {
	case p[id] == nil:
	case req.Method == http.MethodPut:
		var doc map[string]any
		if err := json.NewDecoder(req.Body).Decode(&doc); err != nil {
			return nil, err
		}
		p[id] = doc
	default:
		answer = p[id]
	}
	data, err := json.Marshal(answer)
	header := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(bytes.NewReader(data)), Request: req}, err
}

// TestOthersReplicationGoesOn: while bundles were pushed, replication of the projects of
// others was off as well, and what they pushed in that time was never replicated.
func TestOthersReplicationGoesOn(t *testing.T) {
	h := policies{}
	for id, pattern := range map[string]string{"1": "team-a/**", "2": "{docker.io,quay.io}/**", "3": "**"} {
		h[id] = map[string]any{
			"id": json.Number(id), "name": pattern, "enabled": true, "trigger": map[string]any{"type": "event_based"},
			"filters": []any{map[string]any{"type": "name", "value": pattern}},
		}
	}
	enabled := func(want ...string) {
		t.Helper()
		var on []string
		for id, p := range h {
			if p["enabled"] == true {
				on = append(on, id)
			}
		}
		slices.Sort(on)
		if !slices.Equal(on, want) {
			t.Errorf("switched on: %q, want %q", on, want)
		}
	}
	var told []string
	s := &seeding{
		SeedOptions: SeedOptions{State: t.TempDir(), Progress: notes{told: &told}}, result: &SeedResult{},
		client: must(HarborLogin{URL: "https://harbor.corp.test", User: "u", Password: "planted", Transport: h}.Client())(t), projects: []harbor.Project{{Name: "docker.io"}},
	}
	resume := must(s.pausePolicies(t.Context()))(t)
	enabled("1")
	if len(told) != 1 || strings.Contains(told[0], "team-a") || !strings.Contains(told[0], "quay.io") {
		t.Errorf("told: %q", told)
	}
	ok(t, resume(t.Context()))
	enabled("1", "2", "3")
}
