package install

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

	"naru/internal/carried"
	"naru/pkg/bootstrap"
)

// nodeFile names a file of the bundle that nodes get. This table is the contract
// between releases and the installer (docs/operator.md): a file is looked for in
// the components listed, in order, under its name; its members go to Dir.
type nodeFile struct {
	Name       string
	Components []string
	Dir        string
	// Packaged files may come as an OS package instead (runc of the distribution).
	Packaged bool
	// Optional files are installed when they are carried.
	Optional bool
	// Keep are the members that are installed; all if empty.
	Keep []string
}

var nodeFiles = []nodeFile{
	{Name: "kubeadm", Components: []string{"kubernetes"}, Dir: bootstrap.BinDir},
	{Name: "kubelet", Components: []string{"kubernetes"}, Dir: bootstrap.BinDir},
	{Name: "kubectl", Components: []string{"kubernetes"}, Dir: bootstrap.BinDir},
	{Name: "containerd", Components: []string{"containerd"}, Dir: bootstrap.BinDir},
	{Name: "runc", Components: []string{"runc", "containerd"}, Dir: bootstrap.BinDir, Packaged: true},
	{Name: "cni-plugins", Components: []string{"cni-plugins", "containerd"}, Dir: bootstrap.CNIBinDir},
	{Name: "crictl", Components: []string{"crictl", "containerd"}, Dir: bootstrap.BinDir, Optional: true},
	{Name: "etcd-tools", Components: []string{"etcd-tools"}, Dir: bootstrap.BinDir, Optional: true, Keep: []string{"etcdctl", "etcdutl"}},
}

// nodeFile finds a file for a platform, as files of a host.
func (c *Cluster) nodeFile(ctx context.Context, f nodeFile, platform string) ([]bootstrap.File, error) {
	var last error
	for _, id := range f.Components {
		list, err := c.Set.Files(ctx, id, f.Name, platform)
		if err != nil {
			var missing *carried.MissingError
			if !errors.As(err, &missing) {
				return nil, err
			}
			if last == nil {
				last = err
			}
			continue
		}
		var out []bootstrap.File
		for _, m := range list {
			if len(f.Keep) > 0 && !slices.Contains(f.Keep, m.Name) {
				continue
			}
			name := m.Name
			if len(list) == 1 { // a plain file is carried under the last element of its URL
				name = f.Name
			}
			out = append(out, bootstrap.File{Path: path.Join(f.Dir, name), Mode: "0755", SHA256: m.Digest.Encoded(),
				Open: func(ctx context.Context) (io.ReadCloser, error) { return m.Open(ctx) }})
		}
		return out, nil
	}
	if f.Optional || f.Packaged && c.packaged(f.Name) {
		return nil, nil
	}
	return nil, last
}

// packaged tells whether a component asks for an OS package of a name.
func (c *Cluster) packaged(name string) bool {
	for _, s := range c.Components {
		for _, p := range s.Packages {
			if slices.Contains(p.Names, name) {
				return true
			}
		}
	}
	return false
}
