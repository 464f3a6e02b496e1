package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"naru/internal/progress"
	"naru/pkg/bootstrap"
)

// podLogs are what pods printed, which may hold anything: it is collected when asked for.
const podLogs = "pods"

// LogsOptions are those of CollectLogs.
type LogsOptions struct {
	SiteFile string
	// Lines of each journal; 2000 if 0.
	Lines int
	// Pods adds the ends of what pods printed. Nobody knows what is in them.
	Pods     bool
	Progress progress.Observer
}

// collected are the files of the archive that each host gives, by the script that
// prints them. Configuration is chosen by name, so that no key or token is among it.
var collected = []struct{ name, script string }{
	{"facts", `uname -a; cat /etc/os-release; free -m; df -h; cat /proc/mounts; uptime`},
	{"network", `ip addr; ip route; ss -ltnp 2>/dev/null || cat /proc/net/tcp`},
	{"units", `systemctl --no-pager list-units --state=failed; for u in containerd kubelet haproxy keepalived naru-depot chrony chronyd; do systemctl --no-pager -l status $u 2>/dev/null || true; done`},
	{"journal", `for u in containerd kubelet haproxy keepalived naru-depot chrony chronyd; do journalctl -q --no-pager -n "$1" -u $u 2>/dev/null || true; done`},
	{"containers", `ctr=/usr/local/bin/ctr; [ -x $ctr ] && { timeout 20 $ctr -n k8s.io containers ls; timeout 20 $ctr -n k8s.io tasks ls; timeout 20 $ctr -n k8s.io images ls; } || true`},
	{podLogs, `for f in $(ls -t /var/log/pods/*/*/*.log 2>/dev/null | head -n 60); do echo "== $f"; tail -n 80 "$f"; done`},
	{"config", `for f in /etc/containerd/config.toml /etc/containerd/certs.d/_default/hosts.toml /etc/haproxy/haproxy.cfg /etc/keepalived/keepalived.conf /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env /etc/hosts /etc/resolv.conf /etc/chrony/chrony.conf; do [ -e "$f" ] && { echo "== $f"; cat "$f"; }; done; true`},
	{"kubeadm", `for f in /run/naru/kubeadm.log /run/naru/reset.log; do [ -e $f ] && { echo "== $f"; cat $f; }; done; true`},
	{"naru-runs", `[ -e /var/lib/naru/runs.jsonl ] && tail -n 500 /var/lib/naru/runs.jsonl || true`},
}

// CollectLogs writes an archive (.tar.gz) of what explains a site's state, and
// nothing secret: join tokens are cut out, and files that hold keys are not read. What
// pods printed is left out unless it is asked for.
// Hosts that cannot be reached are named in it.
func CollectLogs(ctx context.Context, w io.Writer, o LogsOptions) error {
	c, err := openSite(o.SiteFile)
	if err != nil {
		return err
	}
	defer c.Close()
	if o.Lines <= 0 {
		o.Lines = 2000
	}
	o.Progress.Start("logs", 0)
	gz := gzip.NewWriter(w)
	tw := tar.NewWriter(gz)
	var mu sync.Mutex
	add := func(name string, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		data = []byte(bootstrap.Redact(string(data)))
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Now()}); err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
		_, err := io.Copy(tw, bytes.NewReader(data))
		return err
	}
	err = c.onEach(ctx, func(ctx context.Context, _ int, h *bootstrap.Host) error { return collect(ctx, h, o, add) })
	for name, args := range map[string][]string{
		"cluster/nodes":  {"get", "nodes", "-o", "wide"},
		"cluster/pods":   {"get", "pods", "-A", "-o", "wide"},
		"cluster/events": {"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		out, kerr := c.kubectl(ctx, args...)
		if kerr != nil {
			out = shortly(kerr).Error()
		}
		err = errors.Join(err, add(name, []byte(out+"\n")))
	}
	return errors.Join(err, tw.Close(), gz.Close())
}

func collect(ctx context.Context, h *bootstrap.Host, o LogsOptions, add func(string, []byte) error) error {
	for _, f := range collected {
		if f.name == podLogs && !o.Pods {
			continue
		}
		hctx, cancel := context.WithTimeout(ctx, time.Minute)
		out, err := h.Script(hctx, "set +e\n"+f.script, fmt.Sprint(o.Lines))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			out += "\n" + shortly(err).Error()
		}
		if aerr := add(h.Name+"/"+f.name, []byte(out+"\n")); aerr != nil {
			return aerr
		}
		var unreachable *bootstrap.ConnectError
		if errors.As(err, &unreachable) {
			return nil // once is enough
		}
	}
	return nil
}
