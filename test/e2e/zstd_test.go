//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Every volume is a .tar.zst that zstd and tar read without naru, and the one of a
// single-volume bundle unpacks to an OCI layout that skopeo reads.
func TestZstdTarListsVolumes(t *testing.T) {
	one := volumes(t, w.demo)
	if len(one) != 1 {
		t.Fatalf("the demo release has %d volumes, want 1", len(one))
	}
	t.Run("one volume", func(t *testing.T) { listVolumes(t, w.demo, 1) })
	t.Run("three volumes", func(t *testing.T) {
		info, err := os.Stat(one[0])
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "three")
		// A volume may end a frame, 4 MiB, before its limit, and each has a head of its own.
		const slack = 6 << 20
		buildDemo(t, out, "--key", w.key, "--no-installer", "--volume-size", fmt.Sprint(info.Size()/3+slack))
		listVolumes(t, out, 3)
		ok(t, "install", "verify", out, "--key", w.pub)
	})
	t.Run("layout", func(t *testing.T) { readLayout(t, unpack(t, w.demo)[0]) })
}

// listVolumes has zstd test and tar list every volume.
func listVolumes(t *testing.T, media string, want int) {
	found := volumes(t, media)
	if len(found) != want {
		t.Fatalf("%d volumes, want %d: %v", len(found), want, found)
	}
	blobs := map[string]bool{}
	for _, volume := range found {
		ok(t, "zstd", "-q", "-t", volume)
		// The line of the documentation, as it stands.
		r, err := finish(exec.CommandContext(t.Context(), "bash", "-c", `set -o pipefail; zstd -dc "$1" | tar -t`, "-", volume))
		if err != nil || r.code != 0 {
			t.Fatalf("zstd -dc %s | tar -t: %d %v %s", volume, r.code, err, r.stderr)
		}
		names := strings.Fields(string(r.stdout))
		head := []string{"volume.json", "bundle.json", "bundle.json.sigstore.json"}
		if len(names) < 4 || !slices.Equal(names[:3], head) {
			t.Errorf("%s starts with %v, want %v", volume, names[:min(3, len(names))], head)
		}
		for _, name := range names {
			if blob, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob {
				blob, _, _ = strings.Cut(blob, ".")
				blobs[blob] = true
			}
		}
	}
	for _, a := range w.list {
		if a.Kind == "image" && !blobs[strings.TrimPrefix(a.Digest, "sha256:")] {
			t.Errorf("no volume lists the manifest of %s for %s", a.Name, a.Platform)
		}
	}
}

// readLayout has skopeo read what tar unpacked, and compares it with what bundle
// extract writes.
func readLayout(t *testing.T, dir string) {
	read := 0
	for ref, platforms := range w.images() {
		for platform, digest := range platforms {
			if strings.HasPrefix(w.layout.Refs()[ref].MediaType, "application/vnd.docker.") {
				// Debian 12's skopeo looks for OCI types alone in a layout's index, and
				// naru rewrites nothing that came from upstream.
				validateImage(t, dir, ref, digest)
				continue
			}
			skopeoReads(t, dir, ref, platform, digest)
			read++
		}
	}
	if read < 8 {
		t.Errorf("skopeo was given %d platform images, too few to prove anything", read)
	}
	to := filepath.Join(t.TempDir(), "extracted")
	ok(t, "bundle", "extract", w.demo, "--key", w.pub, "--to", to)
	unpacked, extracted := tree(t, dir), tree(t, to)
	diff := differing(unpacked, extracted)
	diff = slices.DeleteFunc(diff, func(name string) bool { return name == "volume.json" || name == "toc.json" })
	if len(diff) > 0 {
		t.Errorf("tar and bundle extract do not agree about %v", diff)
	}
	if len(extracted) < 20 {
		t.Errorf("bundle extract wrote %d files", len(extracted))
	}
}

// skopeoReads has skopeo inspect and copy one platform of ref out of a layout.
func skopeoReads(t *testing.T, dir, ref, platform, digest string) {
	t.Helper()
	oci, arch := "oci:"+dir+":"+ref, strings.TrimPrefix(platform, "linux/")
	var seen struct{ Architecture string }
	okJSON(t, &seen, "skopeo", "--override-os", "linux", "--override-arch", arch, "inspect", oci)
	if seen.Architecture != arch {
		t.Errorf("skopeo inspect %s: architecture %q, want %q", ref, seen.Architecture, arch)
	}
	to := t.TempDir()
	ok(t, "skopeo", "--override-os", "linux", "--override-arch", arch, "--insecure-policy", "copy", "-q", oci, "dir:"+to)
	if got := "sha256:" + hashFile(t, filepath.Join(to, "manifest.json")); got != digest {
		t.Errorf("skopeo copy %s for %s: manifest %s, want %s", ref, platform, got, digest)
	}
}

// validateImage has go-containerregistry read and check one platform of ref in a
// layout.
func validateImage(t *testing.T, dir, ref, digest string) {
	t.Helper()
	img, err := imageOf(dir, ref, digest)
	if err == nil {
		err = validate.Image(img)
	}
	if err != nil {
		t.Errorf("%s, image %s of the layout: %v", ref, digest, err)
	}
}

// imageOf opens an image of a layout, by itself or in its index.
func imageOf(dir, ref, digest string) (v1.Image, error) {
	want, err := v1.NewHash(digest)
	if err != nil {
		return nil, err
	}
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	list, err := root.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, desc := range list.Manifests {
		switch {
		case desc.Annotations["org.opencontainers.image.ref.name"] != ref:
		case desc.Digest == want:
			return root.Image(want)
		default:
			index, err := root.ImageIndex(desc.Digest)
			if err != nil {
				return nil, err
			}
			return index.Image(want)
		}
	}
	return nil, errors.New("the layout's index does not name it")
}
