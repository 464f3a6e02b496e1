package content

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"naru/test/lab/cache"
	"naru/test/lab/layout"
)

// clusterParts are what the images and files of a cluster are put together from.
type clusterParts struct {
	kubernetes, next, etcd, coredns, nextCoreDNS, containerd, cni, flannel, flannelCNI, hello string // folders of binaries
	network, busybox                                                                          layout.Layer
}

// kubernetesBuild is a version of Kubernetes and the folder of its binaries.
type kubernetesBuild struct{ version, dir string }

// releases are the versions of Kubernetes that the lab carries.
func (c *Cluster) releases(p *clusterParts) []kubernetesBuild {
	return []kubernetesBuild{{c.Kubernetes.Version, p.kubernetes}, {c.Next.Version, p.next}}
}

// buildCluster makes the images, files and charts of a cluster.
func (b *builder) buildCluster(ctx context.Context) error {
	c := b.recipe.Cluster
	if c == nil {
		return nil
	}
	var p clusterParts
	if err := b.clusterBinaries(ctx, c, &p); err != nil {
		return err
	}
	for _, part := range []func(context.Context, *Cluster, *clusterParts) error{
		b.clusterLayers, b.clusterImages, b.clusterFiles, b.clusterCharts,
	} {
		if err := part(ctx, c, &p); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) clusterBinaries(ctx context.Context, c *Cluster, p *clusterParts) error {
	const arch = "amd64"
	for _, part := range []struct {
		dir   *string
		build func() (string, error)
	}{
		{&p.kubernetes, func() (string, error) { return b.program(ctx, &c.Kubernetes) }},
		{&p.next, func() (string, error) {
			if c.Next.Kubernetes != nil {
				return b.program(ctx, c.Next.Kubernetes)
			}
			return b.renamed(p.kubernetes, c.Kubernetes.Version, c.Next.Version)
		}},
		{&p.etcd, func() (string, error) { return b.goBinaries(ctx, &c.Etcd, arch) }},
		{&p.coredns, func() (string, error) { return b.program(ctx, &c.CoreDNS) }},
		{&p.nextCoreDNS, func() (string, error) { return b.program(ctx, cmp.Or(c.Next.CoreDNS, &c.CoreDNS)) }},
		{&p.containerd, func() (string, error) { return b.goBinaries(ctx, &c.Containerd, arch) }},
		{&p.cni, func() (string, error) { return b.goBinaries(ctx, &c.CNI, arch) }},
		{&p.flannel, func() (string, error) { return b.program(ctx, &c.Flannel) }},
		{&p.flannelCNI, func() (string, error) { return b.goBinaries(ctx, &c.FlannelCNI, arch) }},
		{&p.hello, func() (string, error) { return b.helloBinary(ctx, c.Hello, arch) }},
	} {
		var err error
		if *part.dir, err = part.build(); err != nil {
			return err
		}
	}
	return nil
}

// helloBinary builds the lab's application.
func (b *builder) helloBinary(ctx context.Context, source, arch string) (string, error) {
	version, err := toolOutput(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	key, err := json.Marshal([]any{source, arch, goFlags(), version})
	if err != nil {
		return "", fmt.Errorf("encoding key: %w", err)
	}
	dir := filepath.Join(b.cache, "bin", shortHash(key))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b.step("building hello for linux/" + arch)
	return dir, cache.Fill(dir, func(tmp string) error {
		work, err := os.MkdirTemp("", "naru-lab-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(work) }()
		for name, text := range map[string]string{"go.mod": "module hello\n\ngo 1.26.0\n", "main.go": source} {
			if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		cmd := exec.CommandContext(ctx, "go", append(goFlags(), "-o", filepath.Join(tmp, "hello"), ".")...)
		cmd.Dir, cmd.Env = work, b.compileEnv(arch)
		_, err = runTool(cmd)
		return err
	})
}

// clusterLayers makes the layers that several images share.
func (b *builder) clusterLayers(ctx context.Context, c *Cluster, p *clusterParts) error {
	b.step("assembling the layer of network tools")
	debs, err := b.fetch(ctx, &c.Network)
	if err != nil {
		return err
	}
	p.network, err = b.w.Layer(layout.Gzip, "network tools", func(tw *tar.Writer) error {
		if err := addDebs(ctx, tw, debs); err != nil {
			return err
		}
		// What update-alternatives would link.
		for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
			if err := addLink(tw, "usr/sbin/"+name, "xtables-nft-multi"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if debs, err = b.fetch(ctx, &c.Busybox); err != nil {
		return err
	}
	p.busybox, err = b.w.Layer(layout.Gzip, "busybox", func(tw *tar.Writer) error {
		if err := addDebs(ctx, tw, debs); err != nil {
			return err
		}
		for _, name := range []string{"cp", "cat", "ls"} {
			if err := addLink(tw, "bin/"+name, "busybox"); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func addLink(tw *tar.Writer, name, target string) error {
	h := &tar.Header{Name: name, Linkname: target, Mode: 0o777, ModTime: layout.Epoch(), Typeflag: tar.TypeSymlink, Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}
	return nil
}

// clusterImage is one image of a cluster: binaries of a folder on top of layers.
type clusterImage struct {
	ref    string
	dir    string
	names  []string
	prefix string
	config ocispec.ImageConfig
	below  []layout.Layer
}

func (b *builder) clusterImages(ctx context.Context, c *Cluster, p *clusterParts) error {
	const paths = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env := []string{paths}
	one := func(name string) []string { return []string{name} }
	images := []clusterImage{
		{ref: "registry.k8s.io/etcd:" + c.EtcdTag, dir: p.etcd, names: one("etcd"), prefix: "usr/local/bin",
			config: ocispec.ImageConfig{Env: env, Entrypoint: one("/usr/local/bin/etcd")}},
		{ref: "ghcr.io/flannel-io/flannel:" + c.Flannel.Version, dir: p.flannel, names: one("flanneld"), prefix: "opt/bin",
			config: ocispec.ImageConfig{Env: env, Entrypoint: one("/opt/bin/flanneld")}, below: []layout.Layer{p.network, p.busybox}},
		{ref: "ghcr.io/flannel-io/flannel-cni-plugin:" + c.FlannelCNITag, dir: p.flannelCNI, names: one("flannel"),
			config: ocispec.ImageConfig{Env: env}, below: []layout.Layer{p.busybox}},
		{ref: "ghcr.io/naru-lab/hello:1.0.0", dir: p.hello, names: one("hello"), prefix: "usr/local/bin",
			config: ocispec.ImageConfig{Env: env, Entrypoint: one("/usr/local/bin/hello"), User: "65532:65532"}},
	}
	coredns := func(tag, dir string) clusterImage {
		return clusterImage{ref: "registry.k8s.io/coredns/coredns:" + tag, dir: dir, names: one("coredns"),
			config: ocispec.ImageConfig{Env: env, Entrypoint: one("/coredns")}}
	}
	images = append(images, coredns(c.CoreDNSTag, p.coredns))
	if c.Next.CoreDNSTag != c.CoreDNSTag {
		images = append(images, coredns(c.Next.CoreDNSTag, p.nextCoreDNS))
	}
	for _, k := range c.releases(p) {
		images = append(images, clusterImage{
			ref: "registry.k8s.io/kube-proxy:" + k.version, dir: k.dir, names: one("kube-proxy"), prefix: "usr/local/bin",
			config: ocispec.ImageConfig{Env: env}, below: []layout.Layer{p.network},
		})
		for _, name := range controlPlane() {
			images = append(images, clusterImage{
				ref: "registry.k8s.io/" + name + ":" + k.version, dir: k.dir, names: one(name), prefix: "usr/local/bin",
				config: ocispec.ImageConfig{Env: env, Entrypoint: one("/usr/local/bin/" + name)},
			})
		}
	}
	for _, img := range images {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.step("assembling " + img.ref)
		if err := b.clusterImage(img); err != nil {
			return err
		}
	}
	return nil
}

// clusterImage stores an index of one platform, as upstreams publish.
func (b *builder) clusterImage(img clusterImage) error {
	layers := slices.Clone(img.below)
	if len(img.names) > 0 {
		layer, err := b.binaryLayer(layout.Gzip, img.dir, img.names, img.prefix)
		if err != nil {
			return err
		}
		layers = append(layers, layer)
	}
	desc, err := b.w.Image(layout.ImageSpec{Platform: linux("amd64"), Config: img.config, Layers: layers})
	if err != nil {
		return err
	}
	_, err = b.nameIndex(img.ref, layout.OCI, []ocispec.Descriptor{desc}, nil)
	return err
}

// clusterFiles stores the files that hosts get, under the addresses their
// projects publish them at.
func (b *builder) clusterFiles(ctx context.Context, c *Cluster, p *clusterParts) error {
	for _, name := range []string{"kubeadm", "kubelet", "kubectl"} {
		for _, k := range c.releases(p) {
			if err := b.plainFile("https://dl.k8s.io/release/"+k.version+"/bin/linux/amd64/"+name, filepath.Join(k.dir, name)); err != nil {
				return err
			}
		}
	}
	version := strings.TrimPrefix(c.Containerd.Version, "v")
	release := "https://github.com/containerd/containerd/releases/download/v" + version + "/containerd-static-" + version + "-linux-amd64.tar.gz"
	if err := b.archive(release, p.containerd, c.Containerd.names(), "bin/"); err != nil {
		return err
	}
	unit := "https://raw.githubusercontent.com/containerd/containerd/v" + version + "/containerd.service"
	if err := b.file(unit, func(w io.Writer) error { _, err := io.WriteString(w, c.Unit); return err }); err != nil {
		return err
	}
	plugins := "https://github.com/containernetworking/plugins/releases/download/" + c.CNI.Version + "/cni-plugins-linux-amd64-" + c.CNI.Version + ".tgz"
	if err := b.archive(plugins, p.cni, slices.Sorted(maps.Keys(c.CNI.Commands)), ""); err != nil {
		return err
	}
	return b.runcFile(ctx, c)
}

// runcFile carries Debian's runc as the file that the project releases: it needs
// libseccomp, which every Debian has for apt.
func (b *builder) runcFile(ctx context.Context, c *Cluster) error {
	debs, err := b.fetch(ctx, &c.Runc)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "naru-lab-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	for _, d := range debs {
		if _, err := runTool(exec.CommandContext(ctx, "dpkg-deb", "-x", d.file, work)); err != nil {
			return err
		}
	}
	return b.plainFile("https://github.com/opencontainers/runc/releases/download/v1.1.5/runc.amd64", filepath.Join(work, "usr/sbin/runc"))
}

// chartFiles packs a chart's folder as helm package does: below the chart's name,
// and the same bytes each time.
func chartFiles(tw *tar.Writer, name string, files map[string][]byte) error {
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := layout.AddFile(tw, path.Join(name, file), 0o644, int64(len(files[file])), strings.NewReader(string(files[file]))); err != nil {
			return err
		}
	}
	return nil
}
