package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"naru/test/lab/hosts"
)

// The addresses of the cluster's hosts, beside those of hosts.Default.
const (
	vip = "10.77.0.100"
	lb2 = "10.77.0.15"
	w2  = "10.77.0.16"
)

// site is what the tests change of a site file.
type site struct {
	hosts []siteHost
	vip   string
	// ssh are further lines of the ssh section.
	ssh string
	// harbor is the section of that name; none if empty.
	harbor string
	// more are further top-level lines.
	more string
}

type siteHost struct{ name, addr, roles, more string }

// clusterSite is the cluster of the first apply.
func clusterSite() site {
	return site{vip: vip, hosts: []siteHost{
		{name: "cp1", addr: "10.77.0.11", roles: "control-plane"},
		{name: "cp2", addr: "10.77.0.12", roles: "control-plane"},
		{name: "w1", addr: "10.77.0.13", roles: "worker"},
		{name: "lb1", addr: "10.77.0.14", roles: "lb, depot"},
	}}
}

// with is the site with further hosts.
func (s site) with(more ...siteHost) site {
	s.hosts = append(slices.Clone(s.hosts), more...)
	return s
}

// without is the site without a host.
func (s site) without(name string) site {
	s.hosts = slices.DeleteFunc(slices.Clone(s.hosts), func(h siteHost) bool { return h.name == name })
	return s
}

// machine is what this machine forces on every cluster: see docs/lab.md.
const machine = `kubernetes:
  kubelet:
    evictionHard: {memory.available: 100Mi, nodefs.available: 200Mi, imagefs.available: 200Mi}
    imageGCHighThresholdPercent: 100
    failCgroupV1: false
  kubeProxy:
    conntrack: {maxPerCore: 0, min: 0}
containerd:
  config: |
    [plugins.'io.containerd.cri.v1.runtime']
    restrict_oom_score_adj = true
`

// writeSite writes the site file and returns its path.
func (w *world) writeSite(s site) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: naru/v1\nkind: Site\nname: lab\ndomain: lab.test\nhosts:\n")
	for _, h := range s.hosts {
		fmt.Fprintf(&b, "  - {name: %s, address: %s, roles: [%s]%s}\n", h.name, h.addr, h.roles, h.more)
	}
	fmt.Fprintf(&b, "ssh:\n  keyFile: %s\n", w.lab.KeyFile())
	if !strings.Contains(s.ssh, "knownHostsFile") {
		fmt.Fprintf(&b, "  knownHostsFile: %s\n", w.lab.KnownHosts())
	}
	b.WriteString(s.ssh)
	if s.vip != "" {
		fmt.Fprintf(&b, "endpoint: {vip: %s}\n", s.vip)
	}
	harbor := s.harbor
	if harbor == "" {
		harbor = "{mode: none}"
	}
	b.WriteString("harbor: " + harbor + "\n" + machine + s.more)
	file := w.path("site.yaml")
	return file, os.WriteFile(file, []byte(b.String()), 0o600)
}

// labHosts are the machines of the first apply.
func labHosts() []hosts.Host { return hosts.Default() }
