package hosts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// bootDeadline bounds how long a host may take from power to SSH.
const bootDeadline = 90 * time.Second

// tag names a host's cgroups and machine: unlike its name, unique on this machine.
func (l *Lab) tag(host string) string { return "naru-" + l.Name + "-" + host }

// machine is a host's name for nspawn, unique on this machine and short: the network
// device is named after it, which may have 15 characters.
func (l *Lab) machine(host string) string {
	sum := sha256.Sum256([]byte(l.dir + "/" + host))
	return "n" + hex.EncodeToString(sum[:4])
}

func (l *Lab) hostDir(host string) string { return filepath.Join(l.dir, "hosts", host) }

// Console is the file that a host's console is written to.
func (l *Lab) Console(host string) string { return filepath.Join(l.hostDir(host), "console.log") }

// On gives hosts power and returns when they answer over SSH. One that has power
// is left alone.
func (l *Lab) On(ctx context.Context, names ...string) error {
	for _, name := range names {
		h, err := l.Host(name)
		if err != nil {
			return err
		}
		if l.Powered(name) {
			continue
		}
		l.step("booting " + name)
		if err := errors.Join(l.unplug(ctx, name), l.start(h)); err != nil {
			return fmt.Errorf("booting %q: %w", name, err)
		}
	}
	return l.WaitSSH(ctx, names...)
}

// unplug removes the network device of a host without power. The kernel would do it
// by itself, but may take minutes, and until then the next boot fails.
func (l *Lab) unplug(ctx context.Context, name string) error {
	port := "vb-" + l.machine(name)
	if _, err := run(ctx, "ip", "-n", l.namespace(), "link", "show", port); err != nil {
		return nil // gone
	}
	if _, err := run(ctx, "ip", "-n", l.namespace(), "link", "del", port); err != nil {
		if _, gone := run(ctx, "ip", "-n", l.namespace(), "link", "show", port); gone == nil {
			return err
		}
	}
	return nil
}

// start starts the supervisor of a host, which outlives this process.
func (l *Lab) start(h Host) error {
	dir := l.hostDir(h.Name)
	scripts := map[string][]byte{"boot.sh": bootScript, "supervise.sh": superviseScript}
	for name, data := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			return err
		}
	}
	args := []string{filepath.Join(dir, "supervise.sh"), filepath.Join(dir, "boot.sh"), l.namespace(), h.Name, dir, l.tag(h.Name), l.machine(h.Name)}
	if h.SmallVar != "" {
		if err := l.mountVar(h); err != nil {
			return err
		}
		args = append(args, "--bind="+filepath.Join(dir, "var")+":/var/lib")
	}
	console, err := os.OpenFile(l.Console(h.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	cmd := exec.Command("bash", args...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "pid"), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	go func() { _ = cmd.Wait() }() // no zombie while this process lives
	return nil
}

// Powered tells whether a host has power.
func (l *Lab) Powered(name string) bool {
	_, err := l.process(name, "pid")
	return err == nil
}

// process reads a process id that a host's folder records.
func (l *Lab) process(host, file string) (int, error) {
	return readProcess(filepath.Join(l.hostDir(host), file), l.hostDir(host))
}

// readProcess reads a process id from file; one that is gone, or is another process
// by now, which does not have mark on its command line, is fs.ErrNotExist.
func readProcess(file, mark string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("reading %q: %q is no process id", file, data)
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(cmdline, []byte(mark)) {
		return 0, fs.ErrNotExist
	}
	return pid, nil
}

// Cut takes the power from hosts: nothing on them ends in good order. What a host
// had written and not synced stays, as this machine's page cache is not cut.
func (l *Lab) Cut(ctx context.Context, names ...string) error {
	var g errgroup.Group
	for _, name := range names {
		if _, err := l.Host(name); err != nil {
			return err
		}
		g.Go(func() error { return l.cut(ctx, name) })
	}
	return g.Wait()
}

func (l *Lab) cut(ctx context.Context, name string) error {
	for _, file := range []string{"pid", "nspawn.pid"} { // the supervisor first, or it would boot again
		pid, err := l.process(name, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cutting the power of %q: %w", name, err)
		}
	}
	if err := errors.Join(l.killAll(ctx, name), l.unplug(ctx, name)); err != nil {
		return fmt.Errorf("cutting the power of %q: %w", name, err)
	}
	return errors.Join(remove(filepath.Join(l.hostDir(name), "pid")), remove(filepath.Join(l.hostDir(name), "nspawn.pid")))
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// killAll kills what is left in a host's cgroups until nothing is, and removes them.
func (l *Lab) killAll(ctx context.Context, name string) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for {
		out, err := run(ctx, "find", "/sys/fs/cgroup", "-maxdepth", "6", "-type", "d", "-name", l.tag(name))
		if err != nil && ctx.Err() != nil {
			return err
		}
		trees := strings.Fields(out)
		if len(trees) == 0 {
			return nil
		}
		for _, tree := range trees {
			clearTree(tree)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("waiting for the processes in %s to end: %w", strings.Join(trees, " "), err)
		}
	}
}

// clearTree kills the processes of a cgroup and those below, and removes what is
// empty of them.
func clearTree(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // gone in the meantime
	}
	for _, e := range entries {
		if e.IsDir() {
			clearTree(filepath.Join(dir, e.Name()))
		}
	}
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = syscall.Rmdir(dir)
}

// Reboot reboots hosts in good order and returns when they answer again.
func (l *Lab) Reboot(ctx context.Context, names ...string) error {
	before := map[string]string{}
	for _, name := range names {
		id, err := l.SSH(ctx, name, "cat", "/proc/1/stat")
		if err != nil {
			return err
		}
		before[name] = id
		if _, err := l.SSH(ctx, name, "systemctl", "--no-block", "reboot"); err != nil {
			return fmt.Errorf("rebooting %q: %w", name, err)
		}
	}
	ctx, stop := context.WithTimeout(ctx, 2*bootDeadline)
	defer stop()
	for _, name := range names {
		for {
			id, err := l.SSH(ctx, name, "cat", "/proc/1/stat")
			if err == nil && startTime(id) != startTime(before[name]) {
				break
			}
			if err := pause(ctx, 300*time.Millisecond); err != nil {
				return fmt.Errorf("rebooting %q: %w", name, err)
			}
		}
	}
	return nil
}

// startTime is the time a process started, field 22 of its stat.
func startTime(stat string) string {
	if f := strings.Fields(stat); len(f) > 21 {
		return f[21]
	}
	return ""
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
