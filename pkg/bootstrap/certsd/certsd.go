// Package certsd writes what containerd reads to find registries (certs.d): where a
// pull is sent, with which credentials, and to which authority's certificates. Image
// references stay as they are; only where they are looked for changes.
//
// In the steady state of a site every upstream registry has a folder of its own:
//
//	docker.io/hosts.toml: [host] Harbor, in the registry's project
//	                      [host] the depots, the first of them the server as well
//
// and so does Harbor itself, for images of the site's own that are named by it: it is
// asked without naru's login, with that of the pod.
//
// containerd asks the hosts in their order, each request anew: 404, 401, 5xx and a
// refused connection go on to the next at once. Harbor does not hold an index of which
// not all children are carried; the depot does, and children and layers then come
// from Harbor again. server is always one of ours, beside the hosts: a file with server
// alone is rejected by containerd 1.6, which then asks the upstream registry.
//
// A registry without a folder is found through _default, which the bootstrap writes and
// which stays as it is. containerd reads these files at every pull; it need not be
// started again. A host that drops packets costs half a minute a request, so that both
// are to be reached through a balancer that refuses what is down.
package certsd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Dir is where containerd looks, by naru's configuration of it.
const Dir = "/etc/containerd/certs.d"

// FileName is that of the file in each registry's folder.
const FileName = "hosts.toml"

// Mode is that of the files: they hold a credential.
const Mode = 0o600

// Steady is the steady state of a site.
type Steady struct {
	// Registries are the upstream hosts, "host" or "host:port", and the project of
	// each in Harbor.
	Registries map[string]string
	// Harbor and each of Depots are "https://host[:port]".
	Harbor string
	Depots []string
	// HarborCA and DepotCA are paths, on the node, of the authorities' certificates.
	HarborCA, DepotCA string
	// User and Secret are those of the robot that pulls. With an empty User Harbor is
	// asked without credentials.
	User, Secret string
}

var errIncomplete = errors.New("Harbor, depot and their authorities have to be named") //nolint:staticcheck // a name

// Files are the files of the steady state, by their path below Dir.
func (s Steady) Files() (map[string][]byte, error) {
	if s.Harbor == "" || len(s.Depots) == 0 || slices.Contains(s.Depots, "") || s.HarborCA == "" || s.DepotCA == "" {
		return nil, fmt.Errorf("writing the mirrors of containerd: %w", errIncomplete)
	}
	out := map[string][]byte{}
	for host, project := range s.Registries {
		out[filepath.Join(Folder(host), FileName)] = []byte(s.file(project))
	}
	out[filepath.Join(Folder(strings.TrimPrefix(s.Harbor, "https://")), FileName)] = []byte(s.own())
	return out, nil
}

// Mark is the first line of the file of a registry whose mirrors are Harbor and the
// depots: whoever looks for such files knows them by it.
const Mark = "# Written by naru: Harbor, then the depot, and nothing outside."

// OwnMark is the first line of the file of Harbor itself.
const OwnMark = "# Written by naru: the site's own images."

// own is the file for Harbor itself.
func (s Steady) own() string {
	return fmt.Sprintf(OwnMark+"\nserver = %[1]s\nca = %[2]s\n\n[host.%[1]s]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %[2]s\n",
		quote(s.Harbor), quote(s.HarborCA))
}

func (s Steady) file(project string) string {
	var b strings.Builder
	upstream := s.Harbor + "/v2/" + project
	fmt.Fprintf(&b, "%s\nserver = %s\nca = %s\n", Mark, quote(s.Depots[0]), quote(s.DepotCA))
	fmt.Fprintf(&b, "\n[host.%s]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n  ca = %s\n", quote(upstream), quote(s.HarborCA))
	if s.User != "" {
		login := base64.StdEncoding.EncodeToString([]byte(s.User + ":" + s.Secret))
		fmt.Fprintf(&b, "  [host.%s.header]\n    Authorization = [%s]\n", quote(upstream), quote("Basic "+login))
	}
	for _, depot := range s.Depots {
		fmt.Fprintf(&b, "\n[host.%s]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %s\n", quote(depot), quote(s.DepotCA))
	}
	return b.String()
}

// quote spells a TOML string: those of Go are, for what addresses and paths hold.
func quote(s string) string { return strconv.Quote(s) }

// Folder is the folder of a registry, the port set off with underscores as containerd
// has it on systems without colons in names; it looks there first everywhere.
func Folder(host string) string {
	name, port, ok := strings.Cut(host, ":")
	if !ok {
		return host
	}
	return name + "_" + port + "_"
}

// Registry is the host that a folder is for.
func Registry(folder string) string {
	if name, ok := strings.CutSuffix(folder, "_"); ok {
		if i := strings.LastIndexByte(name, '_'); i > 0 {
			return name[:i] + ":" + name[i+1:]
		}
	}
	return folder
}

// Differ lists which of the files are not as wanted below dir, sorted.
func Differ(dir string, files map[string][]byte) ([]string, error) {
	var out []string
	for name, want := range files {
		path := filepath.Join(dir, name)
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the mirrors of containerd: %w", err)
		}
		info, serr := os.Stat(path)
		if err != nil || string(have) != string(want) || serr == nil && info.Mode().Perm() != Mode {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Write puts the files below dir, each whole or not at all, with Mode. Registries that
// are not in the list keep what they have.
func Write(dir string, files map[string][]byte) error {
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the mirrors of containerd: %w", err)
		}
		if err := replace(path, data); err != nil {
			return fmt.Errorf("writing the mirrors of containerd: %w", err)
		}
	}
	return nil
}

// replace writes beside path and renames: containerd may read at any time.
func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+FileName+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(Mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
