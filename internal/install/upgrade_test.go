package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"naru/manifest"
	"naru/pkg/bootstrap"
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

// TestUpgradeIsTriedAgain: how often kubeadm's checks were tried, and after what time, hung
// on how long they took: slow ones had fewer tries, one after the other without a pause.
func TestUpgradeIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		took  time.Duration
		codes []int // of the tries
		tries int
		want  int
	}{
		"quick":           {time.Second, []int{2, 2, 0}, 3, 0},
		"slow":            {3 * time.Minute, []int{2, 2, 2, 0}, 4, 0},
		"never":           {time.Minute, []int{2, 2, 2, 2, 2}, upgradeTries, 2},
		"not of a check":  {time.Second, []int{1, 0}, 1, 1},
		"at the first go": {time.Minute, []int{0}, 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var began []time.Time
			cl := clusterOf(scripted(func([]string) (string, int) {
				began = append(began, time.Now())
				timer := time.NewTimer(c.took)
				<-timer.C
				return "", c.codes[len(began)-1]
			}), manifest.SiteHost{Name: "cp1", Roles: []string{manifest.RoleControlPlane}})
			err := cl.tryUpgrade(t.Context(), cl.Hosts[0], nil)
			var exit *bootstrap.ExitError
			if errors.As(err, &exit); len(began) != c.tries || (err == nil) != (c.want == 0) || err != nil && exit.Code != c.want {
				t.Errorf("%s: %d tries, %v", name, len(began), err)
			}
			for i := 1; i < len(began); i++ {
				if pause := began[i].Sub(began[i-1]) - c.took; pause != upgradePause {
					t.Errorf("%s: try %d after a pause of %s", name, i+1, pause)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), upgradePause/2)
		defer cancel()
		cl := clusterOf(scripted(func([]string) (string, int) { return "", 2 }), manifest.SiteHost{Name: "cp1", Roles: []string{manifest.RoleControlPlane}})
		if err := cl.tryUpgrade(ctx, cl.Hosts[0], nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended in a pause: %v", err)
		}
	})
}
