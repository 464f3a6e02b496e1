package internet

import (
	"os"
	"path/filepath"
	"regexp"

	"naru/manifest"
)

var digestRE = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// CopyRelease writes the files of a release into a folder, digests of the facts
// replaced by those of the generated content and the vendors' keyrings by the lab's.
// It returns how many digests it replaced, and those of the release that the facts do
// not know.
func (n *Internet) CopyRelease(set *manifest.ReleaseSet, lock []byte, dir string) (replaced int, unknown []string, err error) {
	seen := map[string]bool{}
	write := func(name string, data []byte) error {
		data = digestRE.ReplaceAllFunc(data, func(old []byte) []byte {
			if to, ok := n.Digests[string(old)]; ok {
				replaced++
				return []byte(to)
			}
			if !seen[string(old)] {
				seen[string(old)] = true
				unknown = append(unknown, string(old))
			}
			return old
		})
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o600)
	}
	for _, name := range sortedKeys(set.Raw) {
		if filepath.Dir(name) == "keyrings" {
			continue
		}
		if err := write(name, set.Raw[name]); err != nil {
			return 0, nil, err
		}
	}
	for _, name := range sortedKeys(n.Keyrings) {
		if err := write("keyrings/"+name+".asc", n.Keyrings[name]); err != nil {
			return 0, nil, err
		}
	}
	if lock != nil {
		err = write("lock.yaml", lock)
	}
	return replaced, unknown, err
}
