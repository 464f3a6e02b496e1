package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
	"naru/pkg/harbor"
)

// harborPhase gives the site its Harbor: that of the bundle, deployed into the cluster,
// or one that the site has already, which is set up and nothing else.
//
// INPUTS: storage and the Harbor component of the bundle, or the address and login of an
// external one in the site file. OUTPUTS: in-cluster a certificate of the site's
// authority, the chart's objects, and Trivy's login for its database; with both kinds
// Harbor's name inside the cluster, only administrators that make projects, schedules,
// and the robots that seed and pull, whose logins lie on the first control plane where
// only root reads them. Rerunning is safe: the chart is compared with what the cluster
// has, the certificate stays while it fits, robots stay while their logins work and do
// not end within a month; schedules that are there already are left as they are.
func harborPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "harbor", Title: "give the site its Harbor", Serial: true, Skip: (*Cluster).noHarbor,
		Tasks: func(c *Cluster) []phase.Task {
			var tasks []phase.Task
			s := c.ownHarbor()
			if s != nil {
				tasks = append(tasks, c.certificateTask(s), c.deployTask(s))
			}
			tasks = append(tasks, c.harborNameTask(), c.waitHarborTask(), c.setUpHarborTask())
			if s != nil {
				tasks = append(tasks, c.trivyLoginTask(s))
			}
			return tasks
		}}
}

// noHarbor is the reason for which a site has no Harbor, or "".
func (c *Cluster) noHarbor() string {
	switch {
	case c.Site.Harbor.Mode == manifest.HarborNone:
		return "the site file says that there is no Harbor (harbor.mode: none)"
	case c.Site.Harbor.Mode == manifest.HarborInCluster && c.Component(harborID) == nil:
		return "the bundle carries no Harbor, and the site file names none"
	}
	return ""
}

// ownHarbor is the component of a Harbor inside the cluster, or nil.
func (c *Cluster) ownHarbor() *manifest.ComponentSpec {
	if c.Site.Harbor.Mode != manifest.HarborInCluster {
		return nil
	}
	return c.Component(harborID)
}

// harborAddress is what naru says in hosts files and to CoreDNS that Harbor's name stands
// for; "" where the site's DNS knows it.
func (c *Cluster) harborAddress() string {
	switch {
	case c.ownHarbor() != nil:
		return c.frontAddress()
	case c.Site.Harbor.Mode != manifest.HarborExternal || c.Site.Harbor.Address == "":
		return ""
	case len(c.Site.Balancers()) > 0:
		return c.frontAddress()
	}
	return c.Site.Harbor.Address
}

// harborFrontend passes on to Harbor, and refuses at once when it is down: a host that
// vanished would cost containerd half a minute a request.
func (c *Cluster) harborFrontend() []bootstrap.Frontend {
	f := bootstrap.Frontend{Name: "harbor", Port: c.Site.Harbor.Port}
	switch {
	case c.ownHarbor() != nil:
		for _, h := range c.Site.Nodes() {
			f.Backends = append(f.Backends, bootstrap.Backend{Name: h.Name, Address: net.JoinHostPort(h.Address, strconv.Itoa(c.Site.Harbor.NodePort))})
		}
	case c.Site.Harbor.Mode == manifest.HarborExternal && c.Site.Harbor.Address != "":
		f.Backends = []bootstrap.Backend{{Name: harborID, Address: net.JoinHostPort(c.Site.Harbor.Address, strconv.Itoa(c.Site.Harbor.Port))}}
	default:
		return nil
	}
	return []bootstrap.Frontend{f}
}

// harborFindings are what would take the site's Harbor away from its nodes: bundles
// without the Harbor that the cluster has, and two services at one port of HAProxy, which
// would answer for each other by turns.
func (c *Cluster) harborFindings(ctx context.Context) ([]bootstrap.Finding, error) {
	var out []bootstrap.Finding
	at := map[int]string{}
	for _, f := range c.frontends() {
		if other := at[f.Port]; other != "" && len(c.Site.Balancers()) > 0 {
			out = append(out, bootstrap.Finding{Check: "ports", What: fmt.Sprintf("HAProxy is to pass on port %d for both %s and %s", f.Port, other, f.Name), Mend: "choose another harbor.port"})
		}
		at[f.Port] = f.Name
	}
	if c.Site.Harbor.Mode != manifest.HarborInCluster || c.ownHarbor() != nil || slices.Contains(c.Site.Components.Without, harborID) {
		return out, nil
	}
	// A login alone says little: a reset leaves it, as part of the site's record.
	if cluster, err := c.keeper().Holds(ctx, `[ -e "$1" ]`, bootstrap.KubeConfig); err != nil || !cluster {
		return out, err
	}
	_, err := c.robotLogin(ctx, harbor.RolePull)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrOtherHarbor):
		return out, nil
	case err != nil:
		return nil, err
	}
	return append(out, bootstrap.Finding{Check: "harbor", What: "the cluster has a Harbor, and the bundle carries none: nodes would no longer find it",
		Mend: "apply with the bundle that carries it as well, or give it up by harbor.mode: none"}), nil
}

// How long Harbor may take to be well: one that was just deployed makes its database,
// one that is there already only has to answer.
const (
	newHarborWait = 10 * time.Minute
	oldHarborWait = 2 * time.Minute
)

// waitHarborTask waits until every part of Harbor is well.
func (c *Cluster) waitHarborTask() phase.Task {
	limit := oldHarborWait
	if c.ownHarbor() != nil {
		limit = newHarborWait
	}
	return phase.Task{What: "wait until Harbor is well", Quiet: true, Interruptible: true, Deadline: limit + time.Minute,
		Do: func(ctx context.Context) error { return c.waitHarbor(ctx, limit) }}
}

func (c *Cluster) waitHarbor(ctx context.Context, limit time.Duration) error {
	login, err := c.harborAdmin(ctx)
	if err != nil {
		return err
	}
	client, err := login.Client()
	if err != nil {
		return err
	}
	var last error
	wctx, cancel := context.WithTimeoutCause(ctx, limit, &phase.DeadlineError{After: limit})
	defer cancel()
	err = poll(wctx, 2*time.Second, func(ctx context.Context) (bool, error) {
		_, err := client.Check(ctx)
		if err == nil {
			return true, nil
		}
		if last == nil || ctx.Err() == nil { // not what the end of the time itself broke
			last = err
		}
		if hopeless(err) {
			return false, err
		}
		return false, nil
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if hopeless(err) {
		return refusal(login.URL, err)
	}
	return fmt.Errorf("waiting for Harbor at %s: %w: %w%s", login.URL, err, last, c.explainHarbor(ctx))
}

// refusal says what of the site file stands behind an answer that waiting does not change.
func refusal(url string, err error) error {
	var version *harbor.VersionError
	switch {
	case untrusted(err):
		return fmt.Errorf("reaching Harbor at %s: %w: harbor.caFile of the site file names who vouches for its certificate", url, err)
	case errors.Is(err, harbor.ErrUnauthorized), errors.As(err, &version) && version.Version == "":
		return fmt.Errorf("logging in to Harbor at %s: %w: look at harbor.user and harbor.password of the site file", url, err)
	}
	return err
}

// hopeless tells whether an answer of Harbor does not change by waiting.
func hopeless(err error) bool {
	var version *harbor.VersionError
	return errors.As(err, &version) || errors.Is(err, harbor.ErrUnauthorized) || errors.Is(err, harbor.ErrForbidden) || untrusted(err)
}

// explainHarbor gathers what tells why the Harbor in the cluster is not well; it does
// not fail.
func (c *Cluster) explainHarbor(ctx context.Context) string {
	s := c.ownHarbor()
	if s == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var b strings.Builder
	for _, what := range [][]string{{"pods", "-o", "wide"}, {"persistentvolumeclaims"}, {"events", "--sort-by=.lastTimestamp"}} {
		out, err := c.kubectl(ctx, append([]string{"get", "-n", harborNamespace(s)}, what...)...)
		if err == nil {
			lines := strings.Split(out, "\n")
			fmt.Fprintf(&b, "\n%s:\n%s", what[0], strings.Join(lines[max(0, len(lines)-25):], "\n"))
		}
	}
	return b.String()
}

// harborNamespace is where the component of Harbor is deployed.
func harborNamespace(s *manifest.ComponentSpec) string {
	name := s.ID
	for i := range s.Steps {
		if ns := s.Steps[i].Namespace; ns != "" {
			name = ns
		}
	}
	return name
}

// siteRoles are the robots that a site itself needs. Others are made by install harbor
// setup when there is somebody to give them to.
func siteRoles() []harbor.Role { return []harbor.Role{harbor.RoleSeed, harbor.RolePull} }

const (
	// robotDays is how long a robot lives; apply replaces one that ends within
	// robotRenewal.
	robotDays    = 365
	robotRenewal = 30 * 24 * time.Hour
	// When garbage is collected and everything scanned.
	gcTime   = "0 0 2 * * 6"
	scanTime = "0 0 4 * * *"
)

// setUpHarborTask makes Harbor what a closed site needs.
func (c *Cluster) setUpHarborTask() phase.Task {
	return phase.Task{What: "set up Harbor and its robots", Deadline: 5 * time.Minute,
		Done: func(ctx context.Context) (bool, error) {
			login, err := c.harborAdmin(ctx)
			if errors.Is(err, fs.ErrNotExist) {
				return false, nil // neither Harbor nor its password was made
			}
			if err != nil {
				return false, err
			}
			return c.harborIsSetUp(ctx, login)
		},
		Do: c.setUpHarbor}
}

// harborIsSetUp looks at what setUpHarbor does last, at who may make projects, and at the
// robots.
func (c *Cluster) harborIsSetUp(ctx context.Context, login HarborLogin) (bool, error) {
	client, err := login.Client()
	if err != nil {
		return false, err
	}
	info, err := client.Check(ctx)
	if err != nil || info.ProjectCreation != harbor.AdminOnly {
		return false, err
	}
	robots, err := client.Robots(ctx)
	if err != nil {
		return false, err
	}
	for _, role := range siteRoles() {
		l, err := c.robotLogin(ctx, role)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrOtherHarbor) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(robots, func(r harbor.Robot) bool { return r.Name == l.User })
		if i < 0 || robots[i].Disabled || ends(robots[i], robotRenewal) {
			return false, nil
		}
		robot, err := c.harborAs(ctx, l.User, l.Secret)
		if err != nil {
			return false, err
		}
		works, err := robot.Client()
		if err != nil {
			return false, err
		}
		if err := works.Ping(ctx); errors.Is(err, harbor.ErrUnauthorized) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

func (c *Cluster) setUpHarbor(ctx context.Context) error {
	login, err := c.harborAdmin(ctx)
	if err != nil {
		return err
	}
	o := RobotsOptions{
		Harbor: login, Site: c.Site.Name, Sole: c.ownHarbor() != nil, State: c.StateDir, Logins: c.robotLogins(), Roles: siteRoles(), Days: robotDays, Renew: robotRenewal, HandOut: c.handOut,
	}
	done, err := SetUpHarbor(ctx, HarborSetup{Robots: o, GC: gcTime, Scan: scanTime, KeepSchedules: true})
	if err != nil {
		return err
	}
	if done.Restricted {
		c.Progress.Note("Harbor lets only administrators make projects now, for all that use it")
	}
	if done.NoScanner {
		c.Progress.Note("warning: Harbor has no scanner: nothing in it is scanned")
	}
	for _, r := range done.Robots {
		if len(r.Strange) > 0 {
			c.Progress.Note(fmt.Sprintf("warning: %s of Harbor bear this site's name, and their logins are not here: they were left. Where another site is called %q too, "+
				"one of the two has to be called otherwise; where none is, install harbor rotate on the first control plane removes them", strings.Join(r.Strange, ", "), c.Site.Name))
		}
	}
	return nil
}
