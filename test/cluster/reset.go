package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// resetAndKill resets all hosts and installs again; on the way the installer is
// killed at random moments, and the next apply completes what it left.
func (w *world) resetAndKill(ctx context.Context) (string, error) {
	file, err := w.writeSite(w.site)
	if err != nil {
		return "", err
	}
	if err := w.othersHost(ctx, file); err != nil {
		return "", err
	}
	reset, err := w.ok(w.install(ctx, "reset", "-f", file, "--all", "--yes"))
	if err != nil {
		return "", err
	}
	if err := w.leftovers(ctx); err != nil {
		return "", err
	}
	for n := 0; n < w.kills; {
		hit, err := w.killedApply(ctx, n)
		if err != nil {
			return "", err
		}
		if hit {
			n++
		} else if _, err := w.ok(w.install(ctx, "reset", "-f", file, "--all", "--yes")); err != nil { // it came to its end first
			return "", err
		}
	}
	cmd, err := w.apply(ctx, w.site)
	if err != nil {
		return "", err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return "", fmt.Errorf("apply after %d kills: %w", w.kills, err)
	}
	if err := w.fetchCredentials(ctx); err != nil {
		return "", err
	}
	if _, err := within(ctx, 2*time.Minute, func(ctx context.Context) error { return w.healthy(ctx, w.site) }); err != nil {
		return "", err
	}
	if err := w.nothingHalf(ctx); err != nil {
		return "", err
	}
	if _, err := w.unchanged(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("reset in %s; killed %d times; the last apply took %s", seconds(reset.took), w.kills, seconds(r.took)), nil
}

// othersHost wants that a reset of all hosts stops, with nothing touched, where one of
// them is another cluster's.
func (w *world) othersHost(ctx context.Context, file string) error {
	if _, err := w.lab.SSH(ctx, "cp2", "cd /var/lib/naru && cp -p cluster /run/cluster && echo other >cluster"); err != nil {
		return err
	}
	r, err := w.exec(w.install(ctx, "reset", "-f", file, "--all", "--yes"))
	if err != nil {
		return err
	}
	if r.code != 21 || !strings.Contains(r.stderr, `"cp2"`) || !strings.Contains(r.stderr, `"other"`) {
		return fmt.Errorf("reset with a host of another cluster: exit code %d: %s", r.code, last(r.all(), 1000))
	}
	if err := w.healthy(ctx, w.site); err != nil {
		return fmt.Errorf("after a reset that was refused: %w", err)
	}
	_, err = w.lab.SSH(ctx, "cp2", "cat /run/cluster >/var/lib/naru/cluster")
	return err
}

// killedApply starts an apply and kills it after a moment of chance. It tells whether
// the apply had not come to its end by then.
func (w *world) killedApply(ctx context.Context, i int) (bool, error) {
	cmd, err := w.apply(ctx, w.site)
	if err != nil {
		return false, err
	}
	after := 2*time.Second + time.Duration(w.rand.Int64N(int64(40*time.Second)))
	timer := time.AfterFunc(after, func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	defer timer.Stop()
	r, err := w.exec(cmd)
	if err != nil {
		return false, err
	}
	fmt.Printf("   kill %d after %s: exit code %d\n", i+1, seconds(after), r.code)
	if r.code > 0 {
		return false, fmt.Errorf("apply that was to be killed failed by itself: %s", last(r.all(), 3000))
	}
	return r.code < 0, nil
}

// leftovers wants that reset left nothing of the cluster.
func (w *world) leftovers(ctx context.Context) error {
	for _, h := range w.site.hosts {
		out, err := w.lab.SSH(ctx, h.name, `ls -d /etc/kubernetes/*.conf /etc/kubernetes/manifests/* /var/lib/etcd/member /var/lib/kubelet/config.yaml /etc/naru 2>/dev/null; ip -o link | grep -E 'cni0|flannel' ; iptables-save 2>/dev/null | grep -c KUBE; true`)
		if err != nil {
			return err
		}
		if found := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(out), "0")); found != "" {
			return fmt.Errorf("reset left on %s: %s", h.name, found)
		}
	}
	return nil
}

// nothingHalf looks for temporary files that a killed installer may leave.
func (w *world) nothingHalf(ctx context.Context) error {
	for _, h := range w.site.hosts {
		out, err := w.lab.SSH(ctx, h.name, `find /etc /usr/local /opt/cni /var/lib/naru -name '*.naru-new*' -o -name '.naru-*.tmp' -o -name '*.partial' 2>/dev/null; true`)
		if err != nil {
			return err
		}
		if out = strings.TrimSpace(out); out != "" {
			return fmt.Errorf("half-written files on %s: %s", h.name, out)
		}
	}
	return nil
}

// singleHost turns a bare host into a cluster with no site file, by the installer
// that lies beside the bundle, on the host itself.
func (w *world) singleHost(ctx context.Context) (string, error) {
	for _, h := range w.lab.Hosts { // room for another cluster
		if err := w.lab.Cut(ctx, h.Name); err != nil {
			return "", err
		}
	}
	// A disk of its own: with no site file to say otherwise, its kubelet goes by the
	// shares of the disk that are free, and the hosts share this machine's.
	if err := w.addBare(ctx, "single", "10.77.0.50", "12G"); err != nil {
		return "", err
	}
	root := filepath.Join(w.lab.Root("single"), "root/media")
	if err := copyTree(w.media(), root); err != nil {
		return "", err
	}
	if err := copyFile(w.pub(), filepath.Join(w.lab.Root("single"), "root/cosign.pub")); err != nil {
		return "", err
	}
	cmd, err := w.lab.SSHCommand(ctx, "single", "", "/root/media/install-linux-amd64", "apply", "/root/media", "--key", "/root/cosign.pub", "--progress", "plain")
	if err != nil {
		return "", err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return "", err
	}
	out, err := w.lab.SSH(ctx, "single", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "get", "nodes", "--no-headers")
	if err != nil {
		return "", err
	}
	if f := strings.Fields(out); len(f) < 2 || f[1] != "Ready" {
		return "", fmt.Errorf("the node is not Ready: %s", out)
	}
	return "Ready in " + seconds(r.took), nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return copyFile(p, filepath.Join(to, rel))
	})
}
