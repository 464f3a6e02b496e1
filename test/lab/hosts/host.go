package hosts

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed lab-init
var labInit []byte

//go:embed boot.sh
var bootScript []byte

//go:embed supervise.sh
var superviseScript []byte

// builtin are the modules that Kubernetes asks for and this kernel has built in.
var builtin = []string{
	"kernel/net/bridge/br_netfilter.ko", "kernel/fs/overlayfs/overlay.ko", "kernel/net/netfilter/nf_conntrack.ko",
	"kernel/drivers/net/vxlan/vxlan.ko", "kernel/drivers/net/veth.ko", "kernel/net/ipv4/netfilter/ip_tables.ko",
}

// makeRoot unpacks the root file system of a host and gives it an identity.
func (l *Lab) makeRoot(ctx context.Context, archive string, h Host) error {
	root := l.Root(h.Name)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if _, err := run(ctx, "tar", "-C", root, "--numeric-owner", "--xattrs", "-I", "zstd", "-xf", archive); err != nil {
		return err
	}
	files, err := l.identity(h)
	if err != nil {
		return err
	}
	for name, f := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, f.mode); err != nil {
			return err
		}
	}
	if err := l.makeUsers(ctx, root); err != nil {
		return err
	}
	if !h.NoModules {
		if err := pretendModules(ctx, root); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "systemctl", "--root="+root, "-q", "enable", "systemd-networkd", "ssh"); err != nil {
		return err
	}
	return l.hostKey(ctx, root, h)
}

type rootFile struct {
	mode os.FileMode
	data []byte
}

// identity are the files that tell one host from another.
func (l *Lab) identity(h Host) (map[string]rootFile, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	network := fmt.Sprintf("[Match]\nName=host0\n\n[Network]\nAddress=%s/24\n", h.Addr)
	if !h.NoRoute {
		network += "Gateway=" + Gateway + "\n"
	}
	text := func(s string) rootFile { return rootFile{0o644, []byte(s)} }
	return map[string]rootFile{
		"etc/machine-id":                     text(hex.EncodeToString(id) + "\n"),
		"etc/default/locale":                 {0o644, nil}, // or every login complains
		"etc/hostname":                       text(h.Name + "\n"),
		"etc/hosts":                          text("127.0.0.1\tlocalhost\n127.0.1.1\t" + h.Name + "\n"),
		"etc/resolv.conf":                    text("nameserver " + Gateway + "\n"),
		"etc/systemd/network/10-lab.network": text(network),
		"etc/sudoers.d/op":                   {0o440, []byte("op ALL=(ALL) NOPASSWD: ALL\n")},
		"usr/sbin/lab-init":                  {0o755, labInit},
	}, nil
}

// makeUsers lets the lab's key in as root, as op, who may use sudo, and as guest,
// who may not.
func (l *Lab) makeUsers(ctx context.Context, root string) error {
	key, err := os.ReadFile(l.KeyFile() + ".pub")
	if err != nil {
		return err
	}
	for _, user := range []string{"op", "guest"} {
		if _, err := run(ctx, "chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", user); err != nil {
			return err
		}
	}
	for user, home := range map[string]string{"root": "/root", "op": "/home/op", "guest": "/home/guest"} {
		dir := filepath.Join(root, home, ".ssh")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "authorized_keys"), key, 0o600); err != nil {
			return err
		}
		if _, err := run(ctx, "chroot", root, "chown", "-R", user+":"+user, home+"/.ssh"); err != nil {
			return err
		}
	}
	return nil
}

// pretendModules makes modprobe succeed for what the kernel has built in: the
// machine that labs run on may have no modules folder to go by.
func pretendModules(ctx context.Context, root string) error {
	release, err := run(ctx, "uname", "-r")
	if err != nil {
		return err
	}
	release = strings.TrimSpace(release)
	dir := filepath.Join(root, "lib/modules", release)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list := strings.Join(builtin, "\n") + "\n"
	for _, name := range []string{"modules.builtin", "modules.order"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(list), 0o644); err != nil {
			return err
		}
	}
	_, err = run(ctx, "depmod", "-b", root, release)
	return err
}

// hostKey makes the host's key and adds it to known_hosts.
func (l *Lab) hostKey(ctx context.Context, root string, h Host) error {
	file := filepath.Join(root, "etc/ssh/ssh_host_ed25519_key")
	if _, err := run(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", h.Name, "-f", file); err != nil {
		return err
	}
	pub, err := os.ReadFile(file + ".pub")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.KnownHosts(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// One short write in append mode: hosts are made side by side.
	_, err = f.Write(append([]byte(h.Addr+" "), pub...))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// mountVar mounts a small file system for a host's /var/lib, with what lies there,
// unless it is mounted already.
func (l *Lab) mountVar(h Host) error {
	dir := filepath.Join(l.hostDir(h.Name), "var")
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := run(ctx, "mount", "-t", "tmpfs", "-o", "mode=755,size="+h.SmallVar, "naru-lab", dir); err != nil {
		return err
	}
	_, err := run(ctx, "cp", "-a", filepath.Join(l.Root(h.Name), "var/lib")+"/.", dir)
	return err
}

func (l *Lab) unmountVar(ctx context.Context, host string) error {
	dir := filepath.Join(l.hostDir(host), "var")
	if _, err := os.Stat(dir); err != nil {
		return nil // never made
	}
	_, err := run(ctx, "umount", dir)
	return err
}
