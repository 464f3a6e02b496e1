package install

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/sitekey"
	"naru/pkg/bootstrap"
)

// unreset is rooted of which nothing but the lock and files is touched: a reset works on
// the whole machine. It fails where fails says so.
type unreset struct {
	rooted
	fails bool
}

func (u unreset) Run(ctx context.Context, c bootstrap.Command) (*bootstrap.Result, error) {
	script := strings.Join(c.Argv, " ")
	switch {
	case strings.Contains(script, "apply.lock"), strings.Contains(script, "exec cat"):
		return u.rooted.Run(ctx, c)
	case u.fails:
		return nil, errors.New("gone")
	}
	return &bootstrap.Result{}, nil
}

// TestResetOfSomeHosts: where one host could not be reset, the journal had none of them.
func TestResetOfSomeHosts(t *testing.T) {
	site, hosts := planes(t, "a", "b")
	site.StateDir = t.TempDir()
	_ = must(sitekey.Load(filepath.Join(site.StateDir, "site")))(t)
	for i, h := range site.Hosts {
		h.Runner = unreset{hosts[h.Name], i == 1}
	}
	r, err := site.reset(t.Context(), []string{"a", "b"})
	if err == nil || len(r.Hosts) != 1 || r.Hosts[0] != "a" {
		t.Errorf("%+v, %v", r, err)
	}
	entries := journalOf(t, site.StateDir)
	if len(entries) != 1 || strings.Contains(string(entries[0].Data), `"b"`) || !strings.Contains(string(entries[0].Data), `"a"`) {
		t.Errorf("noted %v", entries)
	}
}

// TestResetOfAnotherMachine: the machine that the installer runs on is not reset in the
// place of a host that it is not.
func TestResetOfAnotherMachine(t *testing.T) {
	site := filepath.Join(t.TempDir(), "site.yaml")
	write := func(address string) {
		text := "apiVersion: naru/v1\nkind: Site\nname: a\ndomain: k8s.test\nhosts:\n" +
			"  - {name: cp1, address: " + address + ", local: true, roles: [control-plane, worker, depot]}\n"
		if err := os.WriteFile(site, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("192.0.2.77") // of nobody: RFC 5737
	var other *OtherMachineError
	if _, _, err := ResetTargets(ResetOptions{SiteFile: site}); !errors.As(err, &other) || other.Host != "cp1" {
		t.Errorf("got %v", err)
	}
	write("127.0.0.1")
	if _, targets, err := ResetTargets(ResetOptions{SiteFile: site}); err != nil || len(targets) != 1 {
		t.Errorf("this host alone: %v, %v", targets, err)
	}
}
