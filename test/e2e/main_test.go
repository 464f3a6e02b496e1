//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"naru/test/lab/content"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

// epoch is the SOURCE_DATE_EPOCH of every build.
const epoch = "1750000000"

// world is what the tests share. They do not change it, but for the faults and
// requests of up, which a test leaves as it found them.
type world struct {
	bin, tools string
	// labDir holds the lab's content between runs, work what this run makes.
	labDir, work string
	layout       *layout.Layout
	up           *upstream.Upstream
	// key and pub are the two halves of the key that the bundles are signed with.
	key, pub string
	// store is a cache folder that holds the demo release's content.
	store string
	// demo is the media folder of the demo release, signed, one volume.
	demo string
	// list is what bundle list says of demo.
	list []artifact
}

// artifact is one line of bundle list.
type artifact struct {
	Kind, Name, Platform, Digest, Source string
	Size                                 int64
}

// w is made by TestMain.
var w *world

func TestMain(m *testing.M) {
	var next world
	flag.StringVar(&next.bin, "bin", "", "folder of bundle and install")
	flag.StringVar(&next.tools, "tools", "", "folder that tools.sh installed into")
	flag.StringVar(&next.labDir, "cache", "", "folder for the lab's content")
	flag.Parse()
	os.Exit(next.main(m))
}

func (next *world) main(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := next.make(ctx)
	if next.work != "" {
		defer func() { _ = os.RemoveAll(next.work) }()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer func() { _ = next.up.Close() }()
	w = next
	return m.Run()
}

// make starts the simulated internet and builds the bundle that the tests share.
func (next *world) make(ctx context.Context) error {
	if next.bin == "" || next.tools == "" || next.labDir == "" {
		return fmt.Errorf("run these tests by test/e2e/run.sh")
	}
	var err error
	if next.work, err = os.MkdirTemp("", "naru-e2e-"); err != nil {
		return err
	}
	next.key, next.pub = next.path("cosign.key"), next.path("cosign.pub")
	next.store, next.demo = next.path("store"), next.path("demo")
	next.layout, err = content.Build(ctx, content.Options{CacheDir: next.labDir, OnStep: func(s string) { fmt.Println("   " + s) }})
	if err != nil {
		return err
	}
	if next.up, err = upstream.Start(ctx, upstream.Options{}); err != nil {
		return err
	}
	if err := next.up.Add(ctx, next.layout); err != nil {
		return err
	}
	if _, err := next.must(ctx, "bundle", "keygen", "--out-prefix", next.path("cosign")); err != nil {
		return err
	}
	if _, err := next.must(ctx, "bundle", next.build(next.demo, "--key", next.key, "--installers", next.bin)...); err != nil {
		return err
	}
	r, err := next.must(ctx, "bundle", "list", next.demo, "--key", next.pub, "--output", "json")
	if err != nil {
		return err
	}
	return json.Unmarshal(r.stdout, &next.list)
}

// path is a path in the folder of this run.
func (next *world) path(name string) string { return filepath.Join(next.work, name) }

// build is the command line that builds the demo release from the shared store.
func (next *world) build(out string, more ...string) []string {
	args := append([]string{"build", "--release", "demo", "--without", "host-packages", "--platform", "linux/amd64,linux/arm64", "--cache", next.store, "--out", out}, next.source()...)
	return append(args, more...)
}

// source are the flags that send a build to the simulated internet.
func (next *world) source() []string {
	args := []string{"--ca-file", next.up.CAFile(), "--progress", "none", "--output", "json"}
	for _, m := range next.up.RegistryMap() {
		args = append(args, "--registry-map", m)
	}
	return args
}

// images are the carried images: each reference with the digests of its platforms.
func (next *world) images() map[string]map[string]string {
	images := map[string]map[string]string{}
	for _, a := range next.list {
		if a.Kind != "image" {
			continue
		}
		if images[a.Name] == nil {
			images[a.Name] = map[string]string{}
		}
		images[a.Name][a.Platform] = a.Digest
	}
	return images
}
