//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// Debian's containerd, told of the depot by certs.d alone, pulls what was carried
// by tag, platform digest and index digest, asks no name server about anything and
// sends nobody else a packet; what was not carried fails at once.
func TestContainerdCertsD(t *testing.T) {
	n := newSealed(t)
	depot := startDepotBy(t, n.command, w.demo, "--listen", "127.0.0.1:5443", "--name", "127.0.0.1")
	certs := certsD(t, depot)
	hows := map[string]func(ref, platform string) string{
		"tag":             func(ref, _ string) string { return ref },
		"platform digest": func(ref, platform string) string { return repository(ref) + "@" + platform },
		"index digest":    func(ref, _ string) string { return repository(ref) + "@" + w.layout.Refs()[ref].Digest.String() },
	}
	for how, name := range hows {
		t.Run(how, func(t *testing.T) {
			runtime := startContainerd(t, n, certs) // that has nothing yet
			for ref, platforms := range w.images() {
				platform := platforms["linux/amd64"]
				got, err := runtime.pull(t.Context(), name(ref, platform))
				if err != nil {
					t.Error(err)
				} else if want := configOf(t, platform); got != want {
					t.Errorf("the runtime has %s as image %s, want %s", ref, got, want)
				}
			}
		})
	}
	runtime := startContainerd(t, n, certs)
	t.Run("ctr", func(t *testing.T) {
		for ref := range w.images() { // ctr knows certs.d by --hosts-dir alone
			n.ok(t, "ctr", "--address", runtime.socket, "--namespace", "e2e", "images", "pull", "--snapshotter", "native", "--hosts-dir", certs, "--platform", "linux/amd64", ref)
		}
	})
	t.Run("not carried", func(t *testing.T) {
		for _, ref := range []string{"registry.k8s.io/pause:3.9", "quay.io/nobody/nothing:1", "example.org/else@sha256:" + strings.Repeat("0", 64)} {
			start := time.Now()
			if id, err := runtime.pull(t.Context(), ref); err == nil {
				t.Errorf("pulling %s gave %s", ref, id)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("pulling %s failed after %s", ref, took)
			}
		}
	})
	if asked := n.asked(); len(asked) > 0 {
		t.Errorf("names that were looked up: %v", asked)
	}
	if packets := n.strangers(t); packets > 0 {
		t.Errorf("%d packets were sent to others than the depot", packets)
	}

	// The watch sees what it is there for: the same runtime without certs.d goes to
	// the upstream.
	t.Run("without certs.d", func(t *testing.T) {
		lost := startContainerd(t, n, t.TempDir())
		if id, err := lost.pull(t.Context(), "registry.k8s.io/pause:3.10"); err == nil {
			t.Errorf("there is no upstream, yet it gave %s", id)
		}
		asked, packets := strings.Join(n.asked(), " "), n.strangers(t)
		if !strings.Contains(asked, "registry.k8s.io") || packets == 0 {
			t.Errorf("the watch saw %d packets and questions about %q", packets, asked)
		}
	})
}

// certsD writes the folder that sends every registry to the depot and nowhere else.
func certsD(t *testing.T, depot *server) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "_default"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("server = %[1]q\nca = %[2]q\n\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %[2]q\n", "https://"+depot.addr, depot.ca)
	if err := os.WriteFile(filepath.Join(dir, "_default", "hosts.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// containerd is a runtime of the test's own.
type containerd struct {
	*cri
	socket string
}

// startContainerd starts containerd in the namespace with folders of its own. Its
// snapshotter is the one that works in containers too.
func startContainerd(t *testing.T, n *sealed, certs string) *containerd {
	t.Helper()
	// Sockets have short names, so it is not the test's folder.
	dir, err := os.MkdirTemp(w.work, "ctd-")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "c.sock")
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, filepath.Join(dir, "cni"), filepath.Join(dir, "cni"), certs)
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("containerd:\n%s", text)
		}
	})
	cmd := n.command(t.Context(), "containerd", "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	start(t, cmd)
	waitFor(t, "unix", socket)
	runtime := &containerd{newCRI(socket), socket}
	runtime.ready(t)
	return runtime
}

// ready waits until the image service answers: the socket is there before it.
func (c *containerd) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.call(ctx, "ImageFsInfo", nil)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for the runtime's image service: %v", err)
		case <-tick.C:
		}
	}
}

// repository is a reference without its tag.
func repository(ref string) string { return ref[:strings.LastIndex(ref, ":")] }

// configOf is the digest of the config of an image of the demo release.
func configOf(t *testing.T, image string) string {
	t.Helper()
	f, err := w.layout.Open(digest.Digest(image))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Config struct{ Digest string } }
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m.Config.Digest
}
