package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// helm runs the real helm, with a home of its own.
func (d *demo) helm(ctx context.Context, args ...string) ([]byte, error) {
	fmt.Printf("   $ helm %s\n", shorten(args))
	cmd := exec.CommandContext(ctx, "helm", args...)
	home := filepath.Join(d.work, "helm")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("helm %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// pullCharts has helm pull every chart from the depot, as OCI artifact and from the
// chart repository, and render it.
func (d *demo) pullCharts(ctx context.Context) (string, error) {
	ca := filepath.Join(d.work, "depot", "tls", "ca.crt")
	charts, objects := 0, 0
	for _, a := range d.list {
		if a.Kind != "chart" {
			continue
		}
		name, version, _ := strings.Cut(path.Base(a.Name), ":")
		for how, args := range map[string][]string{
			"oci":  {"pull", "oci://" + d.depotURL + "/naru/charts/" + name},
			"http": {"pull", name, "--repo", "https://" + d.depotURL + "/charts"},
		} {
			dir := filepath.Join(d.work, "charts-"+how)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return "", err
			}
			if _, err := d.helm(ctx, append(args, "--version", version, "--ca-file", ca, "-d", dir)...); err != nil {
				return "", err
			}
			file := filepath.Join(dir, name+"-"+version+".tgz")
			data, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			sum := sha256.Sum256(data)
			if got := hex.EncodeToString(sum[:]); "sha256:"+got != a.Digest {
				return "", fmt.Errorf("helm pulled %s with sha256 %s, the lock has %s", a.Name, got, a.Digest)
			}
			rendered, err := d.helm(ctx, "template", name, file, "--include-crds", "--kube-version", "1.34.2")
			if err != nil {
				return "", err
			}
			objects += bytes.Count(rendered, []byte("\nkind: "))
		}
		charts++
	}
	if charts == 0 {
		return "", fmt.Errorf("the bundle lists no chart")
	}
	return fmt.Sprintf("%d charts, over OCI and HTTP, %d objects rendered", charts, objects), nil
}
