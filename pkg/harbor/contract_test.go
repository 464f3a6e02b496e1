package harbor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/pkg/harbor"
	lab "naru/test/lab/harbor"
)

// client speaks to the Harbor of a recording, or of the environment.
func client(t *testing.T, name string) (*harbor.Client, *lab.Exchange) {
	t.Helper()
	exchange := lab.Open(t, name)
	return as(t, exchange, lab.User, lab.Password), exchange
}

func as(t *testing.T, exchange *lab.Exchange, user, password string) *harbor.Client {
	t.Helper()
	c, err := harbor.New(harbor.Options{URL: lab.URL, User: user, Password: password, Transport: exchange})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestContractCheck(t *testing.T) {
	c, exchange := client(t, "check")
	info, err := c.Check(t.Context())
	ok(t, err)
	if !strings.HasPrefix(info.Version, "v2.") || len(info.Components) < 4 || info.ReadOnly {
		t.Errorf("info %+v", info)
	}
	ok(t, c.Ping(t.Context()))
	// Who is not logged in is told no version.
	nobody := as(t, exchange, "nobody", "nothing")
	var version *harbor.VersionError
	if _, err := nobody.Check(t.Context()); !errors.As(err, &version) && !errors.Is(err, harbor.ErrUnauthorized) {
		t.Errorf("a stranger gets %v", err)
	}
	if err := nobody.Ping(t.Context()); !errors.Is(err, harbor.ErrUnauthorized) {
		t.Errorf("a stranger's credentials: %v", err)
	}
}

func TestContractProjects(t *testing.T) {
	c, _ := client(t, "projects")
	names := []string{"contract-a.example", "contract-b.example"}
	made, err := c.EnsureProjects(t.Context(), names)
	ok(t, err)
	for _, p := range made {
		if !p.Created || p.Public || p.ID == 0 {
			t.Errorf("made %+v", p)
		}
	}
	again, err := c.EnsureProjects(t.Context(), names)
	ok(t, err)
	if again[0].Created || again[0].ID != made[0].ID {
		t.Errorf("again %+v", again[0])
	}
	quotas, err := c.Quotas(t.Context(), made)
	ok(t, err)
	if len(quotas) != 2 || quotas[0].Hard != harbor.Unlimited || quotas[0].Used != 0 {
		t.Errorf("quotas %+v", quotas)
	}
	// "library" comes with Harbor, and is public.
	_, err = c.EnsureProjects(t.Context(), []string{"contract-c.example", "library"})
	if !errors.Is(err, harbor.ErrPublic) {
		t.Errorf("a public project: %v", err)
	}
	for _, p := range made {
		ok(t, c.DeleteProject(t.Context(), p))
	}
	all, err := c.Projects(t.Context())
	ok(t, err)
	if slices.ContainsFunc(all, func(p harbor.Project) bool { return strings.HasPrefix(p.Name, "contract-") }) {
		t.Errorf("left behind: %+v", all)
	}
}

func TestContractRules(t *testing.T) {
	c, _ := client(t, "rules")
	made, err := c.EnsureProjects(t.Context(), []string{"contract-rules.example"})
	ok(t, err)
	p := made[0]
	for _, want := range []bool{true, false} {
		added, err := c.EnsureImmutable(t.Context(), p)
		ok(t, err)
		if added != want {
			t.Errorf("rule added: %v, want %v", added, want)
		}
	}
	if fixed, err := c.Immutable(t.Context(), p); err != nil || !fixed {
		t.Errorf("immutable: %v, %v", fixed, err)
	}
	retention := harbor.Retention{Keep: 10, Days: 90, Cron: "0 0 3 * * 0"}
	if added, err := c.EnsureRetention(t.Context(), p, retention); err != nil || !added {
		t.Fatalf("retention made: %v, %v", added, err)
	}
	all, err := c.Projects(t.Context())
	ok(t, err)
	p = all[slices.IndexFunc(all, func(q harbor.Project) bool { return q.Name == p.Name })]
	if added, err := c.EnsureRetention(t.Context(), p, retention); err != nil || added {
		t.Errorf("retention made again: %v, %v", added, err)
	}
	rules, err := c.RetentionOf(t.Context(), p)
	ok(t, err)
	if !slices.Equal(rules, []string{"latestPushedK 10", "nDaysSinceLastPull 90"}) {
		t.Errorf("rules %q", rules)
	}
	ok(t, c.DeleteProject(t.Context(), p))
}

func TestContractRobots(t *testing.T) {
	c, exchange := client(t, "robots")
	var user, secret string
	keep := func(_ context.Context, name, s string) error {
		user, secret = name, s
		return nil
	}
	before, err := c.Robots(t.Context())
	ok(t, err)
	for _, role := range harbor.Roles() {
		made, err := c.MakeRobot(t.Context(), harbor.RobotRequest{Name: harbor.RobotName{Site: "contract", Role: role, Serial: harbor.NextSerial(before, "contract", role)}, Days: 30, Keep: keep})
		ok(t, err)
		if made.Name != user || made.Site != "contract" || made.Expires == "" || strings.Contains(made.Name+made.Created, secret) {
			t.Errorf("made %+v", made)
		}
		ok(t, as(t, exchange, user, secret).Ping(t.Context()))
		ok(t, c.DeleteRobot(t.Context(), *made))
		ok(t, c.DeleteRobot(t.Context(), *made))
	}
	// A secret that cannot be kept leaves no robot behind.
	full := errors.New("disk full")
	_, err = c.MakeRobot(t.Context(), harbor.RobotRequest{
		Name: harbor.RobotName{Site: "xn--3e0b707e", Role: harbor.RolePull, Serial: 1}, Days: harbor.Never, // two dashes, which Harbor takes in no name
		Keep: func(context.Context, string, string) error { return full },
	})
	if !errors.Is(err, full) || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	after, err := c.Robots(t.Context())
	ok(t, err)
	if len(after) != len(before) {
		t.Errorf("robots %+v", after)
	}
}

func TestContractSettings(t *testing.T) {
	c, _ := client(t, "settings")
	for _, want := range []bool{true, false} {
		changed, err := c.RestrictProjects(t.Context())
		ok(t, err)
		if changed != want {
			t.Errorf("changed: %v, want %v", changed, want)
		}
	}
	for _, want := range []bool{true, false} {
		changed, err := c.EnsureGC(t.Context(), harbor.Schedule{Cron: "0 0 2 * * 6"})
		ok(t, err)
		if changed != want {
			t.Errorf("garbage collection scheduled: %v, want %v", changed, want)
		}
	}
	changed, err := c.EnsureGC(t.Context(), harbor.Schedule{Cron: "0 0 4 * * 6"})
	if err != nil || !changed {
		t.Errorf("garbage collection at another time: %v, %v", changed, err)
	}
	if _, err := c.EnsureScanAll(t.Context(), harbor.Schedule{Cron: "0 0 5 * * *"}); !errors.Is(err, harbor.ErrNoScanner) {
		t.Errorf("without a scanner: %v", err)
	}
	ok(t, c.RunGC(t.Context()))
	run, err := c.LastGC(t.Context())
	ok(t, err)
	if run == nil || run.Status == "" {
		t.Errorf("run %+v", run)
	}
}

func TestContractReplication(t *testing.T) {
	c, exchange := client(t, "replication")
	_ = exchange
	// A registry that nobody listens for, and then Harbor itself.
	var refused *harbor.EndpointError
	nowhere := harbor.Endpoint{Name: "contract-nowhere", URL: "https://127.0.0.1:1", Kind: harbor.KindHarbor, User: "x"}
	if _, err := c.EnsureEndpoint(t.Context(), nowhere, "contract-secret"); !errors.As(err, &refused) {
		t.Fatalf("nobody there: %v", err)
	} else if strings.Contains(err.Error(), "contract-secret") {
		t.Error("the error holds the secret")
	}
	self := harbor.Endpoint{Name: "contract-self", URL: lab.URL, Kind: harbor.KindHarbor, User: lab.User}
	endpoint, err := c.EnsureEndpoint(t.Context(), self, lab.Password)
	ok(t, err)
	_, err = c.EnsureEndpoint(t.Context(), self, lab.Password) // new credentials for it
	ok(t, err)
	other := self
	other.Kind = harbor.KindRegistry
	if _, err := c.EnsureEndpoint(t.Context(), other, lab.Password); !errors.Is(err, harbor.ErrOtherEndpoint) {
		t.Errorf("the name of another: %v", err)
	}
	want := harbor.Policy{
		Name: "contract-out", Endpoint: *endpoint, Direction: harbor.Push, Trigger: harbor.TriggerSchedule, Cron: "0 0 1 * * *",
		Repositories: "contract-*/**", Tags: "v*", KBPerSecond: 512, Chunked: true, Enabled: true,
	}
	policy, changed, err := c.EnsurePolicy(t.Context(), want)
	if err != nil || !changed || policy.ID == 0 {
		t.Fatalf("policy %+v, %v, %v", policy, changed, err)
	}
	if _, changed, err = c.EnsurePolicy(t.Context(), want); err != nil || changed {
		t.Errorf("policy again: %v, %v", changed, err)
	}
	want.Trigger, want.Cron, want.Tags = harbor.TriggerManual, "", ""
	if policy, changed, err = c.EnsurePolicy(t.Context(), want); err != nil || !changed {
		t.Errorf("policy changed: %v, %v", changed, err)
	}
	if last, err := c.LastReplication(t.Context(), *policy); err != nil || last != nil {
		t.Errorf("runs before the first: %+v, %v", last, err)
	}
	id, err := c.StartReplication(t.Context(), *policy)
	ok(t, err)
	run, err := c.WaitReplication(t.Context(), *policy, id, harbor.WaitOptions{Every: pollEvery(exchange)})
	ok(t, err)
	if run.Tasks != 0 || !run.Done {
		t.Errorf("nothing to copy: %+v", run)
	}
	ok(t, c.SetEnabled(t.Context(), *policy, false))
	ok(t, c.DeletePolicy(t.Context(), *policy))
	ok(t, c.DeletePolicy(t.Context(), *policy))
	ok(t, c.DeleteEndpoint(t.Context(), *endpoint))
}

// TestContractPolicyByHand: switching a policy off and on again took from one that was made
// by hand all that naru's own do not have. It wants a Harbor without policies, whose
// version has a setting that go-client does not know.
func TestContractPolicyByHand(t *testing.T) {
	c, exchange := client(t, "policybyhand")
	endpoint, err := c.EnsureEndpoint(t.Context(), harbor.Endpoint{Name: "contract-byhand", URL: lab.URL, Kind: harbor.KindHarbor, User: lab.User}, lab.Password)
	ok(t, err)
	for i, special := range []string{
		`"trigger": {"type": "event_based"}, "deletion": true, "filters": []`,
		`"trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 1 * * *"}}, "single_active_replication": true,
			"filters": [{"type": "name", "value": "contract-*/**"}, {"type": "tag", "decoration": "excludes", "value": "*-rc*"}, {"type": "resource", "value": "artifact"}]`,
	} {
		ask(t, exchange, http.MethodPost, "/replication/policies", fmt.Sprintf(`{"name": "contract-%d", "description": "of the night shift", "enabled": true, %s,
			"dest_registry": {"id": %d}, "dest_namespace": "mirror", "dest_namespace_replace_count": 1, "override": false, "speed": 9, "copy_by_chunk": true}`,
			i, special, endpoint.ID))
	}
	all, err := c.Policies(t.Context())
	ok(t, err)
	for _, p := range all {
		switchOffAndOn(t, c, exchange, p)
	}
	if len(all) != 2 {
		t.Errorf("policies: %+v", all)
	}
	ok(t, c.DeleteEndpoint(t.Context(), *endpoint))
}

// switchOffAndOn wants that a policy is the same afterwards, and removes it.
func switchOffAndOn(t *testing.T, c *harbor.Client, exchange *lab.Exchange, p harbor.Policy) {
	t.Helper()
	path := fmt.Sprintf("/replication/policies/%d", p.ID)
	before := ask(t, exchange, http.MethodGet, path, "")
	for _, on := range []bool{false, false, true} {
		ok(t, c.SetEnabled(t.Context(), p, on))
		if is, _ := ask(t, exchange, http.MethodGet, path, "")["enabled"].(bool); is != on {
			t.Errorf("%s is switched on: %v, want %v", p.Name, is, on)
		}
	}
	after := ask(t, exchange, http.MethodGet, path, "")
	delete(before, "update_time")
	delete(after, "update_time")
	if before["replicate_deletion"] != true && before["single_active_replication"] != true {
		t.Errorf("%s was made as %v", p.Name, before)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("%s, switched off and on again, is\n%v\nand was\n%v", p.Name, after, before)
	}
	ok(t, c.DeletePolicy(t.Context(), p))
	if err := c.SetEnabled(t.Context(), p, false); !errors.Is(err, harbor.ErrNotFound) {
		t.Errorf("%s, which is gone: %v", p.Name, err)
	}
}

// ask sends a request to the API as its pages do, and returns the object of the answer.
func ask(t *testing.T, exchange *lab.Exchange, method, path, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, lab.URL+"/api/v2.0"+path, strings.NewReader(body))
	ok(t, err)
	req.SetBasicAuth(lab.User, lab.Password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := exchange.RoundTrip(req)
	ok(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	ok(t, err)
	if resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	var out map[string]any
	if len(data) > 0 {
		ok(t, json.Unmarshal(data, &out))
	}
	return out
}

// pollEvery is how long to wait between two looks: not at all at a recording.
func pollEvery(e *lab.Exchange) time.Duration {
	if e.Live {
		return time.Second
	}
	return time.Millisecond
}

// TestContractUnrecorded: what was not recorded is an error and never an answer.
func TestContractUnrecorded(t *testing.T) {
	if lab.Recording() {
		return
	}
	exchange := lab.Open(t, "empty")
	if _, err := as(t, exchange, lab.User, lab.Password).Projects(t.Context()); err == nil || !strings.Contains(err.Error(), "not recorded") {
		t.Errorf("got %v", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, lab.URL+"/api/v2.0/health", nil)
	ok(t, err)
	if resp, err := exchange.RoundTrip(req); err == nil {
		_ = resp.Body.Close()
		t.Error("an exchange that was not recorded has an answer")
	}
}
