package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"naru/manifest"
)

// Finding is something that stands against an installation, or may.
type Finding struct {
	// Host is empty where several hosts are meant, or the site file.
	Host string `json:"host,omitempty"`
	// Check is a stable name in kebab case.
	Check string `json:"check"`
	// Warning findings do not stop the run.
	Warning bool   `json:"warning,omitempty"`
	What    string `json:"what"`
	// Mend says what to do about it.
	Mend string `json:"mend"`
}

func (f Finding) String() string {
	at := f.Check
	if f.Host != "" {
		at = f.Host + ": " + f.Check
	}
	return fmt.Sprintf("%s: %s; mend: %s", at, f.What, f.Mend)
}

// Needs are what preflight holds hosts against.
type Needs struct {
	Site *manifest.Site
	// Platforms that the bundles carry, and the distributions.
	Platforms []string
	Systems   []*manifest.Distribution
	// DepotMissing is how many bytes have yet to be carried to a depot, by its name,
	// onto the file system of /var/lib.
	DepotMissing map[string]int64
	// NewestMetadata is the newest date in the vendors' signed package metadata: a
	// clock before it refuses them.
	NewestMetadata time.Time
	Now            time.Time
	// BalancerPorts are those that load balancers pass on, NodePorts those that services
	// of naru take on every node.
	BalancerPorts, NodePorts []int
}

// Least sizes in bytes, and what differs between clocks at most.
const (
	minNodeMemory    = 1700 << 20 // kubeadm's own bound
	minControlMemory = 1700 << 20
	minWorkerMemory  = 900 << 20
	minNodeDisk      = 8 << 30
	minOtherDisk     = 1 << 30
	maxSkew          = 5 * time.Second
	maxDNSWait       = 3 * time.Second
)

// Check finds everything at once, from the facts of all hosts. It changes nothing.
func Check(hosts []*Host, n Needs) []Finding {
	var out []Finding
	for _, h := range hosts {
		if h.Facts != nil {
			c := checker{h: h, n: n}
			c.system()
			c.size()
			c.kernel()
			c.network()
			c.others()
			out = append(out, c.out...)
		}
	}
	return append(out, acrossHosts(hosts, n)...)
}

type checker struct {
	h   *Host
	n   Needs
	out []Finding
}

func (c *checker) fail(check, mend, format string, args ...any) {
	c.out = append(c.out, Finding{Host: c.h.Name, Check: check, What: fmt.Sprintf(format, args...), Mend: mend})
}

func (c *checker) warn(check, mend, format string, args ...any) {
	c.out = append(c.out, Finding{Host: c.h.Name, Check: check, Warning: true, What: fmt.Sprintf(format, args...), Mend: mend})
}

func (c *checker) system() {
	f := c.h.Facts
	if !slices.Contains(c.n.Platforms, "linux/"+f.Arch) {
		c.fail("platform", "build a bundle with --platform linux/"+f.Arch, "the host is linux/%s, the bundle carries %s", f.Arch, strings.Join(c.n.Platforms, ", "))
	}
	known := slices.ContainsFunc(c.n.Systems, func(d *manifest.Distribution) bool { return Matches(d, f) })
	if !known && len(c.n.Systems) > 0 {
		var have []string
		for _, d := range c.n.Systems {
			have = append(have, d.ID)
		}
		c.fail("distribution", "use a host with one of these, or build a bundle with packages for it", "the host runs %s (%s %s), the bundle carries packages for %s", f.Pretty, f.OS, f.Version, strings.Join(have, ", "))
	}
	if !f.Systemd {
		c.fail("systemd", "boot the host with systemd", "the host's first process is not systemd")
	}
	if len(f.NoPrograms) > 0 {
		c.fail("programs", "install the packages that bring them", "basic programs are missing: %s", strings.Join(f.NoPrograms, ", "))
	}
	if f.Hostname != c.h.Name {
		c.warn("host-name", "hostnamectl set-hostname "+c.h.Name, "the host calls itself %q; its node will be %q", f.Hostname, c.h.Name)
	}
}

// Matches tells whether a host runs a distribution.
func Matches(d *manifest.Distribution, f *HostFacts) bool {
	return d.OS == f.OS && slices.ContainsFunc(d.Versions, func(v string) bool { return v == f.Version || strings.HasPrefix(f.Version, v+".") })
}

func (c *checker) size() {
	f, h := c.h.Facts, c.h
	memory, disk := int64(0), int64(minOtherDisk)
	if h.HasRole(manifest.RoleControlPlane) {
		memory, disk = minControlMemory, minNodeDisk
		if f.CPUs < 2 {
			c.fail("cpus", "give the host 2 or more", "a control plane has %d CPU, it needs 2", f.CPUs)
		}
	} else if h.Node() {
		memory, disk = minWorkerMemory, minNodeDisk
	}
	if f.Memory < memory {
		c.fail("memory", "give the host more", "the host has %s of memory, it needs %s", mib(f.Memory), mib(memory))
	}
	if f.Ours != "" { // what was installed is there already
		disk = minOtherDisk
	}
	disk += c.n.DepotMissing[h.Name]
	if f.FreeVar < disk {
		c.fail("disk", "make room, or mount a larger disk at /var/lib", "%s are free at /var/lib, %s are needed", mib(f.FreeVar), mib(disk))
	}
	for _, d := range f.NoDisk {
		c.fail("disks", "correct disks of the site file", "%s is no block device", d)
	}
	for _, d := range f.DiskUsed {
		if f.Ours == "" {
			c.fail("disks", "wipe it (wipefs -a), if nothing on it is needed, or name another", "%s holds partitions or a file system", d)
		}
	}
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func (c *checker) kernel() {
	f, h := c.h.Facts, c.h
	if !h.Node() {
		return
	}
	if len(f.Missing) > 0 {
		c.fail("kernel", "use the distribution's own kernel, or install its extra modules", "the kernel lacks %s", strings.Join(f.Missing, ", "))
	}
	if !f.CgroupV2 {
		c.warn("cgroups", "boot with systemd.unified_cgroup_hierarchy=1", "the host uses cgroups v1, which Kubernetes is about to drop")
	}
	if f.Swap > 0 {
		c.warn("swap", "nothing to do: naru switches it off, and comments it out of fstab", "%s of swap are in use", mib(f.Swap))
	}
	if f.SELinux == "Enforcing" {
		c.warn("selinux", "nothing to do where container-selinux is among the packages; else setenforce 0 before", "SELinux is enforcing")
	}
}

func (c *checker) network() {
	f, h := c.h.Facts, c.h
	if h.Node() && !f.DefaultRoute {
		c.fail("default-route", "add one, even to a gateway that leads nowhere, and make it permanent", "the host has no default route: it would reach no service address of the cluster")
	}
	if len(f.Addresses) > 0 && f.Interface == "" {
		c.fail("address", "correct the address of the site file", "no interface has the address %s (they have %s)", h.Address, strings.Join(f.Addresses, ", "))
	}
	c.dns()
	if len(f.Firewalls) > 0 {
		c.warn("firewall", "open the ports of docs/operator.md between the hosts, or switch it off", "a firewall is active: %s", strings.Join(f.Firewalls, ", "))
	}
	if f.Ours == "" {
		for _, p := range c.ports() {
			if f.Listening[p] {
				c.fail("ports", "stop what listens there (ss -ltnp)", "TCP port %d is taken", p)
			}
		}
	}
	if vip := c.n.Site.Endpoint.VIP; vip != "" && f.Ours == "" && slices.Contains(f.Addresses, vip) {
		c.fail("vip", "take it off the host, or choose another vip", "the vip %s is an address of the host already", vip)
	}
}

// dns finds resolvers that would keep the cluster's own DNS from starting, or from
// answering in time.
func (c *checker) dns() {
	f := c.h.Facts
	const mend = "point /etc/resolv.conf at a server that refuses at once, or that answers"
	switch silent := len(f.Silent); {
	case len(f.Nameservers) == 0 && c.h.Node():
		c.fail("dns", mend, "/etc/resolv.conf names no server: CoreDNS, which passes on to it, would end as soon as it starts")
	case silent > 0 && silent == len(f.Nameservers):
		c.fail("dns", mend, "no answer, and no refusal, comes from %s: every lookup of a name outside the cluster would hang", strings.Join(f.Silent, ", "))
	case f.DNSWait > maxDNSWait:
		c.fail("dns", mend, "a name that nobody knows took %s to be refused: every failed lookup of the cluster would hang as long", f.DNSWait.Round(100*time.Millisecond))
	case silent > 0:
		c.warn("dns", mend, "no answer, and no refusal, comes from %s, which is one of several", strings.Join(f.Silent, ", "))
	}
}

// ports are those that the host's roles will listen on.
func (c *checker) ports() []int {
	var p []int
	h, s := c.h, c.n.Site
	if h.HasRole(manifest.RoleControlPlane) {
		p = append(p, manifest.APIPort, 2379, 2380, 10257, 10259)
	}
	if h.Node() {
		p = append(append(p, 10250, 10256), c.n.NodePorts...)
	}
	if slices.ContainsFunc(s.Balancers(), func(b *manifest.SiteHost) bool { return b.Name == h.Name }) {
		p = append(append(p, s.BalancerPort()), c.n.BalancerPorts...)
	}
	if slices.ContainsFunc(s.Depots(), func(b *manifest.SiteHost) bool { return b.Name == h.Name }) {
		p = append(p, s.Depot.Port)
	}
	slices.Sort(p)
	return slices.Compact(p)
}

func (c *checker) others() {
	f, h := c.h.Facts, c.h
	if len(f.Runtimes) > 0 && h.Node() {
		c.fail("container-runtimes", "remove it, or use another host", "another container runtime is there: %s", strings.Join(f.Runtimes, ", "))
	}
	balances := slices.ContainsFunc(c.n.Site.Balancers(), func(b *manifest.SiteHost) bool { return b.Name == h.Name })
	if len(f.Balancing) > 0 && balances && f.Ours == "" { // an apply that was cut off may have just installed it
		c.fail("balancer", "use another host; or, where it may be replaced, stop it (its configuration is then kept beside naru's) or make '# Written by naru.' its first line", "it balances for others already: %s runs with a configuration that is not naru's", strings.Join(f.Balancing, ", "))
	}
	if f.Ours != "" && f.Ours != c.n.Site.Name {
		c.fail("leftovers", "take it out of that cluster first (install reset), or correct name of the site file", "the host is part of cluster %q", f.Ours)
	}
	if f.Ours == "" && len(f.Leftovers) > 0 {
		c.fail("leftovers", "run kubeadm reset there, or install the host anew", "traces of another cluster: %s", strings.Join(f.Leftovers, ", "))
	}
}

// acrossHosts compares the hosts with each other.
func acrossHosts(hosts []*Host, n Needs) []Finding {
	var out []Finding
	names, ids := map[string][]string{}, map[string][]string{}
	var first, last *Host
	for _, h := range hosts {
		if h.Facts == nil {
			continue
		}
		names[h.Facts.Hostname] = append(names[h.Facts.Hostname], h.Name)
		ids[h.Facts.MachineID] = append(ids[h.Facts.MachineID], h.Name)
		if first == nil || h.Facts.Skew < first.Facts.Skew {
			first = h
		}
		if last == nil || h.Facts.Skew > last.Facts.Skew {
			last = h
		}
		if now := n.Now.Add(h.Facts.Skew); n.NewestMetadata.After(now) {
			out = append(out, Finding{Host: h.Name, Check: "clock", Mend: "set the clock",
				What: fmt.Sprintf("the host's clock says %s, the vendor signed the packages on %s: it would refuse them", now.UTC().Format(time.DateTime), n.NewestMetadata.UTC().Format(time.DateTime))})
		}
	}
	for name, list := range names {
		if len(list) > 1 {
			out = append(out, Finding{Check: "host-name", What: fmt.Sprintf("%s call themselves %q", strings.Join(list, " and "), name), Mend: "hostnamectl set-hostname, each its own"})
		}
	}
	for id, list := range ids {
		if len(list) > 1 {
			out = append(out, Finding{Check: "machine-id", What: fmt.Sprintf("%s have the machine id %s", strings.Join(list, " and "), id), Mend: "rm /etc/machine-id; systemd-machine-id-setup, on all but one"})
		}
	}
	if first != nil && last.Facts.Skew-first.Facts.Skew > maxSkew+last.Facts.RoundTrip+first.Facts.RoundTrip {
		out = append(out, Finding{Host: odd(hosts, first, last), Check: "clock", Mend: "set the clocks, or let them follow the same time servers",
			What: fmt.Sprintf("the clock of %s is %s ahead of that of %s", last.Name, (last.Facts.Skew - first.Facts.Skew).Round(time.Second), first.Name)})
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(a.Host, b.Host) })
	return out
}

// odd is which of the two hosts at the ends differs more from the others.
func odd(hosts []*Host, first, last *Host) string {
	var skews []time.Duration
	for _, h := range hosts {
		if h.Facts != nil {
			skews = append(skews, h.Facts.Skew)
		}
	}
	slices.Sort(skews)
	middle := skews[len(skews)/2]
	if last.Facts.Skew-middle > middle-first.Facts.Skew {
		return last.Name
	}
	return first.Name
}
