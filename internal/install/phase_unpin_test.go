package install

import (
	"slices"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/manifest"
)

// pinned is a list as ctr prints it.
const pinned = `REF TYPE DIGEST SIZE PLATFORMS LABELS
registry.k8s.io/kube-apiserver:v1.32.13 application/vnd.oci.image.manifest.v1+json sha256:01 10.6 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
registry.k8s.io/kube-apiserver:v1.32.14 application/vnd.oci.image.manifest.v1+json sha256:02 10.6 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned,naru.pinned=boot
docker.io/calico/node:v3.30.0 application/vnd.oci.image.manifest.v1+json sha256:03 10.6 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned,naru.pinned=boot
quay.io/somebody/else:1 application/vnd.oci.image.manifest.v1+json sha256:04 10.6 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
registry.k8s.io/etcd:3.5.1 application/vnd.oci.image.manifest.v1+json sha256:05 10.6 KiB linux/amd64 io.cri-containerd.image=managed
registry.k8s.io/pause:3.10 application/vnd.oci.image.manifest.v1+json sha256:06 300 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
registry.k8s.io/pause@sha256:8c0e0055d7e952e0ff7d0d8d80006266d48e2bb7a39ff2e1e47df54c17f141c8 application/vnd.oci.image.manifest.v1+json sha256:06 300 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
sha256:8c0e0055d7e952e0ff7d0d8d80006266d48e2bb7a39ff2e1e47df54c17f141c8 application/vnd.oci.image.manifest.v1+json sha256:06 300 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
`

// TestOldImagesAreUnpinned: what an upgrade left behind stayed pinned on the nodes, and no
// full disk made the kubelet remove it.
func TestOldImagesAreUnpinned(t *testing.T) {
	kubelet, marked := "Kubernetes v1.32.14", false
	var unpinned []string
	c := clusterOf(scripted(func(argv []string) (string, int) {
		switch text := strings.Join(argv, " "); {
		case strings.HasSuffix(text, "images ls"):
			return pinned, 0
		case slices.Contains(argv, unpinScript):
			unpinned = argv[4:]
		case slices.Contains(argv, upgradeMark) && !marked:
			return "", 1
		case strings.Contains(text, "--version"):
			return kubelet, 0
		}
		return "", 0
	}), manifest.SiteHost{Name: "cp", Roles: []string{manifest.RoleControlPlane}})
	c.Set = &carried.Set{Kubernetes: "1.32.14"}
	c.Components = []*manifest.ComponentSpec{{ID: "kubernetes", BootCritical: true, Images: []manifest.Image{
		{Ref: "registry.k8s.io/kube-apiserver:v1.32.14"}, {Ref: "registry.k8s.io/etcd:3.5.2"}, {Ref: "registry.k8s.io/pause:3.10"},
	}}}
	task := unpinPhase().Tasks(c)[0]
	if done, err := task.Done(t.Context()); err != nil || done {
		t.Errorf("holds %v, %v", done, err)
	}
	ok(t, task.Do(t.Context()))
	if want := []string{"registry.k8s.io/kube-apiserver:v1.32.13", "docker.io/calico/node:v3.30.0"}; !slices.Equal(unpinned, want) {
		t.Errorf("unpins %v, want %v", unpinned, want)
	}
	// A node that is on its way still starts from the former ones.
	for _, when := range []func(){func() { marked = true }, func() { marked, kubelet = false, "Kubernetes v1.32.13" }} {
		when()
		if done, err := task.Done(t.Context()); err != nil || !done {
			t.Errorf("during an upgrade: holds %v, %v", done, err)
		}
	}
}
