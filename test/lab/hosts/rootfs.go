package hosts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"naru/test/lab/cache"
)

// rootVersion is raised when the same packages are put together in another way.
const rootVersion = 1

// rootPackages are what a bare host has beyond the essential packages. udev brings
// the network device up.
var rootPackages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "sudo", "iproute2",
	"kmod", "procps", "mount", "util-linux", "ca-certificates",
}

// rootArchive returns the archive of a bare root file system, made with
// debootstrap from the machine's own package source unless it is in the cache.
func rootArchive(ctx context.Context, cacheDir string, step func(string)) (string, error) {
	if cacheDir == "" {
		return "", errors.New("making the root file system: no cache folder")
	}
	root, err := filepath.Abs(cacheDir)
	if err != nil {
		return "", err
	}
	suite, err := codename()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", rootVersion, suite, strings.Join(rootPackages, ",")))
	dir := filepath.Join(root, "rootfs", hex.EncodeToString(sum[:10]))
	archive := filepath.Join(dir, "root.tar.zst")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	unlock, err := cache.Lock(ctx, filepath.Join(root, "rootfs"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	step("making the root file system of " + suite)
	if err := cache.Fill(dir, func(tmp string) error { return bootstrap(ctx, suite, tmp) }); err != nil {
		return "", fmt.Errorf("making the root file system: %w", err)
	}
	return archive, nil
}

// bootstrap writes root.tar.zst into dir.
func bootstrap(ctx context.Context, suite, dir string) error {
	mirror, err := mirrorOf(ctx, suite)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	if _, err := run(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(rootPackages, ","), suite, root, mirror); err != nil {
		return err
	}
	for _, glob := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "etc/ssh/ssh_host_*", "etc/machine-id", "etc/apt/sources.list"} {
		found, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	if _, err := run(ctx, "tar", "-C", root, "--numeric-owner", "--xattrs", "-I", "zstd -T0 -3", "-cf", filepath.Join(dir, "root.tar.zst"), "."); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// codename is that of the Debian this runs on, which the hosts have too.
func codename() (string, error) {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return name, nil
		}
	}
	return "", errors.New("reading /etc/os-release: it names no VERSION_CODENAME")
}

// mirrorOf is the machine's own source of suite.
func mirrorOf(ctx context.Context, suite string) (string, error) {
	const query = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
	list := func() (string, error) {
		return run(ctx, "apt-get", "indextargets", "--format", query, "Created-By: Packages")
	}
	out, err := list()
	if err == nil && strings.TrimSpace(out) == "" { // no lists were ever fetched
		if _, err := run(ctx, "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"); err != nil {
			return "", err
		}
		out, err = list()
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == suite && f[2] == "main" {
			return f[0], nil
		}
	}
	return "", fmt.Errorf("apt has no source of %s main", suite)
}
