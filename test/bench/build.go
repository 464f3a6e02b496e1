package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// buildCommand builds s from the store in cache into out.
func (b *bench) buildCommand(s *subject, cache, out string, more ...string) command {
	c := command{b.bundle(), "build", "--no-scan", "-f", s.file, "--key", b.key() + ".key", "--cache", cache, "--out", out,
		"--no-installer", "--progress", "json", "--output", "json"}
	for _, m := range s.maps {
		c = append(c, "--registry-map", m)
	}
	return append(c, more...)
}

// ensure builds the bundle of s where no measure has done so yet.
func (b *bench) ensure(ctx context.Context, s *subject) error {
	if s.bundle != "" {
		return nil
	}
	s.cache, s.bundle = s.file+".cache", s.file+".bundle"
	_, err := b.buildCommand(s, s.cache, s.bundle).run(ctx)
	return err
}

// measureBuild builds from a registry with an empty cache, against crane. What
// bundle build ends with lasts through a power cut; crane alone leaves that to
// chance, so it is measured with a sync of what it wrote as well.
func (b *bench) measureBuild(ctx context.Context) error {
	s := b.large
	rows, err := byTurns(ctx, b.reps, b.note, b.buildSide(s), b.craneSide(s, ""), b.craneSide(s, " && find "+b.path("crane")+" -type f -exec sync {} +"))
	if err != nil {
		return err
	}
	b.report.atMost("build from a registry", rows[0].figures(), rows[2].figures(), 1.3)
	b.report.atMost("build from a registry", rows[0].figures(), rows[1].figures(), 1.3)
	b.fresh = stepFigures(rows[0], "pack")
	for _, step := range []string{"pin", "fetch", "lay out", "pack"} {
		b.note(fmt.Sprintf("  step %-8s %s", step, stepFigures(rows[0], step).wall))
	}
	return nil
}

// buildSide builds s anew and leaves the bundle for other measures.
func (b *bench) buildSide(s *subject) side {
	return side{
		name: "bundle build",
		before: func(context.Context) error {
			s.cache, s.bundle = s.file+".cache", s.file+".bundle"
			return removeAll(s.cache, s.bundle)
		},
		cmd: func() command { return b.buildCommand(s, s.cache, s.bundle) },
	}
}

// craneSide pulls all images of s in one call into an OCI layout.
func (b *bench) craneSide(s *subject, then string) side {
	to := b.path("crane")
	args := []string{"crane", "pull", "--format", "oci"}
	for _, ref := range s.refs {
		args = append(args, s.up.addr+"/"+ref)
	}
	name := "crane pull"
	if then != "" {
		name += " + sync"
	}
	clean := func(context.Context) error { return removeAll(to) }
	return side{
		name:   name,
		before: clean,
		cmd:    func() command { return command{"sh", "-c", strings.Join(append(args, to), " ") + then} },
		after:  func(ctx context.Context, _ *sample) error { return clean(ctx) },
	}
}

func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

// stepFigures are the figures of one step of builds, out of their progress events.
func stepFigures(s *series, step string) figures {
	walls := make([]time.Duration, 0, len(s.samples))
	for _, one := range s.samples {
		walls = append(walls, stepTime(one.stderr, step))
	}
	return figures{name: step, wall: median(walls, func(d time.Duration) time.Duration { return d }), runs: len(walls)}
}

// stepTime is how long a step took; 0 when there was none.
func stepTime(events []byte, step string) time.Duration {
	lines := bufio.NewScanner(bytes.NewReader(events))
	for lines.Scan() {
		var e struct {
			Event, Step string
			Seconds     float64
		}
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Event == "end" && e.Step == step {
			return time.Duration(e.Seconds * float64(time.Second))
		}
	}
	return 0
}

// volumes are the volumes in a folder.
func volumes(dir string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(dir, "*.tar.zst"))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no volume in %q", dir)
	}
	return list, err
}
