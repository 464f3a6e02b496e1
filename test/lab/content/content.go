// Package content makes the lab's content: real images, files and artifacts,
// built on this machine from Go modules and Debian packages, with their upstream's
// names. Nobody needs to be root.
//
// It is kept in a cache folder under a key made of everything that goes in (module
// versions, flags, compilers), so that only the first Build takes minutes. Debian
// packages are those that the machine's own sources have when the cache is first
// filled; content.json records which.
//
//	registry.k8s.io/etcd:3.5.24-0                 Docker manifest list, amd64, arm64, s390x
//	registry.k8s.io/pause:3.10                    Docker manifest, amd64 only
//	docker.io/library/busybox:1.35                OCI index with attestation manifests
//	ghcr.io/naru-lab/cni-plugins:v1.6.2           OCI index, signed, with SBOMs as referrers
//	ghcr.io/naru-lab/cni-plugins:v1.6.2-tar       its layers uncompressed
//	ghcr.io/naru-lab/cni-plugins:v1.6.2-zstd      its layers in zstd
//	ghcr.io/aquasecurity/trivy-db:2               a small vulnerability database, see trivydb
//	ghcr.io/aquasecurity/trivy-java-db:1          a Java database with next to nothing in it
//	https://dl.lab.test/cni-plugins-linux-ARCH-v1.6.2.tgz
//	https://dl.lab.test/etcd-v3.5.24-linux-ARCH.tar.gz
//	https://dl.lab.test/etcd-v3.5.24-linux-ARCH   the bare binary
//	https://dl.lab.test/SHA256SUMS
//	https://dl.lab.test/charts                    chart landing, see package helmchart
//	ghcr.io/naru-lab/charts/ferry:0.1.0           chart ferry
package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"naru/test/lab/cache"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// Options configure Build.
type Options struct {
	// CacheDir is kept between runs and may be shared by processes; required.
	CacheDir string
	// Recipe is what to build; Default() if nil.
	Recipe *Recipe
	// OnStep, if set, is told what is being made.
	OnStep func(step string)
}

// Build returns the content, from the cache if it is there. It needs go, gcc,
// dpkg-deb, apt-get and a network the first time.
func Build(ctx context.Context, opts Options) (*layout.Layout, error) {
	recipe := Default()
	if opts.Recipe != nil {
		recipe = *opts.Recipe
	}
	if opts.CacheDir == "" {
		return nil, errors.New("building lab content: no cache folder")
	}
	root, err := filepath.Abs(opts.CacheDir) // tools run in other folders
	if err != nil {
		return nil, fmt.Errorf("building lab content: %w", err)
	}
	key, err := recipe.key(ctx)
	if err != nil {
		return nil, fmt.Errorf("building lab content: %w", err)
	}
	dir := filepath.Join(root, "content", key)
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	unlock, err := cache.Lock(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("building lab content: %w", err)
	}
	defer unlock()
	if l, err := layout.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	b := &builder{cache: root, recipe: recipe, step: opts.OnStep}
	if b.step == nil {
		b.step = func(string) {}
	}
	if err := b.built(cache.Fill(dir, func(tmp string) error { return b.build(ctx, tmp) })); err != nil {
		return nil, fmt.Errorf("building lab content: %w", err)
	}
	return layout.Open(dir)
}

// Populate builds the default content and adds it to u.
func Populate(ctx context.Context, u *upstream.Upstream, opts Options) (*layout.Layout, error) {
	l, err := Build(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := u.Add(ctx, l); err != nil {
		return nil, fmt.Errorf("populating upstream: %w", err)
	}
	return l, nil
}

// DefaultCacheDir is the folder below the user's cache folder that commands and
// tests share.
func DefaultCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(dir, "naru-lab"), nil
}

// ToolError is a tool that was run and failed.
type ToolError struct {
	Args   []string
	Stderr string
	Err    error
}

func (e *ToolError) Error() string {
	return fmt.Sprintf("running %q: %v: %s", e.Args, e.Err, bytes.TrimSpace([]byte(e.Stderr)))
}

// Unwrap returns what os/exec said.
func (e *ToolError) Unwrap() error { return e.Err }

// runTool runs cmd and returns its standard output; an error is a *ToolError.
func runTool(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return nil, &ToolError{Args: cmd.Args, Stderr: stderr.String(), Err: err}
	}
	return stdout.Bytes(), nil
}
