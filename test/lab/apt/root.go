package apt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"naru/test/lab/cache"
	"naru/test/lab/layout"
)

// Root unpacks a minimal root file system of Debian 12 into dir: the packages of
// priority required and apt, as the archive's main suite has them, without those of
// the security suite; and libfaketime. It is made with debootstrap, by root, out of
// the archive alone, and kept in the cache.
func Root(ctx context.Context, cacheDir string, archive *layout.Layout, dir string) error {
	at, err := filepath.Abs(archive.Dir)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(cacheDir)
	if err != nil {
		return err
	}
	kept := filepath.Join(root, "archive", filepath.Base(at)+"-root")
	file := filepath.Join(kept, "root.tar")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		unlock, err := cache.Lock(ctx, root)
		if err != nil {
			return err
		}
		defer unlock()
		if err := cache.Fill(kept, func(tmp string) error { return bootstrap(ctx, at, tmp) }); err != nil {
			return fmt.Errorf("making a root file system: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return tool(ctx, "tar", "-C", dir, "--numeric-owner", "-xpf", file)
}

func bootstrap(ctx context.Context, archive, dir string) error {
	root := filepath.Join(dir, "root")
	mirror := "file://" + filepath.Join(archive, "files", Host, "debian")
	if err := tool(ctx, "debootstrap", "--variant=minbase", "--include=libfaketime", "bookworm", root, mirror); err != nil {
		return err
	}
	for _, glob := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "etc/apt/sources.list"} {
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
	if err := tool(ctx, "tar", "-C", root, "--numeric-owner", "-cf", filepath.Join(dir, "root.tar"), "."); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

func tool(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s: %w: %s", name, err, out)
	}
	return nil
}
