package bootstrap

import (
	"context"
	"strings"
)

// KubeadmReset undoes what kubeadm did on the host, also what it did halfway.
func (h *Host) KubeadmReset(ctx context.Context) error {
	_, err := h.Script(ctx, kubeadmResetScript)
	return err
}

const kubeadmResetScript = `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
install -d -m 0755 /run/naru
exec 9>/run/naru/kubeadm.lock
flock -w 840 9
rm -f /var/lib/naru/kubeadm.done
if command -v kubeadm >/dev/null; then
  timeout 180 kubeadm reset -f --cri-socket unix:///run/containerd/containerd.sock >/run/naru/reset.log 2>&1 9>&- || tail -n 3 /run/naru/reset.log >&2
fi
systemctl stop kubelet 2>/dev/null || true
if command -v ctr >/dev/null && [ -S /run/containerd/containerd.sock ]; then
  for c in $(ctr -n k8s.io containers ls -q 2>/dev/null); do
    ctr -n k8s.io tasks kill -s KILL "$c" 2>/dev/null || true
    ctr -n k8s.io tasks rm -f "$c" 2>/dev/null || true
    ctr -n k8s.io containers rm "$c" 2>/dev/null || true
  done
fi
while read -r _ m _; do case $m in /var/lib/kubelet/*|/run/netns/cni-*) umount -l "$m" 2>/dev/null || true;; esac; done </proc/mounts
rm -rf /etc/kubernetes/manifests /etc/kubernetes/pki /etc/kubernetes/*.conf /var/lib/etcd /var/lib/kubelet /etc/cni/net.d/* /var/lib/cni /run/flannel # containerd ends when net.d itself goes
for l in cni0 flannel.1 kube-ipvs0 nodelocaldns vxlan.calico cilium_host cilium_net cilium_vxlan; do ip link delete "$l" 2>/dev/null || true; done
for t in iptables ip6tables; do
  command -v $t-save >/dev/null && { $t-save 2>/dev/null | grep -v -e KUBE- -e CNI- -e FLANNEL- -e cali- -e CILIUM_ | $t-restore 2>/dev/null || true; }
done
exit 0`

// Reset takes everything of naru off the host but the OS packages, so that apply
// works again. What naru did not make stays: a host that is no node may run containers
// of others, and any host a haproxy of others. What the host keeps of the site's signed
// record stays too, and is returned: who ran the installer there would lose the key that
// the reports are signed with, and with the journal all that says what came in. So do
// logins of a Harbor's robots, and the keys that are revoked: what they signed would be
// believed again, with --key.
func (h *Host) Reset(ctx context.Context) (kept []string, err error) {
	node, err := h.wasNode(ctx)
	if err != nil {
		return nil, err
	}
	script := resetScript
	if node {
		if err := h.KubeadmReset(ctx); err != nil {
			return nil, err
		}
		script = nodeResetScript + resetScript
	}
	out, err := h.Script(ctx, script+keepRevokedScript+keepRecordScript, StateDir, "/etc/naru")
	return strings.Fields(out), err
}

// wasNode tells whether the host is a node by its roles, or by what naru or kubeadm left
// there while it was one.
func (h *Host) wasNode(ctx context.Context) (bool, error) {
	if h.Node() {
		return true, nil
	}
	return h.Holds(ctx, ownScript+`for f in /etc/systemd/system/kubelet.service /etc/systemd/system/containerd.service; do
  if own "$f"; then exit 0; fi
done
[ -e /var/lib/naru/kubeadm.done ]`)
}

// keepRevokedScript empties the folder $2 but for the revoked keys of its trust folder,
// and prints the path of these.
const keepRevokedScript = `
for p in "$2"/* "$2"/.[!.]* "$2"/trust/* "$2"/trust/.[!.]*; do
  case $p in "$2"/trust|"$2"/trust/revoked) ;; *) rm -rf -- "$p";; esac
done
rmdir "$2/trust/revoked" "$2/trust" "$2" 2>/dev/null || true
[ ! -e "$2/trust/revoked" ] || echo "$2/trust/revoked"
`

// keepRecordScript empties the folder $1 but for the signed record, and prints the
// paths of that. The mark goes last: a reset that was cut off finds the host its own.
const keepRecordScript = `
for p in "$1"/* "$1"/.[!.]*; do
  case ${p##*/} in
  site|journal.jsonl|reports|harbor) [ ! -e "$p" ] || echo "$p";;
  cluster) ;;
  *) rm -rf -- "$p";;
  esac
done
rm -f "$1/cluster"
rmdir "$1" 2>/dev/null || true
exit 0`

// nodeResetScript takes off what only nodes have. The units go last, by which a host that
// is no node by its roles any more is known as one.
const nodeResetScript = `for u in kubelet containerd; do
  if [ -e /etc/systemd/system/$u.service ] || systemctl cat -- $u >/dev/null 2>&1; then systemctl disable -q --now $u 2>/dev/null || true; fi
done
for d in /proc/[0-9]*; do case $(cat "$d/comm" 2>/dev/null) in containerd-shim*) kill -9 "${d#/proc/}" 2>/dev/null || true;; esac; done
while read -r _ m _; do case $m in /run/containerd/*|/var/lib/containerd/*) umount -l "$m" 2>/dev/null || true;; esac; done </proc/mounts
rm -rf /etc/kubernetes /etc/containerd /etc/crictl.yaml /run/containerd
rm -rf /var/lib/containerd/* /var/lib/containerd 2>/dev/null || true
for p in kubeadm kubelet kubectl containerd containerd-shim-runc-v2 ctr runc crictl etcdctl etcdutl; do rm -f /usr/local/bin/$p; done
rm -rf /opt/cni/bin /etc/cni /var/log/kubernetes /var/log/pods /var/log/containers
rm -rf /etc/systemd/system/kubelet.service.d
rm -f /etc/systemd/system/kubelet.service /etc/systemd/system/containerd.service
`

// resetScript takes off what any host may have. HAProxy and keepalived are naru's where
// their configuration is; what was there before naru's comes back.
const resetScript = ownScript + `if systemctl cat -- naru-depot >/dev/null 2>&1; then systemctl disable -q --now naru-depot 2>/dev/null || true; fi
rm -f /etc/systemd/system/naru-depot.service
for f in /etc/haproxy/haproxy.cfg /etc/keepalived/keepalived.conf; do
  u=${f#/etc/}; u=${u%%/*}
  rm -f "$f.new"
  own "$f" || continue
  systemctl disable -q --now "$u" 2>/dev/null || true
  if [ -e "$f` + beforeSuffix + `" ]; then mv -f "$f` + beforeSuffix + `" "$f"; else rm -f "$f"; fi
done
for f in /etc/chrony/chrony.conf /etc/chrony.conf; do
  [ -e "$f` + beforeSuffix + `" ] && own "$f" || continue
  mv -f "$f` + beforeSuffix + `" "$f"
  systemctl try-restart chrony chronyd 2>/dev/null || true
done
rm -f /etc/sysctl.d/90-naru.conf /etc/sysctl.d/05-naru.conf /etc/modules-load.d/naru.conf
rm -rf /usr/local/lib/naru
t=$(mktemp /etc/.naru.XXXXXX)
sed '` + othersHosts + `' /etc/hosts >"$t"; chmod 644 "$t"; mv -f "$t" /etc/hosts
systemctl daemon-reload
systemctl reset-failed 2>/dev/null || true
for p in /run/naru/*; do case $p in *.lock) ;; *) rm -rf -- "$p";; esac; done # locks are held while this runs
`
