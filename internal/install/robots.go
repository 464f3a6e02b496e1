package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"naru/internal/journal"
	"naru/internal/sitekey"
	"naru/pkg/harbor"
)

// RobotsOptions are those of EnsureRobots and RotateRobots.
type RobotsOptions struct {
	Harbor HarborLogin
	// Site is whose robots they are; those of other sites in the same Harbor are never
	// touched. Empty for the site of the logins that are kept, and without any for a name
	// made of the site key.
	Site string
	// Sole says that the Harbor serves no other site: robots that bear the site's name are
	// its own, also when no login is kept.
	Sole bool
	// State is the folder of site key, journal and robots; empty for DefaultState.
	State string
	// Logins are where logins are kept; nil for files below State.
	Logins RobotLogins
	Roles  []harbor.Role
	// Days is how long robots live; harbor.Never for ever.
	Days int64
	// Renew has EnsureRobots replace those too that end within it.
	Renew time.Duration
	// HandOut is given the new login of a robot when it is known to work, and before
	// the old one goes: it brings it to where it is used. It may be nil.
	HandOut func(ctx context.Context, l RobotLogin) error
	// KeepOld leaves the replaced robots, for hosts that get the new login later.
	KeepOld bool
}

// RobotChange is what was done about a role. It holds no secret.
type RobotChange struct {
	Role harbor.Role `json:"role"`
	// Robot is the one in use now; File where its login lies.
	Robot string `json:"robot"`
	File  string `json:"file"`
	Made  bool   `json:"made"`
	// Removed and Left are older robots of the role.
	Removed []string `json:"removed,omitempty"`
	Left    []string `json:"left,omitempty"`
	// Strange are robots that bear the site's name, found when no login was kept for this
	// Harbor: those of another site of that name, or of this one before its logins were
	// lost. They were left.
	Strange []string `json:"strange,omitempty"`
}

// EnsureRobots makes a robot for each role that has none whose login is here and works,
// or whose end is near.
func EnsureRobots(ctx context.Context, o RobotsOptions) ([]RobotChange, error) {
	return o.each(ctx, func(r *rotation, role harbor.Role) (*RobotChange, error) {
		h, err := r.held(ctx, role)
		if err != nil {
			return nil, err
		}
		if h.works && !r.due(h) {
			return &RobotChange{Role: role, Robot: h.login.User, File: r.Logins.Place(role)}, nil
		}
		return r.replace(ctx, role, h)
	})
}

// RotateRobots replaces the robot of each role without a time in which none works: a
// new one is made, its login is tried, handed out and kept, and only then the old one is
// removed. Cut short anywhere it leaves a working login behind, and running it again
// removes what is left over.
func RotateRobots(ctx context.Context, o RobotsOptions) ([]RobotChange, error) {
	return o.each(ctx, func(r *rotation, role harbor.Role) (*RobotChange, error) {
		h, err := r.held(ctx, role)
		if err != nil && !errors.Is(err, ErrExposedLogin) { // which is a reason to rotate
			return nil, err
		}
		return r.replace(ctx, role, h)
	})
}

// rotation is one run over some roles.
type rotation struct {
	RobotsOptions
	client *harbor.Client
	robots []harbor.Robot // of all sites
}

func (o RobotsOptions) each(ctx context.Context, f func(*rotation, harbor.Role) (*RobotChange, error)) ([]RobotChange, error) {
	if o.State == "" {
		o.State = DefaultState
	}
	key, err := sitekey.Load(filepath.Join(o.State, "site"))
	if err != nil {
		return nil, err
	}
	if o.Logins == nil {
		o.Logins = loginFiles(RobotsDir(o.State))
	}
	if o.Site == "" {
		if o.Site, err = siteOf(ctx, o.Logins, key); err != nil {
			return nil, err
		}
	}
	if !harbor.ValidSite(o.Site) {
		return nil, fmt.Errorf("naming robots for %q: %w", o.Site, harbor.ErrSiteName)
	}
	c, err := o.Harbor.Client()
	if err != nil {
		return nil, err
	}
	robots, err := c.Robots(ctx)
	if err != nil {
		return nil, err
	}
	r := &rotation{RobotsOptions: o, client: c, robots: robots}
	var out []RobotChange
	for _, role := range o.Roles {
		change, err := f(r, role)
		if err != nil {
			return out, err
		}
		out = append(out, *change)
		if !change.Made && len(change.Removed) == 0 {
			continue
		}
		note := map[string]any{"harbor": c.URL(), "user": o.Harbor.User, "change": change}
		if _, err := journal.Append(filepath.Join(o.State, "journal.jsonl"), key, "harbor-robot-replaced", note); err != nil {
			return out, err
		}
	}
	return out, nil
}

// siteOf is the site whose logins are kept. Where there are none that tell, it is a name
// made of the site key, which nobody else has.
func siteOf(ctx context.Context, logins RobotLogins, key *sitekey.Key) (string, error) {
	for _, role := range harbor.Roles() {
		l, err := logins.Read(ctx, role)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if l == nil {
			return "", err
		}
		if n, ok := harbor.ParseRobotName(l.User); ok && n.Site != "" {
			return n.Site, nil
		}
	}
	return "key-" + key.Public().Fingerprint()[:8], nil
}

// held is what is kept for a role and this Harbor.
type held struct {
	login *RobotLogin // nil when there is none
	works bool
}

// held reads the login of a role and tries it. The error wraps ErrExposedLogin, with the
// rest beside it, where others could read it.
func (r *rotation) held(ctx context.Context, role harbor.Role) (held, error) {
	l, rerr := r.Logins.Read(ctx, role)
	switch {
	case errors.Is(rerr, fs.ErrNotExist):
		return held{}, nil
	case l == nil:
		return held{}, rerr
	case l.Harbor != r.client.URL():
		return held{}, rerr
	}
	err := r.try(ctx, *l)
	if err != nil && !errors.Is(err, harbor.ErrUnauthorized) {
		return held{}, err
	}
	return held{login: l, works: err == nil}, rerr
}

// due tells whether the robot of a login ends soon. Others of its role, such as one that
// it has replaced already, do not count.
func (r *rotation) due(h held) bool {
	i := slices.IndexFunc(r.robots, func(robot harbor.Robot) bool { return robot.Name == h.login.User })
	return i >= 0 && r.Renew > 0 && ends(r.robots[i], r.Renew)
}

// ends tells whether a robot ends within some time.
func ends(r harbor.Robot, within time.Duration) bool {
	if r.Expires == "" {
		return false
	}
	at, err := time.Parse(time.RFC3339, r.Expires)
	return err != nil || time.Until(at) < within
}

// replace makes a robot for a role, tries it, hands it out, and removes those before it.
func (r *rotation) replace(ctx context.Context, role harbor.Role, h held) (*RobotChange, error) {
	change := &RobotChange{Role: role, File: r.Logins.Place(role), Made: true}
	name := harbor.RobotName{Site: r.Site, Role: role, Serial: harbor.NextSerial(r.robots, r.Site, role)}
	made, err := r.client.MakeRobot(ctx, harbor.RobotRequest{
		Name: name, Days: r.Days,
		Keep: func(ctx context.Context, name, secret string) error {
			l := RobotLogin{Harbor: r.client.URL(), Role: role, User: name, Secret: secret}
			if err := r.try(ctx, l); err != nil {
				return err
			}
			if r.HandOut != nil {
				if err := r.HandOut(ctx, l); err != nil {
					return err
				}
			}
			return r.Logins.Keep(ctx, l)
		},
	})
	if err != nil {
		return nil, err
	}
	change.Robot = made.Name
	return change, r.retire(ctx, change, h)
}

// retire removes the robots of a role that the site had before. A robot is the site's when
// it bears its name, or when the login kept here is its own and works: such a one may be
// from before names told of the site.
func (r *rotation) retire(ctx context.Context, change *RobotChange, h held) error {
	for _, old := range r.robots {
		named := old.Role == change.Role && old.Site == r.Site
		known := h.works && old.Name == h.login.User
		switch {
		case !named && !known:
		case h.login == nil && !r.Sole:
			change.Strange = append(change.Strange, old.Name)
		case r.KeepOld:
			change.Left = append(change.Left, old.Name)
		default:
			if err := r.client.DeleteRobot(ctx, old); err != nil {
				return err
			}
			change.Removed = append(change.Removed, old.Name)
		}
	}
	slices.Sort(change.Removed)
	return nil
}

func (r *rotation) try(ctx context.Context, l RobotLogin) error {
	login := r.Harbor
	login.User, login.Password = l.User, l.Secret
	c, err := login.Client()
	if err != nil {
		return err
	}
	return c.Ping(ctx)
}
