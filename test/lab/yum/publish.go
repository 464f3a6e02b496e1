package yum

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"naru/test/lab/layout"
)

// Host is the download site that Publish puts the distribution on, ID what Content
// calls it.
const (
	Host = "yum.lab.test"
	ID   = "lab-9"
)

// Publish puts every file of the distribution on the lab's internet, as
// https://yum.lab.test/<repository>/<arch>/...
func (d *Distribution) Publish(w *layout.Writer) error {
	return filepath.WalkDir(d.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(d.Dir, path)
		if err != nil || strings.Count(rel, string(filepath.Separator)) < 2 {
			return err
		}
		_, err = w.File("https://"+Host+"/"+filepath.ToSlash(rel), func(to io.Writer) error {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			_, err = io.Copy(to, f)
			return joinClose(err, f)
		})
		return err
	})
}

func joinClose(err error, c io.Closer) error {
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

// Content is a content file that carries packages of the distribution, whose
// sources are signed with the armoured key.
func Content(name string, key []byte, packages ...string) string {
	return fmt.Sprintf(`apiVersion: naru/v1
kind: Content
name: %s
platforms: [linux/amd64, linux/arm64]
distributions: [%s]
systems:
  - id: %s
    title: The lab's RPM distribution
    family: rpm
    os: lab
    versions: ["9"]
    sources:
      - {name: base, url: "https://%s/base/$arch", keyring: lab-key}
      - {name: updates, url: "https://%s/updates/$arch", keyring: lab-key}
keyrings:
  lab-key: |
    %s
packages:
  - distributions: [%s]
    names: ["%s"]
`, name, ID, ID, Host, Host, strings.ReplaceAll(strings.TrimSpace(string(key)), "\n", "\n    "), ID, strings.Join(packages, `", "`))
}
