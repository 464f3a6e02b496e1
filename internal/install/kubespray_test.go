package install_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"naru/internal/install"
	"naru/manifest"
)

// shipped is what a bundle of a release would hold, every file pinned.
func shipped(t *testing.T, release string) install.KubesprayInput {
	t.Helper()
	set, err := manifest.LoadRelease(manifest.EmbeddedReleases(), release)
	if err != nil {
		t.Fatal(err)
	}
	in := install.KubesprayInput{Lock: manifest.NewLock(release)}
	for _, id := range set.Components {
		c := set.Specs[id]
		in.Specs = append(in.Specs, c)
		for _, f := range c.Files {
			for _, s := range f.Sources {
				in.Lock.Files = append(in.Lock.Files, manifest.LockedFile{Component: id, Name: f.Name, Version: f.Version, Platform: s.Platform, URL: s.URL, Digest: digest.FromString(s.URL)})
			}
		}
	}
	return in
}

const kubespraySite = `apiVersion: naru/v1
kind: Site
name: prod
domain: k8s.example.kr
hosts:
  - {name: cp1, address: 10.0.0.11, roles: [control-plane, depot]}
`

func TestKubespray(t *testing.T) {
	for release, kubernetes := range map[string]string{"2025.1": "1.32.13", "2025.2": "1.33.13"} {
		in := shipped(t, release)
		var err error
		if in.Site, err = manifest.DecodeSite("site.yaml", []byte(kubespraySite)); err != nil {
			t.Fatal(err)
		}
		text, err := install.Kubespray(in)
		if err != nil {
			t.Fatal(err)
		}
		var vars map[string]any
		if err := yaml.Unmarshal(text, &vars); err != nil {
			t.Fatal(err)
		}
		amd64 := digest.FromString("https://dl.k8s.io/release/v" + kubernetes + "/bin/linux/amd64/kubeadm").String()
		for name, want := range map[string]string{
			"kube_version":         kubernetes,
			"kube_image_repo":      "{{ registry_host }}/registry.k8s.io",
			"files_repo":           "https://10.0.0.11:5000/files",
			"registry_host":        "harbor.k8s.example.kr:30003", // no HAProxy: at the node port
			"kubeadm_download_url": "{{ files_repo }}/kubernetes/" + kubernetes + "/linux-{{ image_arch }}/kubeadm",
			"etcd_version":         "3.5.24",
			"pod_infra_version":    "3.10",
		} {
			if vars[name] != want {
				t.Errorf("%s: %s is %v, want %v", release, name, vars[name], want)
			}
		}
		if sum, _ := vars["kubeadm_binary_checksum"].(string); !strings.Contains(sum, "'amd64': '"+amd64+"'") || !strings.Contains(sum, "'arm64': ") {
			t.Errorf("%s: kubeadm_binary_checksum is %q", release, sum)
		}
		for name, v := range vars {
			if s, ok := v.(string); ok && strings.Contains(s, "://") && name != "files_repo" {
				t.Errorf("%s: %s asks %q", release, name, s)
			}
		}
	}
}

func TestKubesprayNotCarried(t *testing.T) {
	in := shipped(t, "2025.1")
	in.Lock = manifest.NewLock("2025.1")
	var err error
	if in.Site, err = manifest.DecodeSite("site.yaml", []byte(kubespraySite)); err != nil {
		t.Fatal(err)
	}
	var missing *install.NotCarriedError
	if _, err := install.Kubespray(in); !errors.As(err, &missing) {
		t.Errorf("got %v, want a NotCarriedError", err)
	}
}
