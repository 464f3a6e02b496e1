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
	"time"
)

// pushed is what the demo reads of the result of install push.
type pushed struct {
	Push struct {
		Pushed, Skipped, Mappings []struct{ Ref string }
		Blobs                     struct {
			Uploaded, Mounted, Present int
			Bytes                      int64
		}
	}
	Check struct{ Checked int }
}

// pushTo pushes the bundle into the plain registry, started on first use.
func (d *demo) pushTo(ctx context.Context, check func(pushed) error) (string, error) {
	if d.registry == nil {
		if err := d.startRegistry(ctx); err != nil {
			return "", err
		}
	}
	var r pushed
	if err := d.program(ctx, &r, "install", "push", d.out, "--key", d.key()+".pub", "--to", d.registryAddr, "--plain-http"); err != nil {
		return "", err
	}
	if r.Check.Checked == 0 {
		return "", errors.New("the push compared nothing with the registry")
	}
	return fmt.Sprintf("%d artifacts pushed, %d skipped, %d mapped; %d blobs (%d MB) uploaded, %d mounted; %d digests compared",
		len(r.Push.Pushed), len(r.Push.Skipped), len(r.Push.Mappings), r.Push.Blobs.Uploaded, r.Push.Blobs.Bytes>>20, r.Push.Blobs.Mounted, r.Check.Checked), check(r)
}

// startRegistry starts Debian's docker-registry, a plain distribution registry, on
// a free loopback port.
func (d *demo) startRegistry(ctx context.Context) error {
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.registryAddr = ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	config := filepath.Join(d.work, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(d.work, "registry"), d.registryAddr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	if d.registry, err = startQuiet(ctx, path, "serve", config); err != nil {
		return err
	}
	return waitFor(ctx, "http://"+d.registryAddr+"/v2/")
}

// waitFor asks url until it answers or ten seconds are over.
func waitFor(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", url, ctx.Err())
		case <-tick.C:
		}
	}
}
