package content

import (
	_ "embed"
	"strings"

	"naru/test/lab/trivydb"
)

// Cluster is what a Kubernetes cluster on bare hosts is made from, for linux/amd64.
type Cluster struct {
	// Assembly is raised when the same inputs are put together in another way.
	Assembly   int       `json:"assembly"`
	Kubernetes GoProgram `json:"kubernetes"`
	// Next is what to upgrade to.
	Next    NextKubernetes `json:"next"`
	Etcd    GoModule       `json:"etcd"`
	CoreDNS GoProgram      `json:"coredns"`
	// CoreDNSTag, EtcdTag and the like are what kubeadm asks for.
	CoreDNSTag string    `json:"corednsTag"`
	EtcdTag    string    `json:"etcdTag"`
	Containerd GoModule  `json:"containerd"`
	CNI        GoModule  `json:"cni"`
	Flannel    GoProgram `json:"flannel"`
	// FlannelCNI is flannel's plugin, tagged FlannelCNITag.
	FlannelCNI    GoModule `json:"flannelCNI"`
	FlannelCNITag string   `json:"flannelCNITag"`
	Runc          Debian   `json:"runc"`
	// Network are the tools that kube-proxy and flannel call, with their libraries.
	Network Debian `json:"network"`
	Busybox Debian `json:"busybox"`
	// Hello is the source of the lab's application.
	Hello string `json:"hello"`
	Unit  string `json:"unit"`
}

// NextKubernetes is a later Kubernetes than the first, with what kubeadm has run beside it.
type NextKubernetes struct {
	Version string `json:"version"`
	// Kubernetes and CoreDNS are built where they are given: that takes as long as the first
	// did. Without them the first programs call themselves by Version, which is as long as
	// theirs, and CoreDNS is the first one.
	Kubernetes *GoProgram `json:"kubernetes,omitempty"`
	CoreDNS    *GoProgram `json:"coredns,omitempty"`
	CoreDNSTag string     `json:"corednsTag"`
}

//go:embed hello/main.go
var helloSource string

// containerdUnit is the unit that containerd is carried with.
//
//go:embed containerd.service
var containerdUnit string

// clusterAssembly is raised when the same inputs are put together in another way.
const clusterAssembly = 2

// coreDNSMain has the plugins that kubeadm's Corefile names, and few more.
const coreDNSMain = `package main

import (
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/coremain"
)

func main() { coremain.Run() }
`

// ClusterRecipe is the content of release "lab": everything that a cluster of a few
// hosts runs, in the versions that release 2025.1 has where Go modules and Debian
// packages give them.
func ClusterRecipe() Recipe {
	const kube, next, dns = "v1.32.13", "v1.32.14", "v1.11.3"
	amd64 := []string{"amd64"}
	pause := Default().Pause
	return Recipe{Pause: pause, Databases: trivydb.Default(), Cluster: &Cluster{
		Assembly:   clusterAssembly,
		Kubernetes: kubernetesProgram(kube, olderStaging), Next: NextKubernetes{Version: next, CoreDNSTag: dns},
		Etcd:       GoModule{Module: "go.etcd.io/etcd/server/v3", Version: "v3.5.24", Commands: map[string]string{"etcd": ""}, Arches: amd64},
		EtcdTag:    "3.5.24-0",
		CoreDNS:    coreDNSProgram(dns),
		CoreDNSTag: dns,
		Containerd: GoModule{
			Module: "github.com/containerd/containerd/v2", Version: "v2.1.5",
			Commands: map[string]string{
				"containerd": "cmd/containerd", "containerd-shim-runc-v2": "cmd/containerd-shim-runc-v2", "ctr": "cmd/ctr",
			},
			Arches: amd64,
		},
		CNI: GoModule{Module: "github.com/containernetworking/plugins", Version: "v1.6.2", Commands: Default().CNI.Commands, Arches: amd64},
		Flannel: GoProgram{
			Module: "github.com/flannel-io/flannel", Version: "v0.28.4", MainFrom: "main.go", Binary: "flanneld", Arch: "amd64",
			// One links a cloud's SDK, the other is C.
			Without: []string{"pkg/backend/tencentvpc", "pkg/backend/udp"},
			LDFlags: "-X github.com/flannel-io/flannel/pkg/version.Version=v0.28.4",
		},
		FlannelCNI: GoModule{
			Module: "github.com/containernetworking/plugins", Version: "v0.9.1",
			Commands: map[string]string{"flannel": "plugins/meta/flannel"}, Arches: amd64,
		},
		FlannelCNITag: "v1.9.1-flannel1",
		Runc:          Debian{Packages: []string{"runc"}, Arches: amd64},
		Network: Debian{
			Packages: []string{
				"base-files", "libc6", "libgcc-s1", "dash", "iproute2", "libbpf1", "libelf1", "zlib1g", "libcap2", "libdb5.3", "libselinux1", "libpcre2-8-0",
				"libtirpc3", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libkeyutils1", "libcom-err2", "libssl3",
				"iptables", "libxtables12", "libip4tc2", "libip6tc2", "libnftnl11", "libmnl0", "libnetfilter-conntrack3", "libnfnetlink0",
				"nftables", "libnftables1", "libjansson4", "libgmp10", "libedit2", "libbsd0", "libmd0", "libtinfo6",
				"conntrack", "ipset", "libipset13",
			},
			All:    []string{"netbase"},
			Arches: amd64,
		},
		Busybox: Debian{Packages: []string{"busybox-static"}, Arches: amd64},
		Hello:   helloSource,
		Unit:    containerdUnit,
	}}
}

// MinorRecipe is ClusterRecipe with the Kubernetes and the CoreDNS of release 2025.2 to
// upgrade to, compiled: the next minor version of both.
func MinorRecipe() Recipe {
	const kube, dns = "v1.33.13", "v1.12.0"
	r := ClusterRecipe()
	kubernetes, coredns := kubernetesProgram(kube, nil), coreDNSProgram(dns)
	r.Cluster.Next = NextKubernetes{Version: kube, Kubernetes: &kubernetes, CoreDNS: &coredns, CoreDNSTag: dns}
	return r
}

func coreDNSProgram(version string) GoProgram {
	return GoProgram{Module: "github.com/coredns/coredns", Version: version, Main: coreDNSMain, Binary: "coredns", Arch: "amd64"}
}

// olderStaging are the modules of Kubernetes 1.32.13 that were to be had in version 0.32.2
// only when this was written.
var olderStaging = []string{
	"k8s.io/cri-client", "k8s.io/csi-translation-lib", "k8s.io/kube-controller-manager", "k8s.io/kube-proxy", "k8s.io/kube-scheduler", "k8s.io/endpointslice",
}

// kubernetesProgram are the programs of a version of Kubernetes 1; older are the modules
// of its repository that are taken in version 0.32.2.
func kubernetesProgram(version string, older []string) GoProgram {
	minor, _, _ := strings.Cut(strings.TrimPrefix(version, "v1."), ".")
	p := GoProgram{
		Module: "k8s.io/kubernetes", Version: version, Arch: "amd64",
		Staging: "v0" + version[2:], Older: older,
		LDFlags: "-X k8s.io/component-base/version.gitVersion=" + version +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=" + minor +
			" -X k8s.io/client-go/pkg/version.gitVersion=" + version,
	}
	if len(older) > 0 {
		p.OlderStaging = "v0.32.2"
	}
	for _, cmd := range kubernetesCommands() {
		p.Packages = append(p.Packages, "k8s.io/kubernetes/cmd/"+cmd)
	}
	return p
}

func kubernetesCommands() []string {
	return append(controlPlane(), "kube-proxy", "kubeadm", "kubelet", "kubectl")
}

func controlPlane() []string {
	return []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler"}
}
