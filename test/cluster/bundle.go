package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"naru/test/lab/content"
	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
	"naru/test/lab/upstream"
)

// internet are the names that the lab's upstream answers for.
var internet = []string{
	"registry.k8s.io", "ghcr.io", "docker.io", "dl.k8s.io", "github.com", "raw.githubusercontent.com", "charts.lab.test", "dl.lab.test",
}

func (w *world) startUpstream(ctx context.Context) (string, error) {
	recipe := w.recipe()
	l, err := content.Build(ctx, content.Options{CacheDir: w.cache, Recipe: &recipe, OnStep: func(s string) { fmt.Println("   " + s) }})
	if err != nil {
		return "", err
	}
	if w.up, err = upstream.Start(ctx, upstream.Options{Hosts: internet}); err != nil {
		return "", err
	}
	if err := w.up.Add(ctx, l); err != nil {
		return "", err
	}
	kubectl := "dl.k8s.io/release/" + recipe.Cluster.Kubernetes.Version + "/bin/linux/amd64/kubectl"
	data, err := os.ReadFile(filepath.Join(l.FileDir(), kubectl))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(w.path("kubectl"), data, 0o755); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d images and %d files", len(l.Catalog.Images), len(l.Catalog.Files)), nil
}

// debian are the mappings that send the release's package sources to the machine's
// own. They are the vendor's metadata and packages as they are.
func debian(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return nil, fmt.Errorf("asking apt for its sources: %w", err)
	}
	var maps []string
	for _, want := range []struct{ name, path, suite string }{
		{"debian.lab.test", "/debian", "bookworm"}, {"security.lab.test", "/debian-security", "bookworm-security"},
	} {
		found := false
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) != 3 || f[1] != want.suite || f[2] != "main" || found {
				continue
			}
			u, err := url.Parse(strings.TrimSuffix(f[0], "/"))
			if err != nil {
				return nil, err
			}
			prefix, ok := strings.CutSuffix(u.Path, want.path)
			if !ok {
				return nil, fmt.Errorf("apt's source of %s does not end in %s", want.suite, want.path)
			}
			maps = append(maps, want.name+"="+u.Scheme+"://"+u.Host+prefix)
			found = true
		}
		if !found {
			return nil, fmt.Errorf("apt has no source of %s main (run apt-get update)", want.suite)
		}
	}
	return maps, nil
}

func (w *world) buildBundle(ctx context.Context) (string, error) {
	if err := errors.Join(os.RemoveAll(w.media()), os.RemoveAll(w.key()), os.RemoveAll(w.pub())); err != nil {
		return "", err
	}
	if _, err := w.bundle(ctx, "keygen", "--out-prefix", w.path("cosign")); err != nil {
		return "", err
	}
	args, err := w.buildArgs(ctx)
	if err != nil {
		return "", err
	}
	database, err := w.scanDatabase()
	if err != nil {
		return "", err
	}
	r, err := w.bundle(ctx, append(args, "--db", database, "--java-db", "none", "--out", w.media())...)
	if err != nil {
		return "", err
	}
	if err := w.buildLacking(ctx, args, args[3]); err != nil {
		return "", fmt.Errorf("building a bundle that lacks an image: %w", err)
	}
	if err := w.buildNext(ctx, args, args[3], database); err != nil {
		return "", fmt.Errorf("building the bundle to upgrade to: %w", err)
	}
	var built struct {
		Images, Files int
		Volumes       []struct{ Size int64 }
	}
	if err := json.Unmarshal([]byte(r.stdout), &built); err != nil {
		return "", err
	}
	if _, err := w.bundle(ctx, "verify", w.media(), "--key", w.pub()); err != nil {
		return "", err
	}
	var size int64
	for _, v := range built.Volumes {
		size += v.Size
	}
	return fmt.Sprintf("%d images, %d files, %d MB", built.Images, built.Files, size>>20), nil
}

// scanDatabase makes the lab's vulnerability database: install takes no bundle that
// was never scanned, unless a site file says so.
func (w *world) scanDatabase() (string, error) {
	dir, to := w.path("trivydb"), w.path("trivydb-layout")
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(to)); err != nil {
		return "", err
	}
	if err := trivydb.Build(dir, trivydb.Default(), trivydb.Date()); err != nil {
		return "", err
	}
	lw, err := layout.NewWriter(to)
	if err != nil {
		return "", err
	}
	if err := trivydb.Add(lw, trivydb.Ref, dir); err != nil {
		return "", err
	}
	_, err = lw.Close()
	return to, err
}

func (w *world) buildArgs(ctx context.Context) ([]string, error) {
	release, err := filepath.Abs("test/lab/releases/lab")
	if err != nil {
		return nil, err
	}
	args := []string{
		"build", "--fresh", "--release", release, "--key", w.key(), "--cache", filepath.Join(w.cache, "bundle-store"), "--ca-file", w.up.CAFile(), "--installers", w.bin,
		"--progress", "none", "--output", "json",
	}
	maps, err := debian(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range append(maps, w.up.RegistryMap()...) {
		args = append(args, "--registry-map", m)
	}
	return args, nil
}

func (w *world) stopUpstream(context.Context) (string, error) {
	if w.up == nil {
		return "", errors.New("it does not run")
	}
	err := w.up.Close()
	w.up = nil
	return "every upstream name is out of reach", err
}
