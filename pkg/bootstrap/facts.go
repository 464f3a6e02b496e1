package bootstrap

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// HostFacts are what one look at a host tells.
type HostFacts struct {
	// OS and Version are ID and VERSION_ID of os-release(5), Pretty its PRETTY_NAME.
	OS, Version, Pretty string
	// Arch is as OCI spells it: "amd64", "arm64".
	Arch   string
	Kernel string
	CPUs   int
	// Memory, Swap, and FreeVar, what is free where /var/lib lies, are in bytes.
	Memory, Swap, FreeVar int64
	Hostname, MachineID   string
	// Skew is how far the host's clock is ahead of this machine's, to within RoundTrip.
	Skew, RoundTrip time.Duration
	// CgroupV2 tells the unified hierarchy.
	CgroupV2     bool
	DefaultRoute bool
	Systemd      bool
	// Listening are the TCP ports somebody listens on.
	Listening map[int]bool
	// Runtimes are other container runtimes that are there, Firewalls are active ones.
	Runtimes, Firewalls []string
	// Balancing are haproxy and keepalived where they run with a configuration that naru
	// did not write, and that is not the one of the distribution, which balances nothing.
	Balancing []string
	// Leftovers are traces of a cluster, Ours whether naru made them: the name of the
	// cluster, or "".
	Leftovers []string
	Ours      string
	// SELinux is "Enforcing", "Permissive" or "".
	SELinux  string
	AppArmor bool
	// Missing are kernel features neither there nor loadable.
	Missing []string
	// DNSWait is how long a name that nobody knows took to be refused.
	DNSWait time.Duration
	// Nameservers are those that pods would ask in the host's stead: kubeadm points them
	// past the stub of systemd-resolved, which answers by itself for names that are
	// unknown by definition. Silent are those of them that do not answer at all.
	Nameservers, Silent []string
	// Interface is the one that has the host's address, with Addresses all of the host.
	Interface string
	Addresses []string
	// PackageManager is "apt-get", "dnf" or "".
	PackageManager string
	// NoDisk are the disks of the site file that are no block devices here; DiskUsed
	// those that hold a file system or partitions.
	NoDisk, DiskUsed []string
	// Restricted tells a host whose processes may not lower their OOM score (no
	// CAP_SYS_RESOURCE), FixedConntrack one that may not size the connection table: both
	// are marks of a container.
	Restricted, FixedConntrack bool
	// NoPrograms are basic programs that are not there.
	NoPrograms []string
}

// nodeTraces are files that a node of any cluster has, for a shell.
const nodeTraces = "/etc/kubernetes/kubelet.conf /etc/kubernetes/admin.conf /etc/kubernetes/manifests/kube-apiserver.yaml /var/lib/kubelet/config.yaml /var/lib/etcd/member"

// NodeTraces are the files on the host that a node of a cluster has, whoever made it.
func (h *Host) NodeTraces(ctx context.Context) ([]string, error) {
	out, err := h.Script(ctx, `for p in `+nodeTraces+`; do [ ! -e $p ] || echo $p; done`)
	return strings.Fields(out), err
}

// factsScript prints one "key value" a line. $1 is the host's address, the rest are
// its disks. It changes nothing.
const factsScript = ownScript + shippedScript + `set +e
addr=$1; shift
say() { printf '%s %s\n' "$1" "$2"; }
say time "$(date +%s.%N)"
( . /etc/os-release; say os "$ID"; say version "$VERSION_ID"; say pretty "$PRETTY_NAME" )
say arch "$(uname -m)"; say kernel "$(uname -r)"
say cpus "$(getconf _NPROCESSORS_ONLN)"
while read -r k v _; do case $k in MemTotal:) say memory "$v";; SwapTotal:) say swap "$v";; esac; done </proc/meminfo
say free "$(df -Pk /var/lib | { read -r _; read -r _ _ _ f _; echo "$f"; })"
say hostname "$(cat /proc/sys/kernel/hostname)"; say machine "$(cat /etc/machine-id 2>/dev/null)"
say cgroup "$(stat -fc %T /sys/fs/cgroup)"
while read -r _ dest _; do [ "$dest" = 00000000 ] && say route yes; done </proc/net/route
[ -e /proc/net/ipv6_route ] && while read -r dest len _ _ _ _ _ _ _ dev; do [ "$dest$len" = 0000000000000000000000000000000000 ] && [ "$dev" != lo ] && say route yes; done </proc/net/ipv6_route
[ -d /run/systemd/system ] && say systemd yes
for f in /proc/net/tcp /proc/net/tcp6; do
  [ -e $f ] && while read -r _ local _ st _; do [ "$st" = 0A ] && say port "${local##*:}"; done <$f
done
for p in dockerd podman crio cri-dockerd k3s rke2; do command -v $p >/dev/null && say runtime $p; done
for u in firewalld ufw; do systemctl is-active -q $u 2>/dev/null && say firewall $u; done
for f in ` + haproxyConfig + ` ` + keepalivedConfig + `; do
  u=${f#/etc/}; u=${u%%/*}
  [ -f $f ] && ! own $f && systemctl is-active -q $u 2>/dev/null && ! shipped $u $f && say balancing $u
done
for p in ` + nodeTraces + `; do [ -e $p ] && say left $p; done
for p in /etc/cni/net.d/*; do [ -e "$p" ] && say left "$p"; done
[ -e /var/lib/naru/cluster ] && say ours "$(cat /var/lib/naru/cluster)"
[ -e /sys/fs/selinux/enforce ] && { [ "$(cat /sys/fs/selinux/enforce)" = 1 ] && say selinux Enforcing || say selinux Permissive; }
[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ] && say apparmor yes
feature() { [ -e "$2" ] || modprobe -n -q "$1" 2>/dev/null || say missing "$1"; }
grep -qw overlay /proc/filesystems || modprobe -n -q overlay 2>/dev/null || say missing overlay
feature br_netfilter /proc/sys/net/bridge/bridge-nf-call-iptables
feature nf_conntrack /proc/sys/net/netfilter/nf_conntrack_max
for p in tar gzip sha256sum mktemp flock stat awk sed; do command -v $p >/dev/null || say noprogram $p; done
for p in apt-get dnf; do command -v $p >/dev/null && say packages $p; done
if command -v ip >/dev/null; then
  ip -o addr show | while read -r _ dev _ cidr _; do say addr "$dev ${cidr%%/*}"; done
fi
for d in "$@"; do
  if [ ! -b "$d" ]; then say nodisk "$d"; elif [ -n "$(lsblk -no FSTYPE,PARTTYPE "$d" 2>/dev/null | tr -d ' \n')" ]; then say diskused "$d"; fi
done
[ -w /proc/sys/net/netfilter/nf_conntrack_max ] || say fixedconntrack yes
while read -r k v; do [ "$k" = CapBnd: ] && [ $(( 0x$v >> 24 & 1 )) = 0 ] && say restricted yes; done </proc/1/status
r=/etc/resolv.conf
systemctl is-active -q systemd-resolved 2>/dev/null && [ -e /run/systemd/resolve/resolv.conf ] && r=/run/systemd/resolve/resolv.conf
[ -r "$r" ] && servers=$(awk '$1 == "nameserver" { print $2 }' "$r" | head -n 3)
for s in $servers; do
  say nameserver "$s"
  command -v bash >/dev/null || continue
  timeout 5 bash -c 'exec 3<>"/dev/udp/$1/53" && printf "nr\1\0\0\1\0\0\0\0\0\0\016naru-preflight\7invalid\0\0\1\0\1" >&3 && head -c 2 <&3' naru "$s" >/dev/null 2>&1
  [ $? != 124 ] || say silent "$s"
done &
a=$(date +%s%N); timeout 12 getent ahosts naru-preflight.invalid >/dev/null 2>&1; b=$(date +%s%N)
say dns $(( (b - a) / 1000000 ))
wait
exit 0`

// Gather looks at the host, in one round trip.
func (h *Host) Gather(ctx context.Context) (*HostFacts, error) {
	before := time.Now()
	out, err := h.Script(ctx, factsScript, append([]string{h.Address}, h.Disks...)...)
	if err != nil {
		return nil, err
	}
	f := &HostFacts{Listening: map[int]bool{}, RoundTrip: time.Since(before)}
	for _, line := range strings.Split(out, "\n") {
		key, value, _ := strings.Cut(line, " ")
		f.set(key, strings.TrimSpace(value), h.Address, before)
	}
	if f.OS == "" || f.Kernel == "" {
		return nil, fmt.Errorf("%s: looking at the host: the answer makes no sense: %q", h.Name, tail([]byte(out), 300))
	}
	return f, nil
}

var ociArch = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}

func (f *HostFacts) set(key, value, address string, before time.Time) {
	texts := map[string]*string{"os": &f.OS, "version": &f.Version, "pretty": &f.Pretty, "kernel": &f.Kernel, "hostname": &f.Hostname,
		"machine": &f.MachineID, "ours": &f.Ours, "selinux": &f.SELinux}
	lists := map[string]*[]string{"runtime": &f.Runtimes, "firewall": &f.Firewalls, "balancing": &f.Balancing, "left": &f.Leftovers, "missing": &f.Missing,
		"nodisk": &f.NoDisk, "diskused": &f.DiskUsed, "noprogram": &f.NoPrograms, "nameserver": &f.Nameservers, "silent": &f.Silent}
	flags := map[string]*bool{"route": &f.DefaultRoute, "systemd": &f.Systemd, "apparmor": &f.AppArmor,
		"restricted": &f.Restricted, "fixedconntrack": &f.FixedConntrack}
	if p := texts[key]; p != nil {
		*p = value
		return
	}
	if p := lists[key]; p != nil {
		*p = append(*p, value)
		return
	}
	if p := flags[key]; p != nil {
		*p = true
		return
	}
	f.setNumber(key, value, address, before)
}

// setNumber takes the keys whose values are not taken as they are.
func (f *HostFacts) setNumber(key, value, address string, before time.Time) {
	number := func() int64 { n, _ := strconv.ParseInt(value, 10, 64); return n }
	switch key {
	case "time":
		if sec, err := strconv.ParseFloat(value, 64); err == nil {
			f.Skew = time.UnixMicro(int64(sec * 1e6)).Sub(before)
		}
	case "arch":
		if f.Arch = ociArch[value]; f.Arch == "" {
			f.Arch = value
		}
	case "cpus":
		f.CPUs = int(number())
	case "memory":
		f.Memory = number() << 10
	case "swap":
		f.Swap = number() << 10
	case "free":
		f.FreeVar = number() << 10
	case "cgroup":
		f.CgroupV2 = value == "cgroup2fs"
	case "port":
		if p, err := strconv.ParseInt(value, 16, 32); err == nil {
			f.Listening[int(p)] = true
		}
	case "packages":
		if f.PackageManager == "" {
			f.PackageManager = value
		}
	case "addr":
		dev, addr, _ := strings.Cut(value, " ")
		f.Addresses = append(f.Addresses, addr)
		if addr == address {
			f.Interface = dev
		}
	case "dns":
		f.DNSWait = time.Duration(number()) * time.Millisecond
	}
}
