package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// StateDir holds what naru keeps on a host.
const StateDir = "/var/lib/naru"

// CAFile is the site's authority on every host.
const CAFile = "/etc/naru/ca.crt"

// kernel modules that a node needs, where the kernel has them as modules.
var kernelModules = []string{"overlay", "br_netfilter", "nf_conntrack", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh"}

// sysctls of a node: those that it needs, and those that it needs at least for load.
var (
	neededSysctls = [][2]string{
		{"net.ipv4.ip_forward", "1"},
		{"net.bridge.bridge-nf-call-iptables", "1"},
		{"net.bridge.bridge-nf-call-ip6tables", "1"},
	}
	leastSysctls = [][2]string{
		{"fs.inotify.max_user_instances", "8192"},
		{"fs.inotify.max_user_watches", "1048576"},
		{"vm.max_map_count", "262144"},
	}
)

// Where sysctls are kept. Files are read by their names, and the last one that sets a key
// holds: what a distribution or an administrator gives more of comes after leastPath.
const (
	neededPath = "/etc/sysctl.d/90-naru.conf"
	leastPath  = "/etc/sysctl.d/05-naru.conf"
)

// NodeFiles are the persistent settings of a node's kernel.
func NodeFiles() []File {
	return []File{
		{Path: "/etc/modules-load.d/naru.conf", Mode: "0644", Content: []byte("# Written by naru.\n" + strings.Join(kernelModules, "\n") + "\n")},
		sysctlFile(neededPath, "# Written by naru.", neededSysctls),
		sysctlFile(leastPath, "# Written by naru: the least that nodes need. Files that come after it may set more.", leastSysctls),
	}
}

func sysctlFile(path, head string, list [][2]string) File {
	conf := head + "\n"
	for _, kv := range list {
		conf += fmt.Sprintf("%s = %s\n", kv[0], kv[1])
	}
	return File{Path: path, Mode: "0644", Content: []byte(conf)}
}

// ApplyKernel loads modules and raises now those sysctls that are less than they are to
// be. A module that cannot be loaded is no mistake when what it brings is there; a sysctl
// that does not hold is.
func (h *Host) ApplyKernel(ctx context.Context) error {
	_, err := h.Script(ctx, `for m in "$@"; do modprobe -q "$m" 2>/dev/null || true; done`, kernelModules...)
	if err != nil {
		return err
	}
	if _, err = h.Script(ctx, sysctlLess+`{ echo "$2" >"$1"; } 2>/dev/null || true`+sysctlEach, sysctlArgs()...); err != nil {
		return err
	}
	out, err := h.Script(ctx, sysctlCheck, sysctlArgs()...)
	if err == nil && out != "" {
		err = fmt.Errorf("%s: setting kernel parameters: these do not hold: %s", h.Name, strings.Join(strings.Fields(out), ", "))
	}
	return err
}

// KernelHolds tells whether every sysctl has its value.
func (h *Host) KernelHolds(ctx context.Context) (bool, error) {
	out, err := h.Script(ctx, sysctlCheck, sysctlArgs()...)
	return out == "", err
}

// sysctlLess and sysctlEach enclose what is done with the files, given in pairs with
// values, that hold less; sysctlCheck prints them.
const (
	sysctlLess = `while [ $# -ge 2 ]; do
  v=$(cat "$1" 2>/dev/null || echo none)
  case $v in ''|*[!0-9]*) less=yes;; *) less=; [ "$v" -ge "$2" ] || less=yes;; esac
  if [ "$less" ]; then `
	sysctlEach = `; fi
  shift 2
done`
	sysctlCheck = sysctlLess + `echo "$1"` + sysctlEach
)

func sysctlArgs() []string {
	var args []string
	for _, kv := range slices.Concat(neededSysctls, leastSysctls) {
		args = append(args, "/proc/sys/"+strings.ReplaceAll(kv[0], ".", "/"), kv[1])
	}
	return args
}

// SwapOff ends swapping now and after a reboot: lines of fstab are commented out,
// swap units masked.
func (h *Host) SwapOff(ctx context.Context) error {
	_, err := h.Script(ctx, `swapoff -a
if [ -e /etc/fstab ] && grep -Eq '^[^#][^[:space:]]*[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]' /etc/fstab; then
  t=$(mktemp /etc/.naru.XXXXXX); cp -p /etc/fstab "$t"
  sed -E 's/^([^#][^[:space:]]*[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]])/# naru: no swap on nodes: \1/' /etc/fstab >"$t"; mv -f "$t" /etc/fstab
fi
systemctl list-units --type swap --plain --no-legend | while read -r u _; do systemctl mask -q --now "$u"; done`)
	return err
}

// NoSwap tells whether nothing is swapped to.
func (h *Host) NoSwap(ctx context.Context) (bool, error) {
	return h.Holds(ctx, `[ "$(wc -l </proc/swaps)" -le 1 ] && ! grep -Eq '^[^#][^[:space:]]*[[:space:]]+[^[:space:]]+[[:space:]]+swap[[:space:]]' /etc/fstab 2>/dev/null`)
}

// ChronyFile is the configuration of the time service: the site's servers, or, on
// the one that keeps the time of the others, none but its own clock.
func ChronyFile(path string, servers []string, keeper bool, clients []string) File {
	var b strings.Builder
	b.WriteString("# Written by naru: the servers are timeServers of the site file.\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "server %s iburst\n", s)
	}
	if keeper {
		b.WriteString("local stratum 10\n")
		for _, c := range clients {
			fmt.Fprintf(&b, "allow %s\n", c)
		}
	}
	b.WriteString("driftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\n")
	return File{Path: path, Mode: "0644", Content: []byte(b.String())}
}

// Unit is enabled, running and, where a file it reads has changed, restarted.
func (h *Host) Unit(ctx context.Context, name string, restart bool) error {
	action := "start"
	if restart {
		action = "restart"
	}
	_, err := h.Script(ctx, `systemctl unmask -q --no-reload "$1" 2>/dev/null || true
systemctl enable -q --no-reload "$1"
systemctl daemon-reload
systemctl "$2" "$1"`, name, action)
	if err != nil {
		return fmt.Errorf("starting %s: %w\n%s", name, err, h.Journal(ctx, name))
	}
	return nil
}

// UnitHolds tells whether a unit is enabled and running.
func (h *Host) UnitHolds(ctx context.Context, name string) (bool, error) {
	return h.Holds(ctx, `systemctl is-enabled -q "$1" && systemctl is-active -q "$1"`, name)
}

// Journal is the end of what a unit wrote, for messages; it does not fail.
func (h *Host) Journal(ctx context.Context, unit string) string {
	out, err := h.Script(context.WithoutCancel(ctx), `journalctl -q --no-pager -n 15 -o cat -u "$1" 2>&1 | tail -c 3000`, unit)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("journal of %s on %s:\n%s", unit, h.Name, Redact(out))
}

// timers of distributions that ask outside by themselves.
var timers = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "motd-news.timer", "dnf-makecache.timer", "unattended-upgrades.service"}

// TimersMasked tells whether no timer that asks outside is left.
func (h *Host) TimersMasked(ctx context.Context) (bool, error) {
	return h.Holds(ctx, `for u in "$@"; do
  s=$(systemctl is-enabled "$u" 2>/dev/null || true)
  case $s in masked|masked-runtime|""|not-found) ;; *) exit 1;; esac
done`, timers...)
}

// MaskTimers masks them; those that are not there are left alone.
func (h *Host) MaskTimers(ctx context.Context) error {
	_, err := h.Script(ctx, `m=
for u in "$@"; do
  s=$(systemctl is-enabled "$u" 2>/dev/null || true)
  case $s in masked|masked-runtime|""|not-found) ;; *) m="$m $u";; esac
done
[ -z "$m" ] || { systemctl stop $m; systemctl mask -q $m; }`, timers...)
	return err
}
