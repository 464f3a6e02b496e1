package install

import (
	"errors"
	"strings"
	"testing"

	"naru/internal/carried"
	"naru/manifest"
)

// Every image that kubeadm starts from is missed before a host is touched, whatever the
// release lists; one of another version too.
func TestControlPlaneImages(t *testing.T) {
	all := []string{
		"registry.k8s.io/kube-apiserver:v1.32.13", "registry.k8s.io/kube-controller-manager:v1.32.13", "registry.k8s.io/kube-scheduler:v1.32.13",
		"registry.k8s.io/kube-proxy:v1.32.13", "registry.k8s.io/coredns/coredns:v1.11.3", "registry.k8s.io/etcd:3.5.24-0", "registry.k8s.io/pause:3.10",
	}
	spec := func(refs []string) *manifest.ComponentSpec {
		k := &manifest.ComponentSpec{ID: "kubernetes", Version: "1.32.13"}
		for _, r := range refs {
			k.Images = append(k.Images, manifest.Image{Ref: r})
		}
		return k
	}
	if err := checkControlPlaneImages(spec(all)); err != nil {
		t.Errorf("complete, and still: %v", err)
	}
	for i, ref := range all {
		rest := append(append([]string(nil), all[:i]...), all[i+1:]...)
		err := checkControlPlaneImages(spec(rest))
		var missing *carried.MissingError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), strings.Split(ref, ":")[0]) {
			t.Errorf("without %s: %v", ref, err)
		}
	}
	old := append(append([]string(nil), all[1:]...), "registry.k8s.io/kube-apiserver:v1.32.12")
	if err := checkControlPlaneImages(spec(old)); err == nil {
		t.Error("an API server of another version went unnoticed")
	}
}
