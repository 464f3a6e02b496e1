package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
