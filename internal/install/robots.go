package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"naru/internal/atomicfile"
	"naru/internal/journal"
	"naru/internal/sitekey"
	"naru/manifest"
	"naru/pkg/harbor"
)

// kindRobotLogin is the kind of a file that holds a robot's login.
const kindRobotLogin = "RobotLogin"

// RobotLogin is what a robot logs in with. It is in a file that only root reads, below
// the folder of robots, and nowhere else.
type RobotLogin struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Harbor     string      `json:"harbor"`
	Role       harbor.Role `json:"role"`
	User       string      `json:"user"`
	Secret     string      `json:"secret"`
}

// RobotsDir is the folder of robots' logins below a state folder.
func RobotsDir(state string) string { return filepath.Join(state, "harbor", "robots") }

func robotPath(dir string, role harbor.Role) string { return filepath.Join(dir, string(role)+".json") }

// ErrExposedLogin says that others than its owner can read a robot's login.
var ErrExposedLogin = errors.New("the file of a robot's login is open to others than its owner")

// ReadRobotLogin reads the login of a robot. The error wraps fs.ErrNotExist when there is
// none; a file that others can read is ErrExposedLogin.
func ReadRobotLogin(path string) (*RobotLogin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the login of a robot: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading %q: %w", path, ErrExposedLogin)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the login of a robot: %w", err)
	}
	return decodeRobotLogin(path, data)
}

func decodeRobotLogin(path string, data []byte) (*RobotLogin, error) {
	var l RobotLogin
	if err := manifest.DecodeJSON(data, kindRobotLogin, &l); err != nil {
		// The text of a JSON error may quote the document.
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("reading the login of a robot in %q: it is no JSON at byte %d", path, syntax.Offset)
		}
		return nil, fmt.Errorf("reading the login of a robot in %q: %w", path, err)
	}
	return &l, nil
}

// keepRobot writes the login of a robot where only root reads it, replacing that of
// an older one at once and whole.
func keepRobot(dir string, l RobotLogin) error {
	data, err := encodeRobotLogin(l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of robots: %w", err)
	}
	return atomicfile.Write(robotPath(dir, l.Role), data, 0o600)
}

func encodeRobotLogin(l RobotLogin) ([]byte, error) {
	l.APIVersion, l.Kind = manifest.APIVersion, kindRobotLogin
	data, err := manifest.EncodeJSON(l)
	if err != nil {
		return nil, errors.New("encoding the login of a robot") // without what was to be encoded
	}
	return data, nil
}

// RobotLogins are where robots' logins are kept.
type RobotLogins interface {
	// Read is the login of a role; the error wraps fs.ErrNotExist when there is none,
	// and is ErrExposedLogin where others than root could read it.
	Read(ctx context.Context, role harbor.Role) (*RobotLogin, error)
	// Keep puts a login in the place of an older one, whole.
	Keep(ctx context.Context, l RobotLogin) error
	// Place names where the login of a role lies, for people.
	Place(role harbor.Role) string
}

// loginFiles keep logins in a folder of this machine.
type loginFiles string

// Read implements RobotLogins.
func (f loginFiles) Read(_ context.Context, role harbor.Role) (*RobotLogin, error) {
	return ReadRobotLogin(f.Place(role))
}

// Keep implements RobotLogins.
func (f loginFiles) Keep(_ context.Context, l RobotLogin) error { return keepRobot(string(f), l) }

// Place implements RobotLogins.
func (f loginFiles) Place(role harbor.Role) string { return robotPath(string(f), role) }

// RobotsOptions are those of EnsureRobots and RotateRobots.
type RobotsOptions struct {
	Harbor HarborLogin
	// State is the folder of site key, journal and robots; empty for DefaultState.
	State string
	// Logins are where logins are kept; nil for files below State.
	Logins RobotLogins
	Roles  []harbor.Role
	// Days is how long robots live; harbor.Never for ever.
	Days int64
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
}

// EnsureRobots makes a robot for each role that has none whose login is here and works.
func EnsureRobots(ctx context.Context, o RobotsOptions) ([]RobotChange, error) {
	return o.each(ctx, func(r *rotation, role harbor.Role) (*RobotChange, error) {
		l, err := r.Logins.Read(ctx, role)
		if errors.Is(err, fs.ErrNotExist) {
			return r.replace(ctx, role)
		}
		if err != nil {
			return nil, err
		}
		if l.Harbor == r.client.URL() {
			switch err := r.try(ctx, *l); {
			case err == nil:
				return &RobotChange{Role: role, Robot: l.User, File: r.Logins.Place(role)}, nil
			case !errors.Is(err, harbor.ErrUnauthorized):
				return nil, err
			}
		}
		return r.replace(ctx, role)
	})
}

// RotateRobots replaces the robot of each role without a time in which none works: a
// new one is made, its login is tried, handed out and kept, and only then the old one is
// removed. Cut short anywhere it leaves a working login behind, and running it again
// removes what is left over.
func RotateRobots(ctx context.Context, o RobotsOptions) ([]RobotChange, error) {
	return o.each(ctx, func(r *rotation, role harbor.Role) (*RobotChange, error) { return r.replace(ctx, role) })
}

// rotation is one run over some roles.
type rotation struct {
	RobotsOptions
	client *harbor.Client
	robots []harbor.Robot
}

func (o RobotsOptions) each(ctx context.Context, f func(*rotation, harbor.Role) (*RobotChange, error)) ([]RobotChange, error) {
	if o.State == "" {
		o.State = DefaultState
	}
	key, err := sitekey.Load(filepath.Join(o.State, "site"))
	if err != nil {
		return nil, err
	}
	c, err := o.Harbor.Client()
	if err != nil {
		return nil, err
	}
	robots, err := c.Robots(ctx)
	if err != nil {
		return nil, err
	}
	if o.Logins == nil {
		o.Logins = loginFiles(RobotsDir(o.State))
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

// replace makes a robot for a role, tries it, hands it out, and removes those before it.
func (r *rotation) replace(ctx context.Context, role harbor.Role) (*RobotChange, error) {
	change := &RobotChange{Role: role, File: r.Logins.Place(role), Made: true}
	made, err := r.client.MakeRobot(ctx, harbor.RobotRequest{
		Role: role, Serial: harbor.NextSerial(r.robots, role), Days: r.Days,
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
	for _, old := range r.robots {
		if old.Role != role {
			continue
		}
		if r.KeepOld {
			change.Left = append(change.Left, old.Name)
			continue
		}
		if err := r.client.DeleteRobot(ctx, old); err != nil {
			return change, err
		}
		change.Removed = append(change.Removed, old.Name)
	}
	slices.Sort(change.Removed)
	return change, nil
}

// try logs in as a robot.
func (r *rotation) try(ctx context.Context, l RobotLogin) error {
	login := r.Harbor
	login.User, login.Password = l.User, l.Secret
	c, err := login.Client()
	if err != nil {
		return err
	}
	return c.Ping(ctx)
}
