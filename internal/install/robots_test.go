package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/internal/sitekey"
	"naru/pkg/harbor"
	lab "naru/test/lab/harbor"
)

// siteOptions are those of a site with a state of its own.
func siteOptions(t *testing.T, exchange *lab.Exchange, site string, roles ...harbor.Role) RobotsOptions {
	t.Helper()
	return RobotsOptions{Harbor: login(exchange), Site: site, State: t.TempDir(), Roles: roles, Days: 30}
}

// works tells whether the login that is kept for a role is one that Harbor takes.
func works(t *testing.T, o RobotsOptions, role harbor.Role) error {
	t.Helper()
	r := rotation{RobotsOptions: o}
	return r.try(t.Context(), *must(ReadRobotLogin(robotPath(RobotsDir(o.State), role)))(t))
}

// robotsNow are the names of naru's robots, without Harbor's prefix.
func robotsNow(t *testing.T, exchange *lab.Exchange) (names []string) {
	t.Helper()
	for _, r := range must(must(login(exchange).Client())(t).Robots(t.Context()))(t) {
		names = append(names, strings.TrimPrefix(r.Name, "robot$"))
	}
	slices.Sort(names)
	return names
}

// TestContractTwoSites wants a Harbor without robots of naru's: what one site does about
// its robots leaves those of another alone.
func TestContractTwoSites(t *testing.T) {
	exchange := lab.Open(t, "twosites")
	seoul := siteOptions(t, exchange, "seoul", harbor.RolePull, harbor.RoleSeed)
	busan := siteOptions(t, exchange, "busan", harbor.RolePull, harbor.RoleSeed)
	for _, o := range []RobotsOptions{seoul, busan} {
		for _, c := range must(EnsureRobots(t.Context(), o))(t) {
			if !c.Made || len(c.Removed)+len(c.Left)+len(c.Strange) > 0 || !strings.Contains(c.Robot, "naru-"+o.Site+"-") {
				t.Errorf("%s: %+v", o.Site, c)
			}
		}
	}
	for _, c := range must(RotateRobots(t.Context(), busan))(t) {
		if want := "robot$naru-busan-" + string(c.Role) + "-1"; !slices.Equal(c.Removed, []string{want}) {
			t.Errorf("rotated: %+v, want %s removed", c, want)
		}
	}
	for _, o := range []RobotsOptions{seoul, busan} {
		for _, role := range o.Roles {
			ok(t, works(t, o, role))
		}
	}
	want := []string{"naru-busan-pull-2", "naru-busan-seed-2", "naru-seoul-pull-1", "naru-seoul-seed-1"}
	if names := robotsNow(t, exchange); !slices.Equal(names, want) {
		t.Errorf("robots %q, want %q", names, want)
	}
	// A third that is called as the first: its first set-up leaves what it does not know.
	other := siteOptions(t, exchange, "seoul", harbor.RolePull)
	c := must(EnsureRobots(t.Context(), other))(t)[0]
	if !slices.Equal(c.Strange, []string{"robot$naru-seoul-pull-1"}) || len(c.Removed) > 0 {
		t.Errorf("another site of the name: %+v", c)
	}
	ok(t, works(t, seoul, harbor.RolePull))
	// In a Harbor that serves one site they are its own, of before its logins were lost.
	sole := siteOptions(t, exchange, "seoul", harbor.RolePull)
	sole.Sole = true
	if c := must(EnsureRobots(t.Context(), sole))(t)[0]; len(c.Removed) != 2 || len(c.Strange) > 0 {
		t.Errorf("in a Harbor of its own: %+v", c)
	}
	ok(t, works(t, busan, harbor.RolePull))
	removeRobots(t, exchange)
}

// TestContractOlderRobots: a robot from before names told of the site goes when the site
// it belongs to replaces it, and when no other does.
func TestContractOlderRobots(t *testing.T) {
	exchange := lab.Open(t, "olderrobots")
	c := must(login(exchange).Client())(t)
	seoul, busan := siteOptions(t, exchange, "seoul", harbor.RolePull), siteOptions(t, exchange, "busan", harbor.RolePull)
	for i, o := range []RobotsOptions{seoul, busan} {
		_ = must(c.MakeRobot(t.Context(), harbor.RobotRequest{
			Name: harbor.RobotName{Role: harbor.RolePull, Serial: i + 1}, Days: 30, Keep: func(_ context.Context, name, secret string) error {
				return keepRobot(RobotsDir(o.State), RobotLogin{Harbor: lab.URL, Role: harbor.RolePull, User: name, Secret: secret})
			},
		}))(t)
	}
	// They work, and stay until they are replaced.
	if kept := must(EnsureRobots(t.Context(), seoul))(t)[0]; kept.Made || kept.Robot != "robot$naru-pull-1" {
		t.Errorf("an older robot that works: %+v", kept)
	}
	// One with which nobody can log in is not known to be the site's.
	lost := must(ReadRobotLogin(robotPath(RobotsDir(busan.State), harbor.RolePull)))(t)
	gone := siteOptions(t, exchange, "jeju", harbor.RolePull)
	ok(t, keepRobot(RobotsDir(gone.State), RobotLogin{Harbor: lab.URL, Role: harbor.RolePull, User: lost.User, Secret: "of another robot of that name"}))
	if made := must(EnsureRobots(t.Context(), gone))(t)[0]; !made.Made || len(made.Removed) > 0 {
		t.Errorf("a robot of another site that has the name: %+v", made)
	}
	if made := must(RotateRobots(t.Context(), seoul))(t)[0]; made.Robot != "robot$naru-seoul-pull-1" || !slices.Equal(made.Removed, []string{"robot$naru-pull-1"}) {
		t.Errorf("rotated %+v", made)
	}
	ok(t, works(t, busan, harbor.RolePull))
	if names, want := robotsNow(t, exchange), []string{"naru-jeju-pull-1", "naru-pull-2", "naru-seoul-pull-1"}; !slices.Equal(names, want) {
		t.Errorf("robots %q, want %q", names, want)
	}
	removeRobots(t, exchange)
}

// TestContractRenew: a robot is replaced when it ends soon itself, and not for one that it
// has replaced.
func TestContractRenew(t *testing.T) {
	exchange := lab.Open(t, "renew")
	o := siteOptions(t, exchange, "seoul", harbor.RolePull)
	o.Days = 1
	first := must(EnsureRobots(t.Context(), o))(t)[0]
	o.Days, o.KeepOld = 365, true
	if second := must(RotateRobots(t.Context(), o))(t)[0]; !slices.Equal(second.Left, []string{first.Robot}) {
		t.Errorf("rotated: %+v", second)
	}
	o.Renew = 30 * 24 * time.Hour
	if again := must(EnsureRobots(t.Context(), o))(t)[0]; again.Made {
		t.Errorf("replaced for the sake of %s: %+v", first.Robot, again)
	}
	o.Renew = 100 * 365 * 24 * time.Hour
	if last := must(EnsureRobots(t.Context(), o))(t)[0]; !last.Made || len(last.Left) != 2 {
		t.Errorf("one that ends within a hundred years: %+v", last)
	}
	removeRobots(t, exchange)
}

// removeRobots leaves Harbor without robots of naru's.
func removeRobots(t *testing.T, exchange *lab.Exchange) {
	t.Helper()
	c := must(login(exchange).Client())(t)
	for _, r := range must(c.Robots(t.Context()))(t) {
		ok(t, c.DeleteRobot(t.Context(), r))
	}
}

// TestSiteOfLogins: whose robots they are is told by the logins that are kept.
func TestSiteOfLogins(t *testing.T) {
	dir := t.TempDir()
	key := must(sitekey.Load(filepath.Join(dir, "site")))(t)
	logins := loginFiles(RobotsDir(dir))
	want := "key-" + key.Public().Fingerprint()[:8]
	if got := must(siteOf(t.Context(), logins, key))(t); got != want || !harbor.ValidSite(got) {
		t.Errorf("without a login: %q, want %q", got, want)
	}
	ok(t, logins.Keep(t.Context(), RobotLogin{Role: harbor.RoleSeed, User: "robot$naru-seed-4"}))
	if got := must(siteOf(t.Context(), logins, key))(t); got != want {
		t.Errorf("with a login of before: %q, want %q", got, want)
	}
	ok(t, logins.Keep(t.Context(), RobotLogin{Role: harbor.RolePull, User: "robot$naru-busan-pull-4"}))
	ok(t, os.Chmod(logins.Place(harbor.RolePull), 0o644)) // the next one has to bear its name all the same
	if got := must(siteOf(t.Context(), logins, key))(t); got != "busan" {
		t.Errorf("with a login of a site: %q", got)
	}
	ok(t, os.WriteFile(logins.Place(harbor.RoleSeed), []byte("{"), 0o600))
	if got, err := siteOf(t.Context(), logins, key); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with a file that is no login: %q, %v", got, err)
	}
}

// TestDue: what tells is the robot of the login, whatever the ends of others.
func TestDue(t *testing.T) {
	soon, late := time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(300*24*time.Hour).UTC().Format(time.RFC3339)
	r := rotation{RobotsOptions: RobotsOptions{Renew: robotRenewal}, robots: []harbor.Robot{
		{Name: "robot$naru-a-pull-1", Site: "a", Role: harbor.RolePull, Expires: soon}, // left by --keep-old
		{Name: "robot$naru-a-pull-2", Site: "a", Role: harbor.RolePull, Expires: late},
		{Name: "robot$naru-b-pull-1", Site: "b", Role: harbor.RolePull, Expires: soon},
	}}
	for user, want := range map[string]bool{"robot$naru-a-pull-1": true, "robot$naru-a-pull-2": false, "robot$naru-b-pull-1": true, "robot$other": false} {
		if got := r.due(held{login: &RobotLogin{User: user}}); got != want {
			t.Errorf("%s: %v", user, got)
		}
	}
	r.Renew = 0
	if r.due(held{login: &RobotLogin{User: "robot$naru-a-pull-1"}}) {
		t.Error("nobody asked for it")
	}
}
