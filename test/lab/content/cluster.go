package content

import (
	_ "embed"

	"naru/test/lab/trivydb"
)

// Cluster is what a Kubernetes cluster on bare hosts is made from, for linux/amd64.
type Cluster struct {
	// Assembly is raised when the same inputs are put together in another way.
	Assembly   int       `json:"assembly"`
	Kubernetes GoProgram `json:"kubernetes"`
	// NextVersion is what the same programs call themselves a second time, to upgrade to:
	// a real next release would take as long to compile again. It is as long as the first.
	NextVersion string    `json:"nextVersion"`
	Etcd        GoModule  `json:"etcd"`
	CoreDNS     GoProgram `json:"coredns"`
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
	const kube, next = "v1.32.13", "v1.32.14"
	amd64 := []string{"amd64"}
	pause := Default().Pause
	return Recipe{Pause: pause, Databases: trivydb.Default(), Cluster: &Cluster{
		Assembly:   clusterAssembly,
		Kubernetes: kubernetesProgram(kube), NextVersion: next,
		Etcd:       GoModule{Module: "go.etcd.io/etcd/server/v3", Version: "v3.5.24", Commands: map[string]string{"etcd": ""}, Arches: amd64},
		EtcdTag:    "3.5.24-0",
		CoreDNS:    GoProgram{Module: "github.com/coredns/coredns", Version: "v1.11.3", Main: coreDNSMain, Binary: "coredns", Arch: "amd64"},
		CoreDNSTag: "v1.11.3",
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

func kubernetesProgram(version string) GoProgram {
	p := GoProgram{
		Module: "k8s.io/kubernetes", Version: version, Arch: "amd64",
		Staging: "v0" + version[2:], OlderStaging: "v0.32.2",
		// Newer ones of these were not to be had when this was written.
		Older: []string{
			"k8s.io/cri-client", "k8s.io/csi-translation-lib", "k8s.io/kube-controller-manager", "k8s.io/kube-proxy", "k8s.io/kube-scheduler", "k8s.io/endpointslice",
		},
		LDFlags: "-X k8s.io/component-base/version.gitVersion=" + version +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=32" +
			" -X k8s.io/client-go/pkg/version.gitVersion=" + version,
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
