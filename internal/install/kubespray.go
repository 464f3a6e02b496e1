package install

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
)

// KubesprayInput is what the variables of a kubespray inventory are made of.
type KubesprayInput struct {
	Site *manifest.Site
	// Specs are the components of a bundle, Lock its lock.
	Specs []*manifest.ComponentSpec
	Lock  *manifest.Lock
}

// Add takes components and lock of a bundle; those of a later bundle go before those of
// an earlier one.
func (in *KubesprayInput) Add(ctx context.Context, b *intake.Bundle) error {
	specs, err := b.Specs(ctx)
	if err != nil {
		return err
	}
	data, err := b.ReadFile(ctx, archive.LockName)
	if err != nil {
		return err
	}
	lock, err := manifest.DecodeLock(archive.LockName, data)
	if err != nil {
		return err
	}
	in.Specs = slices.Concat(specs, in.Specs)
	if in.Lock == nil {
		in.Lock = lock
	} else {
		in.Lock = in.Lock.Merge(lock)
	}
	return nil
}

// NotCarriedError says that a bundle lacks a file that kubespray needs.
type NotCarriedError struct{ Component, File string }

func (e *NotCarriedError) Error() string {
	return fmt.Sprintf("the bundle carries no file %q of component %q", e.File, e.Component)
}

// kubesprayFile is one download of kubespray's.
type kubesprayFile struct {
	component, name string
	// url and checksum are the variables that name it, version the one that is set to
	// the file's version; empty for one that follows from another.
	url, checksum, version string
}

// kubesprayFiles are the downloads of a cluster with containerd and Calico.
var kubesprayFiles = []kubesprayFile{
	{"kubernetes", "kubeadm", "kubeadm_download_url", "kubeadm_binary_checksum", "kube_version"},
	{"kubernetes", "kubelet", "kubelet_download_url", "kubelet_binary_checksum", ""},
	{"kubernetes", "kubectl", "kubectl_download_url", "kubectl_binary_checksum", ""},
	{"kubespray", "etcd.tar.gz", "etcd_download_url", "etcd_binary_checksum", "etcd_version"},
	{"kubespray", "cni-plugins.tgz", "cni_download_url", "cni_binary_checksum", "cni_version"},
	{"kubespray", "crictl.tar.gz", "crictl_download_url", "crictl_binary_checksum", "crictl_version"},
	{"kubespray", "containerd-static.tar.gz", "containerd_download_url", "containerd_checksum", "containerd_version"},
	{"runc", "runc", "runc_download_url", "runc_binary_checksum", "runc_version"},
	{"kubespray", "nerdctl.tar.gz", "nerdctl_download_url", "nerdctl_archive_checksum", "nerdctl_version"},
	{"kubespray", "helm.tar.gz", "helm_download_url", "helm_archive_checksum", "helm_version"},
	{"calico", "calicoctl", "calicoctl_download_url", "calicoctl_binary_checksum", "calico_version"},
	{"kubespray", "calico.tar.gz", "calico_crds_download_url", "", ""},
}

// kubesprayRegistries are kubespray's variables for upstream registries.
var kubesprayRegistries = map[string]string{
	"kube_image_repo": "registry.k8s.io", "gcr_image_repo": "gcr.io", "docker_image_repo": "docker.io",
	"quay_image_repo": "quay.io", "github_image_repo": "ghcr.io",
}

// Kubespray gives the variables that make kubespray take every file from the site's
// depot and every image from its Harbor, or from the depot where the site has no
// Harbor, as a YAML file for group_vars/all. Versions and checksums are those of the
// bundle, which kubespray's own tables need not know.
func Kubespray(in KubesprayInput) ([]byte, error) {
	vars := map[string]any{
		"containerd_static_binary": true,
		// The image is not carried: CoreDNS answers pods directly.
		"enable_nodelocaldns": false,
		"container_manager":   "containerd",
		"kube_network_plugin": "calico",
		"pod_infra_version":   in.tag("kubernetes", "registry.k8s.io/pause"),
		"coredns_version":     in.tag("kubernetes", "registry.k8s.io/coredns/coredns"),
	}
	facts := in.Site.Facts(in.Lock.Release, "")
	registry := facts.Harbor.Registry
	if registry == "" {
		registry = strings.TrimPrefix(facts.Depot, "https://")
	}
	vars["registry_host"], vars["files_repo"] = registry, facts.Depot+"/files"
	for name, host := range kubesprayRegistries {
		vars[name] = "{{ registry_host }}/" + host
	}
	for _, f := range kubesprayFiles {
		if err := in.file(f, vars); err != nil {
			return nil, err
		}
	}
	return encodeVars(vars)
}

// file sets the variables of one download.
func (in *KubesprayInput) file(f kubesprayFile, vars map[string]any) error {
	var file *manifest.File
	for _, c := range in.Specs {
		if c.ID != f.component || file != nil {
			continue
		}
		if i := slices.IndexFunc(c.Files, func(have manifest.File) bool { return have.Name == f.name }); i >= 0 {
			file = &c.Files[i]
		}
	}
	sums := map[string]string{}
	for i := range in.Lock.Files {
		e := &in.Lock.Files[i]
		if file != nil && e.Component == f.component && e.Name == f.name && e.Version == file.Version {
			sums[path.Base(e.Platform)] = e.Digest.String()
		}
	}
	if len(sums) == 0 {
		return &NotCarriedError{Component: f.component, File: f.name}
	}
	folder := "linux-{{ image_arch }}"
	if all, ok := sums["."]; ok {
		folder = "all"
		vars["calico_crds_archive_checksums"] = map[string]any{"no_arch": map[string]string{file.Version: all}}
	} else {
		vars[f.checksum] = "{{ " + dict(sums) + "[image_arch] }}"
	}
	vars[f.url] = strings.Join([]string{"{{ files_repo }}", f.component, file.Version, folder, f.name}, "/")
	if f.version != "" {
		vars[f.version] = file.Version
	}
	return nil
}

// dict is a map as Jinja writes it.
func dict(m map[string]string) string {
	var parts []string
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("'%s': '%s'", k, v))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

// tag is the tag of a component's image without "v"; empty where it has none.
func (in *KubesprayInput) tag(component, name string) string {
	for _, c := range in.Specs {
		for _, img := range c.Images {
			if ref, err := manifest.ParseReference(img.Ref); err == nil && c.ID == component && ref.Name() == name && ref.Tag != "" {
				return strings.TrimPrefix(ref.Tag, "v")
			}
		}
	}
	return ""
}

func encodeVars(vars map[string]any) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteString("# Written by install export kubespray: everything comes from the site's depot and registry.\n")
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(vars); err != nil {
		return nil, fmt.Errorf("writing kubespray's variables: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("writing kubespray's variables: %w", err)
	}
	return buf.Bytes(), nil
}
