package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"naru/test/lab/helmchart"
	"naru/test/lab/trivydb"
)

// assembly is raised when the same inputs are put together in another way.
const assembly = 2

// Recipe says what the content is made from. What a nil field stands for is left
// out.
type Recipe struct {
	CNI     *GoModule `json:"cni,omitempty"`
	Etcd    *GoModule `json:"etcd,omitempty"`
	Pause   *CSource  `json:"pause,omitempty"`
	Busybox *Debian   `json:"busybox,omitempty"`
	// Charts is the hash of the lab's Helm charts, empty for none. They name images
	// of all of the above.
	Charts string `json:"charts,omitempty"`
	// Base is the layer that all images but pause share.
	Base *Debian `json:"base,omitempty"`
	// Cluster is what a cluster is made from.
	Cluster *Cluster `json:"cluster,omitempty"`
	// Databases are advisories for the vulnerability database; with some there is a
	// Java database too.
	Databases []trivydb.Advisory `json:"databases,omitempty"`
}

// GoModule names commands of a Go module.
type GoModule struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	// Commands by the name of their binary, to the package below the module.
	Commands map[string]string `json:"commands"`
	Arches   []string          `json:"arches"`
}

// CSource names C sources of a Go module, built into one static binary for the
// architecture this runs on.
type CSource struct {
	Module  string   `json:"module"`
	Version string   `json:"version"`
	Sources []string `json:"sources"`
	Binary  string   `json:"binary"`
	Flags   []string `json:"flags"`
	Arch    string   `json:"arch"`
}

// Debian names packages of the distribution this runs on, in the versions it has.
type Debian struct {
	Packages []string `json:"packages,omitempty"` // one build an architecture
	All      []string `json:"all,omitempty"`      // one build for all
	Arches   []string `json:"arches"`
}

// Default is the content of the demo: 150 to 300 MB.
//
// pause is C and is built for linux/amd64 only, as no cross compiler is asked for.
func Default() Recipe {
	both := []string{"amd64", "arm64"}
	return Recipe{
		CNI: &GoModule{
			Module: "github.com/containernetworking/plugins", Version: "v1.6.2",
			Commands: map[string]string{
				"bridge": "plugins/main/bridge", "ipvlan": "plugins/main/ipvlan", "loopback": "plugins/main/loopback",
				"macvlan": "plugins/main/macvlan", "ptp": "plugins/main/ptp",
				"host-local": "plugins/ipam/host-local", "static": "plugins/ipam/static",
				"firewall": "plugins/meta/firewall", "portmap": "plugins/meta/portmap", "tuning": "plugins/meta/tuning",
			},
			Arches: both,
		},
		Etcd: &GoModule{
			Module: "go.etcd.io/etcd/server/v3", Version: "v3.5.24",
			Commands: map[string]string{"etcd": ""},
			Arches:   append(both, "s390x"),
		},
		Pause: &CSource{
			Module: "k8s.io/kubernetes", Version: "v1.31.0",
			Sources: []string{"build/pause/linux/pause.c"},
			Binary:  "pause",
			Flags:   []string{"-Os", "-Wall", "-Werror", "-static", "-s", "-Wl,--build-id=none", "-DVERSION=v3.10"},
			Arch:    "amd64",
		},
		Busybox: &Debian{Packages: []string{"busybox-static"}, Arches: both},
		Base: &Debian{
			Packages: []string{"base-files", "libc6"},
			All:      []string{"ca-certificates", "netbase", "tzdata"},
			Arches:   both,
		},
		Charts:    helmchart.Hash(),
		Databases: trivydb.Default(),
	}
}

// key is the name of what this recipe gives with the tools of this machine.
func (r Recipe) key(ctx context.Context) (string, error) {
	inputs := struct {
		Assembly int      `json:"assembly"`
		Recipe   Recipe   `json:"recipe"`
		Flags    []string `json:"flags"`
		Go, GCC  string
	}{Assembly: assembly, Recipe: r, Flags: goFlags()}
	var err error
	if r.CNI != nil || r.Etcd != nil || r.Pause != nil || r.Cluster != nil {
		if inputs.Go, err = toolOutput(ctx, "go", "env", "GOVERSION"); err != nil {
			return "", err
		}
	}
	if r.Pause != nil {
		if inputs.GCC, err = toolOutput(ctx, "gcc", "-dumpfullversion"); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(inputs)
	if err != nil {
		return "", fmt.Errorf("encoding recipe: %w", err)
	}
	return shortHash(data), nil
}

func shortHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:10])
}

func toolOutput(ctx context.Context, name string, args ...string) (string, error) {
	out, err := runTool(exec.CommandContext(ctx, name, args...))
	return strings.TrimSpace(string(out)), err
}
