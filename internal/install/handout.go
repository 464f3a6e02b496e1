package install

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"naru/internal/atomicfile"
	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
)

// basicRE finds logins as they stand in containerd's files.
var basicRE = regexp.MustCompile(`Basic [A-Za-z0-9+/=]+`)

// HandOutTo gives a new pull robot to the mirrors of containerd below dir: it takes the
// place of an older one of naru's wherever one stands. Robots of other roles are in no
// such file. containerd reads these files at every pull.
func HandOutTo(dir string) func(context.Context, RobotLogin) error {
	return func(_ context.Context, next RobotLogin) error {
		if next.Role != harbor.RolePull {
			return nil
		}
		found := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() != certsd.FileName {
				return err
			}
			data, err := os.ReadFile(path) //nolint:gosec // the folder is root's own
			if err != nil {
				return err
			}
			text := basicRE.ReplaceAllStringFunc(string(data), func(old string) string {
				if !isPullRobot(old) {
					return old
				}
				found++
				return basic(next)
			})
			if text == string(data) {
				return nil
			}
			return atomicfile.Write(path, []byte(text), certsd.Mode)
		})
		if err == nil && found == 0 {
			err = fmt.Errorf("no file below %q holds a pull robot's", dir)
		}
		if err != nil {
			return fmt.Errorf("handing out the login of %q: %w", next.User, err)
		}
		return nil
	}
}

// basic is a login as it stands in a header.
func basic(l RobotLogin) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(l.User+":"+l.Secret))
}

func isPullRobot(header string) bool {
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Basic "))
	user, _, _ := strings.Cut(string(data), ":")
	name, ok := harbor.ParseRobotName(user)
	return err == nil && ok && name.Role == harbor.RolePull
}
