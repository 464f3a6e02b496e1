package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// sample is what one command took. Memory is the most that any one process of it
// held.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // bytes
	stdout    []byte
	stderr    []byte
}

// command is a program with its arguments, or several (sh -c).
type command []string

// run runs c to its end. Dirty pages are written out first, so that nobody pays for
// what went before.
func (c command) run(ctx context.Context) (*sample, error) {
	syscall.Sync()
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD="+password)
	// An interrupt ends all that a shell started, and nobody waits for what is left.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	s := &sample{wall: time.Since(start), stdout: stdout.Bytes(), stderr: stderr.Bytes()}
	if err != nil {
		tail := s.stderr[max(0, len(s.stderr)-2000):]
		return nil, fmt.Errorf("running %q: %w\n%s", c, err, tail)
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.rss = usage.Maxrss << 10
	}
	return s, nil
}

// side is one way of doing what is measured.
type side struct {
	name string
	// before makes room for a run, untimed; nil for nothing to do.
	before func(context.Context) error
	// cmd is asked for after before.
	cmd func() command
	// after looks at a run that succeeded, untimed; nil for nothing to do.
	after func(context.Context, *sample) error
}

// series are the samples of a side.
type series struct {
	name    string
	samples []*sample
}

// byTurns runs every side reps times, one after the other in each round.
func byTurns(ctx context.Context, reps int, note func(string), sides ...side) ([]*series, error) {
	out := make([]*series, len(sides))
	for i, s := range sides {
		out[i] = &series{name: s.name}
	}
	for range reps {
		for i, s := range sides {
			got, err := s.once(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			note(fmt.Sprintf("%-60s %6.2f s, %6.2f s of processor, %4d MB", s.name, got.wall.Seconds(), got.cpu.Seconds(), got.rss/1e6))
			out[i].samples = append(out[i].samples, got)
		}
	}
	return out, nil
}

func (s *side) once(ctx context.Context) (*sample, error) {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return nil, err
		}
	}
	got, err := s.cmd().run(ctx)
	if err == nil && s.after != nil {
		err = s.after(ctx, got)
	}
	return got, err
}

// figures are the medians of a series, and the most memory that any of it took.
type figures struct {
	name      string
	wall, cpu time.Duration
	rss       int64
	runs      int
}

func (s *series) figures() figures {
	f := figures{name: s.name, runs: len(s.samples)}
	f.wall = median(s.samples, func(s *sample) time.Duration { return s.wall })
	f.cpu = median(s.samples, func(s *sample) time.Duration { return s.cpu })
	for _, one := range s.samples {
		f.rss = max(f.rss, one.rss)
	}
	return f
}

// median of what of samples, the lower middle where there are two.
func median[T any, V cmp.Ordered](samples []T, of func(T) V) V {
	values := make([]V, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
