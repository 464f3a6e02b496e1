package hosts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// SSHCommand is ssh to a host as user ("root" if empty), run on the segment. The
// arguments reach the host's shell as they are; without any it is interactive.
func (l *Lab) SSHCommand(ctx context.Context, host, user string, args ...string) (*exec.Cmd, error) {
	h, err := l.Host(host)
	if err != nil {
		return nil, err
	}
	if user == "" {
		user = "root"
	}
	argv := []string{
		"ssh", "-F", "/dev/null", "-i", l.KeyFile(), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + l.KnownHosts(), "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR",
		"-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", user + "@" + h.Addr, "--",
	}
	return l.Command(ctx, append(argv, args...)...), nil
}

// SSH runs a command line on a host as root and returns what it printed.
func (l *Lab) SSH(ctx context.Context, host string, args ...string) (string, error) {
	cmd, err := l.SSHCommand(ctx, host, "", args...)
	if err != nil {
		return "", err
	}
	out, err := runCmd(cmd)
	if err != nil {
		return out, fmt.Errorf("on host %q: %w", host, err)
	}
	return out, nil
}

// WaitSSH returns when all hosts answer.
func (l *Lab) WaitSSH(ctx context.Context, names ...string) error {
	ctx, stop := context.WithTimeout(ctx, bootDeadline)
	defer stop()
	for _, name := range names {
		for {
			_, err := l.SSH(ctx, name, "true")
			if err == nil {
				break
			}
			if !l.Powered(name) {
				return fmt.Errorf("host %q ended: %s", name, l.consoleTail(name))
			}
			if perr := pause(ctx, 200*time.Millisecond); perr != nil {
				return fmt.Errorf("waiting for host %q: %w: %s", name, err, l.consoleTail(name))
			}
		}
	}
	return nil
}

// consoleTail is the end of what a host's console showed.
func (l *Lab) consoleTail(name string) string {
	data, err := os.ReadFile(l.Console(name))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(tail(string(data), 1500))
}
