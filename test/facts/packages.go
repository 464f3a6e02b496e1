package facts

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Packages are the names of OS packages that the facts list, by distribution
// ("debian-12"), of all roles of hosts.
func Packages() (map[string][]string, error) {
	out := map[string][]string{}
	for _, name := range []string{"platform.yaml", "extra.yaml"} {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var entries []entry
		if err := yaml.Unmarshal(data, &entries); err != nil {
			return nil, fmt.Errorf("reading %q: %w", name, err)
		}
		for _, e := range entries {
			node, ok := e.Artifacts["os_packages"]
			if !ok {
				continue
			}
			var list struct {
				Distros []struct {
					Distro string              `yaml:"distro"`
					Roles  map[string][]string `yaml:"roles"`
				} `yaml:"distros"`
			}
			if err := node.Decode(&list); err != nil {
				return nil, fmt.Errorf("reading the packages of %q: %w", e.ID, err)
			}
			for _, d := range list.Distros {
				for _, names := range d.Roles {
					out[d.Distro] = append(out[d.Distro], names...)
				}
			}
		}
	}
	return out, nil
}
