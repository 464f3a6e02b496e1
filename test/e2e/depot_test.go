//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a program that runs until the test ends.
type server struct {
	cmd *exec.Cmd
	// addr is host:port, ca the PEM file clients trust.
	addr, ca string
}

// start starts a program that serves. Its output is thrown away: a pipe that
// nobody reads would block it.
func start(t *testing.T, cmd *exec.Cmd) *server {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd}
	t.Cleanup(func() { s.stop() })
	return s
}

// stop ends the program, once, and returns when it has.
func (s *server) stop() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
	}
}

// startDepot starts install serve and waits until it answers.
func startDepot(t *testing.T, args ...string) *server {
	t.Helper()
	return startDepotBy(t, w.command, args...)
}

// startDepotBy is startDepot with a command line of another's making.
func startDepotBy(t *testing.T, command func(context.Context, string, ...string) *exec.Cmd, args ...string) *server {
	t.Helper()
	state := t.TempDir()
	args = append([]string{"serve", "--key", w.pub, "--state", state, "--progress", "none"}, args...)
	cmd := command(t.Context(), "install", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	s := start(t, cmd)
	s.ca = filepath.Join(state, "tls", "ca.crt")
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, addr, found := strings.Cut(lines.Text(), "://"); found {
			s.addr = addr
		}
		if strings.HasPrefix(lines.Text(), "clients trust ") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s
		}
	}
	s.stop()
	t.Fatalf("install serve ended before it served: %s", stderr.String())
	return nil
}

// waitFor returns when something accepts connections at addr.
func waitFor(t *testing.T, network, addr string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), network, addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-late:
			t.Fatalf("waiting for %s: %v", addr, err)
		case <-tick.C:
		}
	}
}
