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
// works again. What the host keeps of the site's signed record stays, and is returned:
// who ran the installer there would lose the key that the reports are signed with, and
// with the journal all that says what came in. So do logins of a Harbor's robots, and the
// keys that are revoked: what they signed would be believed again, with --key.
func (h *Host) Reset(ctx context.Context) (kept []string, err error) {
	if err := h.KubeadmReset(ctx); err != nil {
		return nil, err
	}
	out, err := h.Script(ctx, resetScript+keepRevokedScript+keepRecordScript, StateDir, "/etc/naru")
	return strings.Fields(out), err
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

const resetScript = `for u in kubelet containerd naru-depot haproxy keepalived; do
  if [ -e /etc/systemd/system/$u.service ] || systemctl cat -- $u >/dev/null 2>&1; then systemctl disable -q --now $u 2>/dev/null || true; fi
done
for d in /proc/[0-9]*; do case $(cat "$d/comm" 2>/dev/null) in containerd-shim*) kill -9 "${d#/proc/}" 2>/dev/null || true;; esac; done
while read -r _ m _; do case $m in /run/containerd/*|/var/lib/containerd/*) umount -l "$m" 2>/dev/null || true;; esac; done </proc/mounts
rm -f /etc/systemd/system/kubelet.service /etc/systemd/system/containerd.service /etc/systemd/system/naru-depot.service
rm -rf /etc/systemd/system/kubelet.service.d /etc/kubernetes /etc/containerd /etc/crictl.yaml /run/containerd
rm -rf /var/lib/containerd/* /var/lib/containerd 2>/dev/null || true
rm -f /etc/haproxy/haproxy.cfg /etc/haproxy/haproxy.cfg.new /etc/keepalived/keepalived.conf /etc/sysctl.d/90-naru.conf /etc/modules-load.d/naru.conf
for p in kubeadm kubelet kubectl containerd containerd-shim-runc-v2 ctr runc crictl etcdctl etcdutl; do rm -f /usr/local/bin/$p; done
rm -rf /opt/cni/bin /etc/cni /usr/local/lib/naru /var/log/kubernetes /var/log/pods /var/log/containers
t=$(mktemp /etc/.naru.XXXXXX)
sed '` + othersHosts + `' /etc/hosts >"$t"; chmod 644 "$t"; mv -f "$t" /etc/hosts
systemctl daemon-reload
systemctl reset-failed 2>/dev/null || true
for p in /run/naru/*; do case $p in *.lock) ;; *) rm -rf -- "$p";; esac; done # locks are held while this runs
`
