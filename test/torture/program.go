package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// epoch is the date of every bundle, so that runs can be compared byte by byte.
const epoch = "SOURCE_DATE_EPOCH=1750000000"

// command is one of naru's programs, ready to start.
func (s *suite) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=torture", epoch)
	return cmd
}

// exitError is a program that failed, with what it said.
type exitError struct {
	Program string
	Code    int
	Stderr  string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("%s ended with code %d: %s", e.Program, e.Code, e.Stderr)
}

// program runs one of naru's programs to its end and decodes its JSON result into
// out, when that is not nil. A program that fails is an *exitError.
func (s *suite) program(ctx context.Context, out any, name string, args ...string) error {
	if out != nil {
		args = append(args, "--output", "json")
	}
	cmd := s.command(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &exitError{Program: name + " " + args[0], Code: exit.ExitCode(), Stderr: stderr.String()}
	}
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
		return fmt.Errorf("decoding the result of %s %s: %w", name, args[0], err)
	}
	return nil
}

// killed is how a program ended that was to be killed.
type killed struct {
	Early bool   // it was: it did not reach its end before
	Step  string // it was at, by its own progress
}

// kill runs a program and kills it after the given time, with no chance to clean up.
func (s *suite) kill(ctx context.Context, after time.Duration, name string, args ...string) (killed, error) {
	cmd := s.command(ctx, name, append(args, "--progress", "json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return killed{}, err
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // SIGKILL; too late is as good
	err := cmd.Wait()
	timer.Stop()
	k := killed{Step: lastStep(stderr.Bytes())}
	if ctx.Err() != nil {
		return k, ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return k, nil
	case errors.As(err, &exit) && !exit.Exited():
		k.Early = true
		return k, nil
	case errors.As(err, &exit):
		return k, &exitError{Program: name + " " + args[0], Code: exit.ExitCode(), Stderr: stderr.String()}
	}
	return k, err
}

// lastStep is the step that a program's progress spoke of last.
func lastStep(progress []byte) string {
	step := "start"
	for line := range bytes.Lines(progress) {
		var e struct{ Event, Step string }
		if json.Unmarshal(line, &e) == nil && e.Event == "start" {
			step = e.Step
		}
	}
	return step
}
