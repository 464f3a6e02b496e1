#!/bin/bash
# boot.sh NETNS HOSTNAME DIR TAG MACHINE [NSPAWN-OPTION...]: boots DIR/root as a systemd
# host on br0 of NETNS, in cgroups of its own named TAG, as nspawn's MACHINE. Becomes nspawn, whose process id
# is in DIR/nspawn.pid and which exits with 133 when the host reboots.
set -euo pipefail
netns=$1 name=$2 dir=$3 tag=$4 machine=$5
shift 5

# Trees of an earlier boot must go in all hierarchies: nspawn fails to hand over
# what is left of one. Processes end a moment after nspawn does.
for try in {1..100}; do
	left=$(find /sys/fs/cgroup -maxdepth 6 -type d -name "$tag" 2>/dev/null) || true
	[ -n "$left" ] || break
	while read -r tree; do
		find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done <<<"$left"
	sleep 0.1
done
[ -z "$left" ] || { echo "boot.sh: cgroups of an earlier boot are still in use: $left" >&2; exit 1; }

# enter CGROUP: moves this shell into a new child of CGROUP.
enter() {
	mkdir "$1/$tag"
	if [ -e "$1/$tag/cpuset.mems" ] && [ -e "$1/cgroup.clone_children" ]; then
		cat "$1/cpuset.cpus" >"$1/$tag/cpuset.cpus"
		cat "$1/cpuset.mems" >"$1/$tag/cpuset.mems"
		echo 1 >"$1/$tag/cgroup.clone_children"
	fi
	echo $$ >"$1/$tag/cgroup.procs"
}

# Without cgroups of its own in every hierarchy all hosts would share the root's,
# and their kubelets would remove each other's pods.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # v2 alone
	for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
	done
	enter /sys/fs/cgroup
else
	groups=$(cat /proc/self/cgroup) # read once: moving while reading gives nested paths
	while IFS=: read -r _ controller path; do
		[ -n "$controller" ] || continue
		parent=/sys/fs/cgroup/${controller#name=}$path
		enter "${parent%/}"
	done <<<"$groups"
	[ ! -d /sys/fs/cgroup/unified ] || enter /sys/fs/cgroup/unified
fi

# What is left of the network device of an earlier boot: see unplug.
ip -n "$netns" link del "vb-$machine" 2>/dev/null || true

echo $$ >"$dir/nspawn.pid"
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_LOCK=0
# The clock is this machine's: no host may set it. nsenter and not "ip netns exec",
# which mounts /sys anew and hides the cgroups.
exec nsenter --net="/run/netns/$netns" systemd-nspawn -D "$dir/root" --register=no --keep-unit \
	--machine="$machine" --hostname="$name" --network-bridge=br0 \
	--capability=all --drop-capability=CAP_SYS_TIME --console=pipe --resolv-conf=off --timezone=off --link-journal=no \
	--bind=/dev/kmsg --kill-signal=SIGRTMIN+3 "$@" /usr/sbin/lab-init
