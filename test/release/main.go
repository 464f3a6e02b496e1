// Command release builds a whole release from a simulated internet that is filled from
// the facts (package test/internet), scanned under a policy that accepts nothing
// unscanned, verifies the bundle, and moves a tag behind the lock's back. It ends with a summary; its exit code is 1 when anything is not as it
// should be.
//
//	release -bin bin -release 2025.1 -profile full
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"naru/manifest"
	"naru/test/internet"
	"naru/test/lab/layout"
	"naru/test/lab/trivydb"
	"naru/test/lab/upstream"
)

func main() {
	var r run
	flag.StringVar(&r.bin, "bin", "bin", "folder of bundle")
	flag.StringVar(&r.release, "release", "2025.1", "embedded release to build")
	flag.StringVar(&r.profile, "profile", "minimal", "profile of it")
	flag.StringVar(&r.flags, "flags", "--no-installer", "further flags of every build; with --no-scan nothing is scanned")
	flag.Parse()
	if err := r.main(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run is one run of the program.
type run struct {
	bin, release, profile string
	// flags are further ones of every build.
	flags string
	// scans are the flags of a build that scans.
	scans []string
	dir   string
	net   *internet.Internet
	up    *upstream.Upstream
	set   *manifest.ReleaseSet
}

func (r *run) main(ctx context.Context) (err error) {
	if r.dir, err = os.MkdirTemp("", "naru-release-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.dir) }()
	if r.set, err = manifest.LoadRelease(manifest.EmbeddedReleases(), r.release); err != nil {
		return err
	}
	start := time.Now()
	if r.net, err = internet.Make(ctx, r.dir, r.set); err != nil {
		return err
	}
	fmt.Printf("internet: %d images, %d charts, %d files, %d packages on %d hosts, in %.0f s\n",
		r.net.Images, r.net.Charts, r.net.Files, r.net.Packages, len(r.net.Hosts), time.Since(start).Seconds())
	// Names that the facts do not know answer 404, on hosts of theirs and on others.
	hosts := slices.Concat(r.net.Hosts, releaseHosts(r.set))
	slices.Sort(hosts)
	if r.up, err = upstream.Start(ctx, upstream.Options{Hosts: slices.Compact(hosts)}); err != nil {
		return err
	}
	defer func() { _ = r.up.Close() }()
	if err := r.up.Add(ctx, r.net.Layout); err != nil {
		return err
	}
	if err := r.copyRelease(); err != nil {
		return err
	}
	if _, err := r.bundle(ctx, "keygen", "--out-prefix", filepath.Join(r.dir, "cosign")); err != nil {
		return err
	}
	if err := r.prepareScan(); err != nil {
		return err
	}
	return errors.Join(r.build(ctx), r.moved(ctx))
}

// prepareScan writes a small database of advisories and a policy that lets every finding
// pass and nothing that could not be scanned.
func (r *run) prepareScan() error {
	if slices.Contains(strings.Fields(r.flags), "--no-scan") {
		return nil
	}
	unpacked, packed, policy := filepath.Join(r.dir, "db"), filepath.Join(r.dir, "db-layout"), filepath.Join(r.dir, "policy.yaml")
	if err := trivydb.Build(unpacked, trivydb.Default(), trivydb.Date()); err != nil {
		return err
	}
	w, err := layout.NewWriter(packed)
	if err != nil {
		return err
	}
	if err := trivydb.Add(w, trivydb.Ref, unpacked); err != nil {
		return err
	}
	if _, err := w.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(policy, []byte("apiVersion: naru/v1\nkind: ScanPolicy\ntitle: all of it was scanned\nunscanned: fail\n"), 0o600); err != nil {
		return err
	}
	r.scans = []string{"--db", packed, "--java-db", "none", "--policy", policy}
	return nil
}

// releaseHosts are the hosts that the release itself names.
func releaseHosts(set *manifest.ReleaseSet) []string {
	var out []string
	for _, c := range set.Specs {
		for _, img := range c.Images {
			if ref, err := manifest.ParseReference(img.Ref); err == nil {
				out = append(out, ref.Host)
			}
		}
	}
	return out
}

// copyRelease writes the release with the digests of the generated content; NEW is its
// lock.
func (r *run) copyRelease() error {
	lock, err := fs.ReadFile(manifest.EmbeddedReleases(), path.Join(r.release, "lock.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Join(r.dir, "release", r.release)
	replaced, unknown, err := r.net.CopyRelease(r.set, lock, dir)
	if err != nil {
		return err
	}
	fmt.Printf("release: %d digests of the facts replaced, %d that the facts do not know\n", replaced, len(unknown))
	for _, u := range unknown {
		fmt.Println("  not of the facts:", u)
	}
	if lock == nil {
		return nil
	}
	return os.Rename(filepath.Join(dir, "lock.yaml"), filepath.Join(r.dir, "NEW.yaml"))
}

// args are the flags that every build here has.
func (r *run) args(command, cache string, more ...string) []string {
	args := []string{command, "--release", filepath.Join(r.dir, "release", r.release), "--profile", r.profile, "--cache", filepath.Join(r.dir, cache),
		"--ca-file", r.up.CAFile(), "--progress", "none"}
	for _, m := range r.up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	if command == "build" {
		args = append(args, strings.Fields(r.flags)...)
		args = append(args, r.scans...)
	}
	return append(args, more...)
}

// build builds and verifies the bundle.
func (r *run) build(ctx context.Context) error {
	start := time.Now()
	out := filepath.Join(r.dir, "out")
	more := []string{"--key", filepath.Join(r.dir, "cosign.key"), "--out", out, "--output", "json"}
	if lock := filepath.Join(r.dir, "NEW.yaml"); exists(lock) {
		more = append(more, "--lock", lock)
	}
	stdout, err := r.bundle(ctx, r.args("build", "cache", more...)...)
	if err != nil {
		r.report()
		return err
	}
	var res struct {
		Images, Files, Charts, Packages, Blobs int
		Bytes                                  int64
		Scan                                   string
	}
	if err := json.Unmarshal(stdout, &res); err != nil {
		return err
	}
	fmt.Printf("build: release %s, profile %s: %d images, %d files, %d charts, %d packages, %d blobs, %d bytes, scan %s, in %.0f s\n", r.release, r.profile,
		res.Images, res.Files, res.Charts, res.Packages, res.Blobs, res.Bytes, res.Scan, time.Since(start).Seconds())
	start = time.Now()
	if _, err := r.bundle(ctx, "verify", out, "--key", filepath.Join(r.dir, "cosign.pub")); err != nil {
		return err
	}
	fmt.Printf("verify: every byte, in %.0f s\n", time.Since(start).Seconds())
	return nil
}

// report prints the names that the simulated internet does not know.
func (r *run) report() {
	seen := map[string]bool{}
	for _, q := range r.up.Requests() {
		if q.Status == 404 && !seen[q.Path] && !optional(q.Path) {
			seen[q.Path] = true
			fmt.Println("  not known to the facts:", q.Path)
		}
	}
}

// optional are names that a build asks for and does without.
func optional(p string) bool {
	return strings.HasSuffix(p, ".prov") || strings.HasSuffix(p, ".asc") || strings.Contains(p, "/referrers/") || strings.Contains(p, "/manifests/sha256-")
}

// moved pins everything, moves the tag of an image, and wants the build to stop with
// both digests.
func (r *run) moved(ctx context.Context) error {
	lock := filepath.Join(r.dir, "full.yaml")
	more := []string{"--out", lock}
	if exists(filepath.Join(r.dir, "NEW.yaml")) {
		more = append(more, "--lock", filepath.Join(r.dir, "NEW.yaml"))
	}
	if _, err := r.bundle(ctx, r.args("lock", "cache", more...)...); err != nil {
		return err
	}
	data, err := os.ReadFile(lock)
	if err != nil {
		return err
	}
	pinned, err := manifest.DecodeLock(lock, data)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(pinned.Images, func(l manifest.LockedImage) bool { return !strings.Contains(l.Ref, "@") && len(l.Platforms) > 1 })
	if i < 0 {
		return errors.New("no image by tag is locked")
	}
	img := pinned.Images[i]
	ref, err := manifest.ParseReference(img.Ref)
	if err != nil {
		return err
	}
	now := img.Platforms[0].Digest.String()
	if err := r.up.SetTag(ref.Name(), ref.Tag, now); err != nil {
		return err
	}
	_, err = r.bundle(ctx, r.args("build", "cache2", "--unsigned", "--out", filepath.Join(r.dir, "moved"), "--lock", lock)...)
	if err == nil || !strings.Contains(err.Error(), img.Digest.String()) || !strings.Contains(err.Error(), now) {
		return fmt.Errorf("the tag of %s moved from %s to %s, and the build says %w", img.Ref, img.Digest, now, err)
	}
	fmt.Printf("moved tag: %s stops the build, both digests named\n", img.Ref)
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// bundle runs bundle and returns its standard output; the error holds the other.
func (r *run) bundle(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.bin, "bundle"), args...)
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=release", "SOURCE_DATE_EPOCH=1750000000")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("bundle %s: %w\n%s", args[0], err, stderr.String())
	}
	return stdout.Bytes(), nil
}
