//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bad input gets one clear error, a hint and the exit code of docs/cli.md.
func TestBadInput(t *testing.T) {
	t.Run("documents", badDocuments)
	t.Run("pins", badPins)
	t.Run("space", noSpace)
	t.Run("trust", badTrust)
	t.Run("volumes", badVolumes)
	t.Run("command lines", badCommandLines)
}

// contentBuild runs a build from a Content file that has to fail.
func contentBuild(t *testing.T, text string, more ...string) result {
	t.Helper()
	file := write(t, "content.yaml", text)
	out, store := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "store")
	args := append([]string{"build", "--no-scan", "-f", file, "--unsigned", "--no-installer", "--out", out, "--cache", store}, w.source()...)
	r, err := w.run(t.Context(), "bundle", append(args, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "SHA256SUMS")); err == nil {
		t.Error("there is a bundle all the same")
	}
	return r
}

const pauseAlone = `apiVersion: naru/v1
kind: Content
name: pause
platforms: [linux/amd64]
images:
  - ref: registry.k8s.io/pause:3.10
`

func badDocuments(t *testing.T) {
	// Two mistakes are reported at once, each where it is.
	two := pauseAlone + "    platform: [linux/amd64]\nfils: []\n"
	refusal(t, contentBuild(t, two), 3, "content.yaml:7:", "platform", "content.yaml:8:", "fils")
	refusal(t, contentBuild(t, "apiVersion: naru/v1\nkind: Content\nimages: [\n"), 3, "content.yaml:")
	refusal(t, contentBuild(t, strings.Replace(pauseAlone, "kind: Content", "kind: Lock", 1)), 3, "content.yaml:2:", "Lock")
	refusal(t, contentBuild(t, strings.Replace(pauseAlone, "naru/v1", "naru/v9", 1)), 9, "naru/v9", "hint: ")
	lock := write(t, "lock.yaml", "apiVersion: naru/v1\nkind: Lock\nimagse: []\n")
	refusal(t, contentBuild(t, pauseAlone, "--lock", lock), 3, "lock.yaml:3:", "imagse")
}

func badPins(t *testing.T) {
	refusal(t, contentBuild(t, pauseAlone, "--locked"), 4, "registry.k8s.io/pause:3.10", "not pinned", "hint: ")

	// The lab has pause for amd64 alone, and says so.
	refusal(t, contentBuild(t, pauseAlone, "--platform", "linux/arm64"), 4, "registry.k8s.io/pause:3.10", "linux/arm64", "linux/amd64", "hint: ")
	busybox := strings.Replace(pauseAlone, "registry.k8s.io/pause:3.10", "docker.io/library/busybox:1.35", 1)
	refusal(t, contentBuild(t, busybox, "--platform", "linux/riscv64"), 4, "docker.io/library/busybox:1.35", "linux/riscv64", "linux/arm64", "hint: ")

	// A tag that moved after it was locked.
	lock := filepath.Join(w.demo, "lock.yaml")
	etcd, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	real := w.layout.Refs()["docker.io/library/busybox:1.35"].Digest.String()
	moved := write(t, "moved.yaml", strings.ReplaceAll(string(etcd), real, "sha256:"+strings.Repeat("5", 64)))
	r := contentBuild(t, busybox, "--lock", moved)
	refusal(t, r, 4, "docker.io/library/busybox:1.35", real, strings.Repeat("5", 64), "hint: ")

	// A file that is not what the document says.
	const url = "https://dl.lab.test/SHA256SUMS"
	sums, err := w.layout.Catalog.File(url)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.Repeat("7", 64)
	files := fmt.Sprintf("apiVersion: naru/v1\nkind: Content\nname: sums\nplatforms: [linux/amd64]\nfiles:\n  - name: sums\n    version: \"1\"\n    sources: [{url: %q, sha256: %q}]\n", url, wrong)
	refusal(t, contentBuild(t, files), 5, wrong, sums.SHA256, url, "hint: ")

	// What is nowhere.
	refusal(t, contentBuild(t, strings.Replace(pauseAlone, "pause:3.10", "pause:0.0", 1)), 7, "registry.k8s.io/pause:0.0")
}

// noSpace builds onto disks of a few megabytes. With a lock the sizes are known
// before the first byte is fetched; without one the disk fills up.
func noSpace(t *testing.T) {
	lock := []string{"--lock", filepath.Join(w.demo, "lock.yaml"), "--locked"}
	t.Run("cache", func(t *testing.T) {
		disk := filepath.Join(smallDisk(t), "x")
		w.up.ResetRequests()
		r := fails(t, "bundle", w.build(filepath.Join(t.TempDir(), "out"), append(lock, "--unsigned", "--no-installer", "--cache", disk)...)...)
		refusal(t, r, 8, disk, "bytes needed", "free", "hint: ")
		for _, request := range w.up.Requests() {
			if strings.Contains(request.Path, "/blobs/") && request.Size > 1<<20 {
				t.Errorf("%s was fetched before the disk was looked at", request.Path)
			}
		}
	})
	t.Run("cache, no lock", func(t *testing.T) {
		disk := filepath.Join(smallDisk(t), "x")
		r := fails(t, "bundle", w.build(filepath.Join(t.TempDir(), "out"), "--unsigned", "--no-installer", "--cache", disk)...)
		refusal(t, r, 8, disk, "hint: ")
	})
	t.Run("out", func(t *testing.T) {
		disk := smallDisk(t)
		r := fails(t, "bundle", w.build(filepath.Join(disk, "x"), append(lock, "--unsigned", "--no-installer")...)...)
		refusal(t, r, 8, filepath.Join(disk, "x"), "bytes needed", "free", "hint: ")
		if left := filesOf(t, disk); len(left) > 0 {
			t.Errorf("left on the disk: %v", left)
		}
	})
}

// smallDisk is the folder of a disk of 8 MB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir)
	t.Cleanup(func() {
		if out, err := w.command(context.WithoutCancel(t.Context()), "umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

func badTrust(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	ok(t, "bundle", "keygen", "--out-prefix", other)
	for _, program := range []string{"bundle", "install"} {
		refusal(t, fails(t, program, "verify", w.demo, "--key", other+".pub"), 6, "hint: ")
		refusal(t, fails(t, program, "verify", w.demo, "--trust-dir", t.TempDir()), 6, "hint: ")
		refusal(t, fails(t, program, "verify", w.demo, "--key", write(t, "no.pub", "no key\n")), 6, "no.pub")
	}
	refusal(t, fails(t, "install", "serve", w.demo, "--key", other+".pub", "--listen", "127.0.0.1:0", "--state", t.TempDir()), 6)
	refusal(t, fails(t, "install", "push", w.demo, "--key", other+".pub", "--to", "127.0.0.1:9", "--plain-http"), 6)

	unsigned := filepath.Join(t.TempDir(), "unsigned")
	buildDemo(t, unsigned, "--unsigned", "--no-installer")
	refusal(t, fails(t, "install", "verify", unsigned, "--key", w.pub), 6)
}

func badVolumes(t *testing.T) {
	three := filepath.Join(t.TempDir(), "three")
	buildDemo(t, three, "--key", w.key, "--no-installer", "--volume-size", "50MB")
	paths := volumes(t, three)
	if len(paths) < 3 {
		t.Fatalf("%d volumes, want 3 or more", len(paths))
	}
	dir := func(paths ...string) string { // with links to volumes
		d := t.TempDir()
		for _, p := range paths {
			if err := os.Symlink(p, filepath.Join(d, filepath.Base(p))); err != nil {
				t.Fatal(err)
			}
		}
		return d
	}
	verify := func(dirs ...string) result {
		return fails(t, "install", append([]string{"verify", "--key", w.pub}, dirs...)...)
	}
	refusal(t, verify(dir(slices.Delete(slices.Clone(paths), 1, 2)...)), 5, fmt.Sprintf("missing volume 2 of %d", len(paths)), "hint: ")
	refusal(t, verify(dir(paths[0])), 5, "missing volume 2, 3", "hint: ")
	doubled := filepath.Join(t.TempDir(), "copy.tar.zst")
	ok(t, "cp", paths[1], doubled)
	refusal(t, verify(dir(append([]string{doubled}, paths...)...)), 5, filepath.Base(paths[1]), "copy.tar.zst", "hint: ")
	foreign := filepath.Join(t.TempDir(), "foreign.tar.zst")
	if err := os.Symlink(volumes(t, w.demo)[0], foreign); err != nil {
		t.Fatal(err)
	}
	refusal(t, verify(dir(append([]string{foreign}, paths...)...)), 5, "foreign.tar.zst", "hint: ")
	refusal(t, verify(t.TempDir()), 5, "hint: ")

	damaged := changed(t, volumes(t, w.demo)[0], func(v []byte) int { // behind the tar header of the first blob
		return bytes.Index(v, []byte("blobs/sha256/")) + 560
	})
	refusal(t, verify(damaged), 5, filepath.Base(damaged), "blobs/sha256/", "hint: ")
	large := changed(t, volumes(t, w.demo)[0], func(v []byte) int { return len(v) / 2 })
	refusal(t, verify(large), 5, filepath.Base(large), "blobs/sha256/", "hint: ")
	newer := changed(t, volumes(t, w.demo)[0], func(v []byte) int { return bytes.Index(v, []byte("naru/v1")) + 6 })
	refusal(t, verify(newer), 9, "naru/v", "hint: ")
	refusal(t, verify(write(t, "text.tar.zst", "this is no volume\n")), 5, "text.tar.zst", "hint: ")
}

func badCommandLines(t *testing.T) {
	refusal(t, fails(t, "bundle", "build", "--release", "demo", "--no-such-flag"), 2, "--no-such-flag", "hint: ")
	refusal(t, fails(t, "bundle", "build", "--release", "demo"), 2, "--key")
	refusal(t, fails(t, "bundle", "build", "--release", "demo", "--unsigned", "--volume-size", "large"), 2, "large")
	refusal(t, fails(t, "bundle", "extract", w.demo), 2, "--to")
	refusal(t, fails(t, "install", "push", w.demo), 2, "to")
	refusal(t, fails(t, "install", "push", w.demo, "--key", w.pub, "--to", "registry.example:5000", "--plain-http"), 2, "hint: ")
	refusal(t, fails(t, "bundle", append([]string{"build", "--release", "nothing", "--unsigned", "--cache", w.store}, w.source()...)...), 2, "nothing", "demo", "hint: ")
	refusal(t, fails(t, "bundle", w.build(t.TempDir(), "--unsigned", "--with", "etdc")...), 2, "etdc", "etcd", "hint: ")
	refusal(t, fails(t, "bundle", w.build(w.demo, "--unsigned", "--no-installer", "--without", "etcd", "--profile", "minimal")...), 1, w.demo, "hint: ")
}

// fails runs a program that is expected to fail.
func fails(t *testing.T, name string, args ...string) result {
	t.Helper()
	r, err := w.run(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	if r.code == 0 {
		t.Errorf("%s %v succeeds: %s", name, args, r.stdout)
	}
	return r
}

// changed is a copy of a file in which one bit of the byte at is turned over.
func changed(t *testing.T, path string, at func([]byte) int) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := at(data)
	data[i] ^= 0x08
	to := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
