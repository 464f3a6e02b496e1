package install

import (
	"context"
	"errors"
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
