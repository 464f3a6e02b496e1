package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// Local is a Runner for the host that the installer runs on.
type Local struct{ host string }

// NewLocal makes one; host is its name in messages.
func NewLocal(host string) *Local { return &Local{host: host} }

// Run implements Runner.
func (l *Local) Run(ctx context.Context, c Command) (*Result, error) {
	argv := c.Argv
	root := os.Geteuid() == 0
	if !root {
		argv = append([]string{"sudo", "-n", "-H", "--"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = "/"
	err := runFed(cmd, c.Stdin)
	r := &Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if ctx.Err() != nil {
		return r, fmt.Errorf("%s: running %q: %w", l.host, describe(c.Argv), context.Cause(ctx))
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &exit):
		if !root && sudoRefused(r.Stderr) {
			return r, &SudoError{Host: l.host, User: os.Getenv("USER"), Output: tail(r.Stderr, 200)}
		}
		return r, exitError(l.host, c, exit.ExitCode(), r)
	default:
		return r, fmt.Errorf("%s: running %q: %w", l.host, describe(c.Argv), err)
	}
}

// runFed runs cmd with its input from stdin, if any. The command's own way to read it
// would wait for a stdin that does not answer after the command has ended.
func runFed(cmd *exec.Cmd, stdin io.Reader) error {
	if stdin == nil {
		return cmd.Run()
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	settle := feed(in, stdin)
	err = cmd.Wait()
	settle()
	return err
}

// Listen implements Forwarder.
func (l *Local) Listen(ctx context.Context) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
}

// Dial implements Forwarder.
func (l *Local) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close has nothing to close.
func (l *Local) Close() error { return nil }
