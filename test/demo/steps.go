package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"naru/test/lab/apt"
	"naru/test/lab/content"
	"naru/test/lab/upstream"
)

// lab is the running simulated internet.
type lab struct{ up *upstream.Upstream }

func (l *lab) stop() { _ = l.up.Close() }

func (d *demo) startLab(ctx context.Context) (string, error) {
	layout, err := content.Build(ctx, content.Options{CacheDir: d.cache, OnStep: func(s string) { fmt.Println("   " + s) }})
	if err != nil {
		return "", err
	}
	names, err := hostPackages()
	if err != nil {
		return "", err
	}
	debian, err := apt.Build(ctx, apt.Options{CacheDir: d.cache, Names: names, OnStep: func(s string) { fmt.Println("   " + s) }})
	if err != nil {
		return "", err
	}
	up, err := upstream.Start(ctx, upstream.Options{})
	if err != nil {
		return "", err
	}
	d.lab = &lab{up}
	if err := up.Add(ctx, layout); err != nil {
		return "", err
	}
	if err := up.Add(ctx, debian); err != nil {
		return "", err
	}
	d.upstreamDigests = map[string]string{}
	for ref, desc := range layout.Refs() {
		d.upstreamDigests[ref] = desc.Digest.String()
	}
	return fmt.Sprintf("%d names at %s", len(layout.Refs()), up.URL()), nil
}

func (d *demo) key() string { return filepath.Join(d.work, "cosign") }

func (d *demo) keygen(ctx context.Context) (string, error) {
	return "a cosign key pair", d.program(ctx, nil, "bundle", "keygen", "--out-prefix", d.key())
}

// built is what the demo reads of the result of bundle build.
type built struct {
	Bundle   string
	UpToDate bool
	Images   int
	Charts   int
	Files    int
	Packages int
	Blobs    int
	Bytes    int64
	Fetched  int64
	Volumes  []struct {
		Name string
		Size int64
	}
}

func (d *demo) buildArgs() []string {
	args := []string{"build", "--release", "demo", "--key", d.key() + ".key", "--out", d.out, "--cache", filepath.Join(d.work, "cache"), "--ca-file", d.lab.up.CAFile(), "--installers", d.bin, "--platform", "linux/amd64,linux/arm64"}
	for _, m := range d.lab.up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	return args
}

func (d *demo) build(ctx context.Context) (string, error) {
	var r built
	if err := d.program(ctx, &r, "bundle", d.buildArgs()...); err != nil {
		return "", err
	}
	d.bundle = r.Bundle
	var size int64
	for _, v := range r.Volumes {
		size += v.Size
	}
	return fmt.Sprintf("%d images, %d charts, %d files, %d OS packages, %d blobs, %d MB in %d MB", r.Images, r.Charts, r.Files, r.Packages, r.Blobs, r.Bytes>>20, size>>20), nil
}

func (d *demo) rebuild(ctx context.Context) (string, error) {
	var r built
	if err := d.program(ctx, &r, "bundle", d.buildArgs()...); err != nil {
		return "", err
	}
	if !r.UpToDate || r.Bundle != d.bundle {
		return "", fmt.Errorf("the second build is not the first: up to date %v, %s, want %s", r.UpToDate, r.Bundle, d.bundle)
	}
	return "nothing to do", nil
}

func (d *demo) verify(ctx context.Context) (string, error) {
	if err := d.program(ctx, &d.list, "bundle", "list", d.out, "--key", d.key()+".pub"); err != nil {
		return "", err
	}
	return d.verifyWith(ctx, "bundle")
}

func (d *demo) installVerify(ctx context.Context) (string, error) {
	return d.verifyWith(ctx, "install")
}

func (d *demo) verifyWith(ctx context.Context, program string) (string, error) {
	var r struct {
		Bundle, SignedBy string
		Blobs            int
	}
	if err := d.program(ctx, &r, program, "verify", d.out, "--key", d.key()+".pub"); err != nil {
		return "", err
	}
	if r.Bundle != d.bundle || r.SignedBy == "" {
		return "", fmt.Errorf("verified %s, signed by %q, want %s", r.Bundle, r.SignedBy, d.bundle)
	}
	return fmt.Sprintf("%d blobs, key %.16s...", r.Blobs, r.SignedBy), nil
}

func (d *demo) stopLab(context.Context) (string, error) {
	d.lab.stop()
	return "every upstream name is out of reach", nil
}

func (d *demo) serve(ctx context.Context) (string, error) {
	state := filepath.Join(d.work, "depot")
	p, err := start(ctx, filepath.Join(d.bin, "install"), "serve", d.out, "--key", d.key()+".pub", "--listen", "127.0.0.1:0", "--state", state, "--progress", "none")
	if err != nil {
		return "", err
	}
	d.depot = p
	for p.lines.Scan() {
		if _, addr, ok := strings.Cut(p.lines.Text(), " at https://"); ok {
			d.depotURL = addr
		}
		if strings.HasPrefix(p.lines.Text(), "clients trust ") {
			return "https://" + d.depotURL, nil
		}
	}
	return "", fmt.Errorf("install serve ended before it served")
}

func (d *demo) push(ctx context.Context) (string, error) {
	return d.pushTo(ctx, func(r pushed) error {
		if r.Push.Blobs.Uploaded == 0 {
			return fmt.Errorf("nothing was pushed")
		}
		return nil
	})
}

func (d *demo) pushAgain(ctx context.Context) (string, error) {
	return d.pushTo(ctx, func(r pushed) error {
		if r.Push.Blobs.Uploaded != 0 {
			return fmt.Errorf("%d blobs were uploaded a second time", r.Push.Blobs.Uploaded)
		}
		return nil
	})
}
