package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// registries are the programs that images are pushed into: Debian's docker-registry,
// whose Go is too old for the SHA instructions of the processor, and the same project
// as it is built today. What Harbor ships has the one's code and the other's hashing.
var registries = []string{"docker-registry", "distribution"}

// registry is a plain registry over a folder of its own.
type registry struct {
	*server
	dir string
}

// startRegistry starts program, one of [registries], empty and on a free loopback port.
// Its output goes nowhere: it logs every access, and a pipe that nobody reads would stop
// it.
func (b *bench) startRegistry(ctx context.Context, program string) (*registry, error) {
	dir, err := os.MkdirTemp(b.dir, "registry-")
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none") // the newer one would look for a collector
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &registry{server: &server{cmd: cmd, addr: addr}, dir: dir}
	if err := r.ready(ctx); err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

// ready waits for the registry's first answer.
func (r *registry) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+"/v2/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the registry: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (r *registry) remove() error {
	r.stop()
	return os.RemoveAll(r.dir)
}

// intoFresh is a side that pushes into a registry of its own, which program serves.
func (b *bench) intoFresh(program, name string, cmd func(registry string) command) side {
	var r *registry
	return side{
		name: name,
		before: func(ctx context.Context) (err error) {
			r, err = b.startRegistry(ctx, program)
			return err
		},
		cmd:   func() command { return cmd(r.addr) },
		after: func(context.Context, *sample) error { return r.remove() },
	}
}

// measurePush pushes all images into a fresh registry: from the bundle, with skopeo
// from the layout they came from, with crane and with skopeo sync from the registry that
// serves it. Two of them copy one image a call; so those are also run four at a time.
func (b *bench) measurePush(ctx context.Context) error {
	if err := b.ensure(ctx, b.large); err != nil {
		return err
	}
	return b.pushSubject(ctx, b.large, "push", (b.reps+1)/2)
}

// pushSubject pushes s into each of the registries, in every way.
func (b *bench) pushSubject(ctx context.Context, s *subject, what string, reps int) error {
	list := b.path(what + "-sync.yaml")
	if err := os.WriteFile(list, []byte(s.syncList()), 0o600); err != nil {
		return err
	}
	for _, program := range registries {
		b.note(what + " into " + program)
		rows, err := byTurns(ctx, reps, b.note,
			b.intoFresh(program, "install push", func(to string) command { return b.pushCommand(s, to) }),
			b.intoFresh(program, "skopeo copy --all", func(to string) command { return s.skopeo(to, 1) }),
			b.intoFresh(program, "crane copy", func(to string) command { return s.crane(to, 1) }),
			b.intoFresh(program, "skopeo sync", func(to string) command { return s.skopeoSync(to, list) }),
			b.intoFresh(program, "skopeo copy --all, 4 at a time", func(to string) command { return s.skopeo(to, 4) }),
			b.intoFresh(program, "crane copy, 4 at a time", func(to string) command { return s.crane(to, 4) }))
		if err != nil {
			return err
		}
		b.reportPush(what+", "+program, rows)
	}
	return nil
}

// reportPush holds the first row against the best of those that push one by one, and
// shows the others.
func (b *bench) reportPush(what string, rows []*series) {
	ours := rows[0].figures()
	better := rows[1].figures()
	for _, r := range rows[2:4] {
		if f := r.figures(); f.wall < better.wall {
			better = f
		}
	}
	for _, r := range rows[1:] {
		limit := 0.0
		if r.name == better.name {
			limit = 1.5
		}
		b.report.timesAsFast(what, ours, r.figures(), limit)
	}
}

func (b *bench) pushCommand(s *subject, to string) command {
	return command{b.install(), "push", s.bundle, "--allow-unscanned", "--key", b.key() + ".pub", "--to", to, "--plain-http", "--progress", "none", "--output", "json"}
}

// each is a command that does script for every reference of s, jobs at a time; the
// reference is "$1".
func (s *subject) each(jobs int, script string) command {
	return command{"sh", "-c", fmt.Sprintf(`printf '%%s\n' %s | xargs -P %d -I REF sh -c '%s' sh REF`, strings.Join(s.refs, " "), jobs, script)}
}

func (s *subject) skopeo(to string, jobs int) command {
	return s.each(jobs, fmt.Sprintf(`skopeo --insecure-policy copy --quiet --all --preserve-digests --dest-tls-verify=false "oci:%s:$1" "docker://%s/$1"`, s.layout.Dir, to))
}

// syncList is what skopeo sync reads: every reference, by the registry that serves it.
func (s *subject) syncList() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q:\n  tls-verify: false\n  images:\n", s.up.addr)
	for _, ref := range s.refs {
		name, tag, _ := strings.Cut(ref, ":")
		fmt.Fprintf(&b, "    %s: [%q]\n", name, tag)
	}
	return b.String()
}

// skopeoSync keeps the last element of each name only: with --scoped it would put the
// port of the registry that serves into names, which no registry takes.
func (s *subject) skopeoSync(to, list string) command {
	return command{"skopeo", "--insecure-policy", "sync", "--all", "--preserve-digests", "--dest-tls-verify=false", "--src", "yaml", "--dest", "docker", list, to}
}

func (s *subject) crane(to string, jobs int) command {
	return s.each(jobs, fmt.Sprintf(`crane copy "%s/$1" "%s/$1" 2>/dev/null`, s.up.addr, to))
}
