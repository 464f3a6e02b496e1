package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// program runs one of naru's programs and decodes its JSON result into out, when
// that is not nil.
func (d *demo) program(ctx context.Context, out any, name string, args ...string) error {
	if out != nil {
		args = append(args, "--output", "json")
	}
	fmt.Printf("   $ %s %s\n", name, shorten(args))
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, name), args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=demo")
	cmd.Stderr = os.Stderr
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(stdout.Bytes(), out)
}

// shorten leaves out the middle of a long command line.
func shorten(args []string) string {
	var buf bytes.Buffer
	for i, a := range args {
		if i > 0 && args[i-1] == "--registry-map" || a == "--registry-map" {
			continue
		}
		fmt.Fprintf(&buf, "%s ", a)
	}
	return buf.String()
}

// process is a server that runs until stopped.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// startQuiet starts a program whose output nobody reads.
func startQuiet(ctx context.Context, path string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return &process{cmd: cmd}, cmd.Start()
}

// start starts a program and keeps its standard output for reading lines.
func start(ctx context.Context, path string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, lines: bufio.NewScanner(stdout)}, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}
