package install

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"naru/manifest"
)

// upgrading answers as the first control plane of a cluster, and keeps what kubectl was
// told to do.
type upgrading struct {
	nodes string
	fail  string // the word of kubectl that fails
	did   []string
}

func (u *upgrading) answer(argv []string) (string, int) {
	if !strings.HasSuffix(argv[0], "/kubectl") {
		return "", 0
	}
	words := argv[7:] // behind the flags that every call has
	if words[0] == "get" {
		return u.nodes, 0
	}
	u.did = append(u.did, words[0]+" "+words[1])
	if words[0] == u.fail {
		return "", 1
	}
	return "", 0
}

func nodeJSON(name string, closed bool) string {
	return fmt.Sprintf(`{"metadata": {"name": %q}, "spec": {"unschedulable": %v}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}`, name, closed)
}

// TestVacate: pods move where there is another node to take them, and stay where there
// is none; a drain that is refused stops the upgrade and leaves the node closed.
func TestVacate(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []string
		fail  string
		want  []string
	}{
		"elsewhere":    {[]string{nodeJSON("cp1", false), nodeJSON("w1", false)}, "", []string{"cordon w1", "drain w1"}},
		"alone":        {[]string{nodeJSON("w1", false)}, "", nil},
		"others shut":  {[]string{nodeJSON("cp1", true), nodeJSON("w1", false)}, "", nil},
		"not to drain": {[]string{nodeJSON("cp1", false), nodeJSON("w1", false)}, "drain", []string{"cordon w1", "drain w1"}},
	} {
		u := &upgrading{nodes: `{"items": [` + strings.Join(c.nodes, ",") + `]}`, fail: c.fail}
		cl := clusterOf(scripted(u.answer),
			manifest.SiteHost{Name: "cp1", Address: "10.0.0.1", Roles: []string{manifest.RoleControlPlane}},
			manifest.SiteHost{Name: "w1", Address: "10.0.0.2", Roles: []string{manifest.RoleWorker}})
		err := cl.vacate(t.Context(), cl.Hosts[1])
		if (err != nil) != (c.fail != "") || !slices.Equal(u.did, c.want) {
			t.Errorf("%s: %v, did %q, want %q", name, err, u.did, c.want)
		}
	}
}
