package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"naru/internal/atomicfile"
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
// none; for a file that others can read it is ErrExposedLogin, with the login beside it
// for whoever replaces it.
func ReadRobotLogin(path string) (*RobotLogin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the login of a robot: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the login of a robot: %w", err)
	}
	l, err := decodeRobotLogin(path, data)
	if info.Mode().Perm()&0o077 != 0 {
		return l, fmt.Errorf("reading %q: %w", path, ErrExposedLogin)
	}
	return l, err
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
	// and ErrExposedLogin, with the login beside it, where others than root could read it.
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
