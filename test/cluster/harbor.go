package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"naru/test/lab/harbor"
	"naru/test/lab/hosts"
)

// harborServer is the program that answers as Harbor, on the segment and outside the
// cluster, out of a recording of a real one and with a real registry.
type harborServer struct {
	cmd *exec.Cmd
	dir string
}

func (w *world) startHarbor(ctx context.Context) (*harborServer, error) {
	s := &harborServer{dir: w.path("harbor")}
	if err := errors.Join(os.RemoveAll(s.dir), os.MkdirAll(s.dir, 0o700)); err != nil {
		return nil, err
	}
	recording, err := filepath.Abs("test/cluster/testdata/harbor")
	if err != nil {
		return nil, err
	}
	s.cmd = w.lab.Command(ctx, filepath.Join(w.bin, "lab-harbor"), "-addr", hosts.Gateway+":443", "-recording", recording, "-dir", s.dir)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = within(ctx, 30*time.Second, func(context.Context) error { _, err := os.Stat(s.ca()); return err })
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, os.WriteFile(s.password(), []byte(harbor.Password+"\n"), 0o600)
}

func (s *harborServer) ca() string       { return filepath.Join(s.dir, harbor.CAName) }
func (s *harborServer) password() string { return filepath.Join(s.dir, "password") }

// stop ends it; a second call does nothing. What was asked and not recorded is an error.
func (s *harborServer) stop() error {
	if s.cmd.ProcessState == nil {
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
		_ = s.cmd.Wait() // it was told to end
	}
	unknown, err := os.ReadFile(filepath.Join(s.dir, harbor.UnknownName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("Harbor was asked what was not recorded:\n%s", unknown)) //nolint:staticcheck // a name
}

// harborPhases are those that a Harbor adds to an apply.
var harborPhases = []string{"harbor", "seed", "switch-mirrors"}

// harbor gives the site a Harbor that stands outside the cluster, and takes it away again:
// with it pods start while the depot is off, and without it while Harbor is.
func (w *world) harbor(ctx context.Context) (_ string, err error) {
	s, err := w.startHarbor(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	with := w.site
	with.harbor = fmt.Sprintf("{mode: external, host: harbor.lab.test, address: %s, user: %s, password: {file: %s}, caFile: %s}", hosts.Gateway, harbor.User, s.password(), s.ca())
	first, err := w.applyHarbor(ctx, with)
	if err != nil {
		return "", err
	}
	if err := w.harborKept(ctx); err != nil {
		return "", err
	}
	again, err := w.applyOnly(ctx, with, 0, harborPhases...)
	if err != nil {
		return "", fmt.Errorf("a second apply: %w", err)
	}
	if err := w.mendMirrors(ctx, with); err != nil {
		return "", err
	}
	depotless, err := w.pullWithoutDepot(ctx)
	if err != nil {
		return "", fmt.Errorf("with the depot off: %w", err)
	}
	if err := s.stop(); err != nil {
		return "", err
	}
	harborless, err := w.startPod(ctx, "harborless", "registry.k8s.io/kube-controller-manager:v1.32.13", "kube-controller-manager")
	if err != nil {
		return "", fmt.Errorf("with Harbor off: %w", err)
	}
	if err := w.forgetHarbor(ctx); err != nil {
		return "", fmt.Errorf("without a Harbor again: %w", err)
	}
	return fmt.Sprintf("%s; again, nothing to do, %s; a pod that had to be pulled: depot off %s, Harbor off %s", first, seconds(again), seconds(depotless), seconds(harborless)), nil
}

// forgetHarbor applies to the site without a Harbor, twice, and wants nothing of naru's to
// speak of it.
func (w *world) forgetHarbor(ctx context.Context) error {
	phases := []string{"host-config", "load-balancer", "containerd", "nodes", "harbor", "seed", "switch-mirrors", "report"}
	if _, err := w.applyOnly(ctx, w.site, -1, phases...); err != nil {
		return err
	}
	if _, err := w.applyOnly(ctx, w.site, 0, phases...); err != nil {
		return fmt.Errorf("a second apply: %w", err)
	}
	for _, node := range w.site.nodes() {
		out, err := w.lab.SSH(ctx, node, "cd /etc && ls containerd/certs.d && ls naru | grep harbor; grep -rl harbor.lab.test hosts naru containerd; true")
		if err != nil || strings.TrimSpace(out) != "_default" {
			return fmt.Errorf("what %s has of a Harbor that is gone: %s, %w", node, out, err)
		}
	}
	out, err := w.kubectl(ctx, "get", "-n", "kube-system", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
	if err != nil || strings.Contains(out, "harbor") || strings.Contains(out, "naru") {
		return fmt.Errorf("CoreDNS of a Harbor that is gone: %s, %w", out, err)
	}
	return nil
}

// applyHarbor applies with Harbor, and tells the times of its phases.
func (w *world) applyHarbor(ctx context.Context, with site) (string, error) {
	cmd, err := w.apply(ctx, with)
	if err != nil {
		return "", err
	}
	r, err := w.ok(cmd)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(w.path("harbor.log"), []byte(r.stderr), 0o644); err != nil {
		return "", err
	}
	if strings.Contains(r.all(), harbor.Password) || strings.Contains(r.all(), "recorded-secret") {
		return "", errors.New("a secret of Harbor is in what apply says")
	}
	a, err := decode(r)
	if err != nil {
		return "", err
	}
	times := fmt.Sprintf("apply %s", seconds(r.took))
	for _, p := range a.Phases {
		for _, name := range harborPhases {
			if p.Name == name {
				times += fmt.Sprintf(", %s %.1f s", name, p.Seconds)
			}
		}
	}
	return times, nil
}

// applyOnly applies some phases; changes, unless negative, is how many things that has to
// change.
func (w *world) applyOnly(ctx context.Context, s site, changes int, phases ...string) (time.Duration, error) {
	cmd, err := w.apply(ctx, s)
	if err != nil {
		return 0, err
	}
	cmd.Args = append(cmd.Args, "--only", strings.Join(phases, ","))
	r, err := w.ok(cmd)
	if err != nil {
		return 0, err
	}
	a, err := decode(r)
	if err == nil && changes >= 0 && a.Changed != changes {
		err = fmt.Errorf("changed %d things, want %d: %s", a.Changed, changes, last(r.all(), 3000))
	}
	return r.took, err
}

// harborKept wants what the phases leave behind: logins and mirrors that only root reads,
// and a signed comparison.
func (w *world) harborKept(ctx context.Context) error {
	out, err := w.lab.SSH(ctx, "cp1", "stat -c '%a %n' /var/lib/naru/harbor/robots/*.json")
	if err != nil {
		return err
	}
	if n := strings.Count(out, "600 /"); n != 2 || strings.Count(strings.TrimSpace(out), "\n") != 1 {
		return fmt.Errorf("robots' logins on cp1, want two of mode 600: %s", out)
	}
	for _, node := range w.site.nodes() {
		out, err := w.lab.SSH(ctx, node, "stat -c '%a' /etc/containerd/certs.d/registry.k8s.io/hosts.toml && grep -c harbor.lab.test /etc/hosts")
		if err != nil {
			return fmt.Errorf("mirrors of %s: %w", node, err)
		}
		if strings.Fields(out)[0] != "600" {
			return fmt.Errorf("mirrors of %s have mode %s", node, out)
		}
	}
	reports, err := filepath.Glob(filepath.Join(w.path("operator"), "reports", "seed-*.json"))
	if err != nil || len(reports) == 0 {
		return fmt.Errorf("no comparison with Harbor: %w", err)
	}
	signature := reports[0] + ".sig"
	_, err = w.ok(exec.CommandContext(ctx, "openssl", "dgst", "-sha256", "-verify", filepath.Join(w.path("operator"), "site", "site.pub"), "-signature", signature, reports[0]))
	return err
}

// mendMirrors takes a node's mirrors away, as on one that was added later: status tells,
// and apply brings them back there and nowhere else.
func (w *world) mendMirrors(ctx context.Context, with site) error {
	if _, err := w.lab.SSH(ctx, "w1", "rm -r /etc/containerd/certs.d/registry.k8s.io"); err != nil {
		return err
	}
	file, err := w.writeSite(with)
	if err != nil {
		return err
	}
	r, err := w.exec(w.install(ctx, "status", "-f", file))
	if err != nil {
		return err
	}
	if r.code == 0 || !strings.Contains(r.all(), "w1: /etc/containerd/certs.d/registry.k8s.io/hosts.toml") {
		return fmt.Errorf("status says nothing of mirrors that are gone: %d: %s", r.code, r.all())
	}
	_, err = w.applyOnly(ctx, with, 1, "switch-mirrors")
	return err
}

// pullWithoutDepot starts a pod on a node that lacks its image while no depot answers.
func (w *world) pullWithoutDepot(ctx context.Context) (took time.Duration, err error) {
	if _, err := w.lab.SSH(ctx, "lb1", "systemctl stop naru-depot"); err != nil {
		return 0, err
	}
	defer func() {
		_, serr := w.lab.SSH(context.WithoutCancel(ctx), "lb1", "systemctl start naru-depot")
		err = errors.Join(err, serr)
	}()
	return w.startPod(ctx, "depotless", "registry.k8s.io/kube-scheduler:v1.32.13", "kube-scheduler")
}

// startPod runs an image on w1, which has to pull it, and returns after how long it had
// run.
func (w *world) startPod(ctx context.Context, name, image, program string) (time.Duration, error) {
	if _, err := w.kubectl(ctx, "delete", "pod", name, "--now", "--ignore-not-found"); err != nil {
		return 0, err
	}
	out, err := w.lab.SSH(ctx, "w1", "/usr/local/bin/ctr -n k8s.io images rm --sync "+image+" >/dev/null 2>&1; /usr/local/bin/ctr -n k8s.io images ls -q")
	if err != nil || strings.Contains(out, image) {
		return 0, errors.Join(err, fmt.Errorf("w1 keeps %s: %s", image, out))
	}
	manifest := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: default}\nspec:\n  nodeName: w1\n  restartPolicy: Never\n  containers: [{name: c, image: '%s', command: [%s, --version]}]\n", name, image, program)
	if err := w.applyFile(ctx, manifest); err != nil {
		return 0, err
	}
	took, err := within(ctx, time.Minute, func(ctx context.Context) error {
		out, err := w.kubectl(ctx, "get", "pod", name, "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].state}")
		if err == nil && !strings.HasPrefix(out, "Succeeded") {
			err = fmt.Errorf("pod %s: %s", name, out)
		}
		return err
	})
	if err != nil {
		return took, err
	}
	_, err = w.kubectl(ctx, "delete", "pod", name, "--now")
	return took, err
}
