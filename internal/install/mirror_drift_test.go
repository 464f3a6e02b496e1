package install

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"naru/manifest"
	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
)

// TestMirrorDriftBesideADeadNode: with one node off, status told nothing of the mirrors of
// the others.
func TestMirrorDriftBesideADeadNode(t *testing.T) {
	c, hosts := planes(t, "a", "b", "c")
	c.Site.Harbor = manifest.SiteHarbor{Mode: manifest.HarborExternal, Host: "harbor.site.test", Port: 443}
	login := RobotLogin{Harbor: c.harborURL(), Role: harbor.RolePull, User: "robot$naru-pull-1", Secret: "planted"}
	ok(t, c.robotLogins().Keep(t.Context(), login))
	for _, f := range must(c.mirrorFiles(map[string]string{"docker.io": "docker.io"}, &login))(t) {
		for _, h := range hosts {
			ok(t, os.MkdirAll(filepath.Dir(filepath.Join(h.dir, f.Path)), 0o755))
			ok(t, os.WriteFile(filepath.Join(h.dir, f.Path), f.Content, certsd.Mode))
		}
	}
	look := func() (drift []string) {
		c.mirrorDrift(t.Context(), func(format string, args ...any) { drift = append(drift, fmt.Sprintf(format, args...)) })
		return drift
	}
	if drift := look(); len(drift) > 0 {
		t.Errorf("as they were written: %q", drift)
	}
	changed := filepath.Join(hosts["b"].dir, certsd.Dir, "docker.io", certsd.FileName)
	ok(t, os.WriteFile(changed, append(must(os.ReadFile(changed))(t), "# by hand\n"...), certsd.Mode))
	gone := true
	c.Hosts[2].Runner = unitless{rooted: hosts["c"], gone: &gone, broken: new(bool), restarts: new(int)}
	if drift := look(); len(drift) != 1 || !strings.Contains(drift[0], "b: ") || slices.ContainsFunc(drift, func(d string) bool { return strings.Contains(d, "planted") }) {
		t.Errorf("one changed, one off: %q", drift)
	}
}
