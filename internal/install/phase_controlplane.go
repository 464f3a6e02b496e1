package install

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"strings"
	"time"

	"naru/internal/phase"
	"naru/manifest"
	"naru/pkg/bootstrap"
)

// controlPlanePhase makes the first control plane with kubeadm init.
//
// INPUTS: kubeadm, kubelet and containerd on the hosts; a load balancer that passes
// on. OUTPUTS: API server, scheduler, controller manager and a stacked etcd; on
// the host a mark that kubeadm came to its end. Rerunning is safe: kubeadm runs
// under a lock that outlives the installer, so that a second run waits for a first
// one that was cut off; a host with traces and no mark is looked at: a live one gets its
// mark back, one that kubeadm left halfway is reset first, and one that may be live and
// does not answer is left alone.
//
// Certificates of the cluster go from host to host through this process, over SSH:
// there is no certificate key. Join tokens live for 15 minutes, pass through files
// of mode 0600 in memory, and are ended by the nodes phase.
func controlPlanePhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "control-plane", Title: "start the control plane", Tasks: func(c *Cluster) []phase.Task {
		keeper := c.keeper()
		return []phase.Task{{Host: keeper.Name, What: "kubeadm init", Deadline: 15 * time.Minute,
			Done: func(ctx context.Context) (bool, error) { return kubeadmDone(ctx, keeper) },
			Do:   c.initCluster}}
	}}
}

// joinPhase joins the other control planes, one at a time.
//
// INPUTS: a control plane that answers. OUTPUTS: further API servers and members of
// etcd. Rerunning is safe for the reasons of the control-plane phase; the node and
// etcd member of a join that was cut off are removed first, and etcd is snapshotted
// before it gets another member.
func joinPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "control-plane-join", Title: "join the other control planes", Serial: true, After: []string{"control-plane"},
		Skip: func(c *Cluster) string {
			if len(c.Site.ControlPlanes()) < 2 {
				return "there is one control plane"
			}
			return ""
		},
		Tasks: func(c *Cluster) []phase.Task {
			var tasks []phase.Task
			for _, h := range c.controlPlanes()[1:] {
				tasks = append(tasks, phase.Task{Host: h.Name, What: "kubeadm join as control plane", Deadline: 15 * time.Minute,
					Done: func(ctx context.Context) (bool, error) { return kubeadmDone(ctx, h) },
					Do: func(ctx context.Context) error {
						if err := c.snapshot(ctx, "before "+h.Name+" joins"); err != nil {
							return err
						}
						return c.joinHost(ctx, h)
					}})
			}
			return tasks
		}}
}

// workersPhase joins the workers, side by side, and beside other control planes.
//
// INPUTS: a control plane that answers. OUTPUTS: kubelets that are nodes. Rerunning
// is safe for the reasons of the control-plane phase.
func workersPhase() phase.Phase[*Cluster] {
	return phase.Phase[*Cluster]{Name: "workers", Title: "join the workers", After: []string{"control-plane"},
		Skip: func(c *Cluster) string {
			if len(c.Site.Workers()) == 0 {
				return "no host is a worker alone"
			}
			return ""
		},
		Tasks: func(c *Cluster) []phase.Task {
			return each(c.workers(), func(h *bootstrap.Host) []phase.Task {
				return []phase.Task{{What: "kubeadm join as worker", Deadline: 10 * time.Minute,
					Done: func(ctx context.Context) (bool, error) { return kubeadmDone(ctx, h) },
					Do:   func(ctx context.Context) error { return c.joinHost(ctx, h) }}}
			})
		}}
}

// kubeadmMark says on a host that kubeadm came to its end there.
const kubeadmMark = bootstrap.StateDir + "/kubeadm.done"

func kubeadmDone(ctx context.Context, h *bootstrap.Host) (bool, error) {
	return h.Holds(ctx, `[ -e "$1" ]`, kubeadmMark)
}

// kubeadmScript runs kubeadm with its input $1 and the words after it, alone on its
// host, and marks that it came to its end. It goes on when nobody listens any more, and
// when somebody stops an installer that runs on the host itself: a terminal's interrupt
// reaches whatever was started from it.
const kubeadmScript = `in=$1; mark=$2; shift 2
exec 9>/run/naru/kubeadm.lock
flock -w 840 9
[ -e "$mark" ] && exit 0
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap '' HUP PIPE INT
systemctl enable -q kubelet
umask 077
if ! kubeadm "$@" --config "$in" >/run/naru/kubeadm.log 2>&1 9>&-; then
  tail -c 3000 /run/naru/kubeadm.log >&2
  exit 1
fi
echo "$1" >"$mark.new"; sync "$mark.new"; mv -f "$mark.new" "$mark"; sync "${mark%/*}"; rm -f "$in"`

// kubeadm runs kubeadm on a host with an input that is secret.
func (c *Cluster) kubeadm(ctx context.Context, h *bootstrap.Host, input []byte, words ...string) error {
	const in = bootstrap.RunDir + "/kubeadm.yaml"
	if err := h.Put(ctx, bootstrap.File{Path: in, Mode: "0600", Content: input}); err != nil {
		return err
	}
	args := append([]string{in, kubeadmMark}, words...)
	_, err := h.Script(ctx, kubeadmScript, args...)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s\n%s\n%s", redacted(err), h.Journal(ctx, "kubelet"), h.Journal(ctx, "containerd"), c.containers(ctx, h))
}

// redacted is err without join tokens.
func redacted(err error) error {
	var exit *bootstrap.ExitError
	if errors.As(err, &exit) {
		exit.Output = bootstrap.Redact(exit.Output)
	}
	return err
}

// containers lists what runs on a host, for messages; it does not fail.
func (c *Cluster) containers(ctx context.Context, h *bootstrap.Host) string {
	out, err := h.Script(context.WithoutCancel(ctx), `timeout 10 /usr/local/bin/ctr -n k8s.io tasks ls 2>&1 | tail -n 30
for d in /var/log/pods/kube-system_*; do f=$(ls -t "$d"/*/*.log 2>/dev/null | head -n 1); [ -n "$f" ] && { echo "== $f"; tail -n 4 "$f"; }; done`)
	if err != nil {
		return ""
	}
	return "containers on " + h.Name + ":\n" + bootstrap.Redact(out)
}

func (c *Cluster) kubeadmOptions(h *bootstrap.Host) bootstrap.KubeadmOptions {
	o := bootstrap.KubeadmOptions{Site: c.Site, Host: h.SiteHost, Version: c.Set.Kubernetes}
	for _, n := range c.nodes() { // kube-proxy has one configuration for all
		o.FixedConntrack = o.FixedConntrack || n.Facts != nil && n.Facts.FixedConntrack
	}
	return o
}

// initCluster makes the first control plane.
func (c *Cluster) initCluster(ctx context.Context) error {
	h := c.keeper()
	if err := c.waitKubeadm(ctx, h); err != nil {
		return err
	}
	if done, err := kubeadmDone(ctx, h); err != nil || done {
		return err
	}
	if live, err := c.settle(ctx, h, false); err != nil || live {
		return err
	}
	files, err := c.apiServerFiles(ctx)
	if err != nil {
		return err
	}
	if _, err := h.Ensure(ctx, files); err != nil {
		return err
	}
	o := c.kubeadmOptions(h)
	if o.Token, err = newToken(); err != nil {
		return err
	}
	input, err := bootstrap.InitConfig(o)
	if err != nil {
		return err
	}
	return c.kubeadm(ctx, h, input, "init", "--skip-token-print")
}

// waitKubeadm waits for a kubeadm that an earlier run left behind.
func (c *Cluster) waitKubeadm(ctx context.Context, h *bootstrap.Host) error {
	_, err := h.Script(ctx, `install -d -m 0755 /run/naru; exec 9>/run/naru/kubeadm.lock; flock -w 840 9`)
	if err != nil {
		return fmt.Errorf("waiting for a kubeadm that still runs: %w", err)
	}
	return nil
}

const encryptionPath = bootstrap.NaruDir + "/encryption.yaml"

// apiServerFiles are what the API server reads beside what kubeadm writes. The key
// that secrets are encrypted with is made once.
func (c *Cluster) apiServerFiles(ctx context.Context) ([]bootstrap.File, error) {
	files := []bootstrap.File{{Path: bootstrap.NaruDir + "/audit.yaml", Mode: "0600", Content: []byte(bootstrap.AuditPolicy)}}
	if c.Site.Kubernetes.Hardening.NoEncryptionAtRest {
		return files, nil
	}
	data, err := c.keeper().ReadFile(ctx, encryptionPath)
	if errors.Is(err, fs.ErrNotExist) {
		var key [32]byte
		if _, err = rand.Read(key[:]); err == nil {
			data = bootstrap.EncryptionConfig(base64.StdEncoding.EncodeToString(key[:]))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the key that secrets are encrypted with: %w", err)
	}
	return append(files, bootstrap.File{Path: encryptionPath, Mode: "0600", Content: data}), nil
}

// clusterPKI are the files that all control planes share.
var clusterPKI = []string{"ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key"}

func (c *Cluster) sharedFiles(ctx context.Context) ([]bootstrap.File, error) {
	files, err := c.apiServerFiles(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range clusterPKI {
		p := path.Join("/etc/kubernetes/pki", name)
		data, err := c.keeper().ReadFile(ctx, p)
		if err != nil {
			return nil, err
		}
		mode := "0600"
		if strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".pub") {
			mode = "0644"
		}
		files = append(files, bootstrap.File{Path: p, Mode: mode, Content: data})
	}
	return files, nil
}

// joinHost joins a host by its roles.
func (c *Cluster) joinHost(ctx context.Context, h *bootstrap.Host) error {
	if err := c.waitKubeadm(ctx, h); err != nil {
		return err
	}
	if done, err := kubeadmDone(ctx, h); err != nil || done {
		return err
	}
	if live, err := c.settle(ctx, h, true); err != nil || live {
		return err
	}
	if h.HasRole(manifest.RoleControlPlane) {
		files, err := c.sharedFiles(ctx)
		if err != nil {
			return err
		}
		if _, err := h.Ensure(ctx, files); err != nil {
			return err
		}
	}
	o := c.kubeadmOptions(h)
	var err error
	if o.CAHash, err = c.caHash(ctx); err != nil {
		return err
	}
	if o.Token, err = c.token(ctx); err != nil {
		return err
	}
	input, err := bootstrap.JoinConfig(o)
	if err != nil {
		return err
	}
	return c.kubeadm(ctx, h, input, "join")
}

// kubeCAPath is the authority of the cluster that a node belongs to.
const kubeCAPath = "/etc/kubernetes/pki/ca.crt"

// caHash pins the cluster's authority for those who join.
func (c *Cluster) caHash(ctx context.Context) (string, error) {
	data, err := c.keeper().ReadFile(ctx, kubeCAPath)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return "", errors.New("reading the cluster's authority: it is no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("reading the cluster's authority: %w", err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// token is a join token of this run, made at first use.
func (c *Cluster) token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joinToken != "" {
		return c.joinToken, nil
	}
	out, err := c.keeper().Secret(ctx, `export KUBECONFIG=/etc/kubernetes/admin.conf; /usr/local/bin/kubeadm token create --ttl 30m0s --description "a run of naru"`)
	if err != nil {
		return "", fmt.Errorf("making a join token: %w", err)
	}
	c.joinToken = strings.TrimSpace(out)
	return c.joinToken, nil
}

// newToken makes a join token.
func newToken() (string, error) {
	id, err := randomWord(6)
	if err != nil {
		return "", err
	}
	secret, err := randomWord(16)
	return id + "." + secret, err
}

// randomWord is n characters of lower-case letters and digits.
func randomWord(n int) (string, error) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", fmt.Errorf("making a secret: %w", err)
		}
		out[i] = alphabet[k.Int64()]
	}
	return string(out), nil
}
