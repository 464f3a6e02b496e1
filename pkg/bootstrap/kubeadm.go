package bootstrap

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"naru/manifest"
)

// Where kubeadm's input lies while it runs: on a file system of memory, gone after.
const (
	RunDir     = "/run/naru"
	KubeConfig = "/etc/kubernetes/admin.conf"
	// NaruDir holds what API servers read beside what kubeadm writes.
	NaruDir = "/etc/kubernetes/naru"
)

// KubeadmOptions are what kubeadm's configuration is made of.
type KubeadmOptions struct {
	Site *manifest.Site
	Host *manifest.SiteHost
	// Version is that of Kubernetes, without "v".
	Version string
	// Token joins hosts, "abcdef.0123456789abcdef"; for init it is made to end soon.
	Token string
	// CAHash is "sha256:<hex>" of the cluster's authority, for joins.
	CAHash string
	// ResolvConf, when set, is what pods without cluster DNS read.
	ResolvConf string
	// FixedConntrack is for hosts that may not size the connection table: kube-proxy
	// would end there.
	FixedConntrack bool
}

// InitConfig is the input of kubeadm init.
func InitConfig(o KubeadmOptions) ([]byte, error) {
	init := table{
		"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration",
		"bootstrapTokens":  []any{table{"token": o.Token, "ttl": "15m0s", "description": "first minutes of the cluster", "usages": []any{"signing", "authentication"}, "groups": []any{"system:bootstrappers:kubeadm:default-node-token"}}},
		"localAPIEndpoint": table{"advertiseAddress": o.Host.Address, "bindPort": manifest.APIPort},
		"nodeRegistration": o.registration(),
	}
	return encode(init, o.cluster(), o.kubelet(), o.kubeProxy())
}

// ClusterConfig is the part of it that kubeadm upgrade reads.
func ClusterConfig(o KubeadmOptions) ([]byte, error) {
	return encode(o.cluster(), o.kubelet(), o.kubeProxy())
}

// JoinConfig is the input of kubeadm join.
func JoinConfig(o KubeadmOptions) ([]byte, error) {
	join := table{
		"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",
		"discovery":        table{"bootstrapToken": table{"apiServerEndpoint": hostPort(o.Site.APIEndpoint()), "token": o.Token, "caCertHashes": []any{o.CAHash}}},
		"nodeRegistration": o.registration(),
	}
	if o.Host.HasRole(manifest.RoleControlPlane) {
		join["controlPlane"] = table{"localAPIEndpoint": table{"advertiseAddress": o.Host.Address, "bindPort": manifest.APIPort}}
	}
	return encode(join)
}

// hostPort spells an endpoint, addresses of IPv6 in brackets.
func hostPort(e manifest.Endpoint) string {
	if strings.Contains(e.Host, ":") {
		return fmt.Sprintf("[%s]:%d", e.Host, e.Port)
	}
	return e.String()
}

func (o KubeadmOptions) registration() table {
	taints := []any{}
	for _, t := range Taints(o.Host) {
		taints = append(taints, table{"key": t.Key, "value": t.Value, "effect": t.Effect})
	}
	r := table{
		"name": o.Host.Name, "criSocket": "unix://" + ContainerdSocket, "taints": taints, "imagePullPolicy": "IfNotPresent",
		"kubeletExtraArgs": []any{table{"name": "node-ip", "value": o.Host.Address}},
	}
	if len(o.Site.Kubernetes.IgnorePreflight) > 0 {
		r["ignorePreflightErrors"] = o.Site.Kubernetes.IgnorePreflight
	}
	return r
}

// Taint is a node's taint.
type Taint struct{ Key, Value, Effect string }

// Taints are those of a host: its own, and that of a control plane that is no worker.
func Taints(h *manifest.SiteHost) []Taint {
	var out []Taint
	if h.HasRole(manifest.RoleControlPlane) && !h.HasRole(manifest.RoleWorker) {
		out = append(out, Taint{Key: "node-role.kubernetes.io/control-plane", Effect: "NoSchedule"})
	}
	for _, t := range h.Taints {
		kv, effect, _ := strings.Cut(t, ":")
		key, value, _ := strings.Cut(kv, "=")
		out = append(out, Taint{Key: key, Value: value, Effect: effect})
	}
	return out
}

// strongCiphers are those of TLS 1.2 that give forward secrecy and authenticate what
// they encrypt; TLS 1.3 has only such.
var strongCiphers = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
}

func args(pairs ...string) []any {
	var out []any
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, table{"name": pairs[i], "value": pairs[i+1]})
	}
	return out
}

func (o KubeadmOptions) cluster() table {
	hard := o.Site.Kubernetes.Hardening
	api := []string{"profiling", "false"}
	volumes := []any{}
	if !hard.NoAudit {
		api = append(api, "audit-policy-file", NaruDir+"/audit.yaml", "audit-log-path", "/var/log/kubernetes/audit/audit.log",
			"audit-log-maxage", "30", "audit-log-maxbackup", "10", "audit-log-maxsize", "100")
		volumes = append(volumes, table{"name": "audit-log", "hostPath": "/var/log/kubernetes/audit", "mountPath": "/var/log/kubernetes/audit", "pathType": "DirectoryOrCreate"})
	}
	if !hard.NoEncryptionAtRest {
		api = append(api, "encryption-provider-config", NaruDir+"/encryption.yaml")
	}
	if !hard.NoAudit || !hard.NoEncryptionAtRest {
		volumes = append(volumes, table{"name": "naru", "hostPath": NaruDir, "mountPath": NaruDir, "readOnly": true, "pathType": "Directory"})
	}
	var etcd []string
	if !hard.NoRestrictedTLS {
		api = append(api, "tls-min-version", "VersionTLS12", "tls-cipher-suites", strings.Join(strongCiphers, ","))
		etcd = append(etcd, "cipher-suites", strings.Join(strongCiphers, ","))
	}
	c := table{
		"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration",
		"kubernetesVersion": "v" + o.Version, "clusterName": o.Site.Name, "controlPlaneEndpoint": hostPort(o.Site.APIEndpoint()),
		"networking":        table{"podSubnet": o.Site.Network.Pods, "serviceSubnet": o.Site.Network.Services, "dnsDomain": o.Site.Network.ClusterDomain},
		"apiServer":         table{"certSANs": CertNames(o.Site), "extraArgs": args(api...), "extraVolumes": volumes},
		"controllerManager": table{"extraArgs": args("profiling", "false")},
		"scheduler":         table{"extraArgs": args("profiling", "false")},
		"etcd":              table{"local": table{"dataDir": "/var/lib/etcd", "extraArgs": args(etcd...)}},
	}
	return merge(c, o.Site.Kubernetes.Kubeadm)
}

// CertNames are the names of the API server's certificate beside those of each host.
func CertNames(s *manifest.Site) []any {
	seen := map[string]bool{}
	var out []any
	add := func(n string) {
		if n != "" && !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	add(s.APIEndpoint().Host)
	add(s.Endpoint.VIP)
	add("api." + s.Domain)
	for _, h := range append(s.ControlPlanes(), s.Balancers()...) {
		add(h.Address)
		add(h.Name)
	}
	for _, n := range s.Endpoint.Names {
		add(n)
	}
	add("127.0.0.1")
	return out
}

func (o KubeadmOptions) kubelet() table {
	k := table{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"cgroupDriver": "systemd", "rotateCertificates": true, "failSwapOn": true,
		"shutdownGracePeriod": "60s", "shutdownGracePeriodCriticalPods": "20s",
		"serializeImagePulls": false, "maxParallelImagePulls": 4,
	}
	hard := o.Site.Kubernetes.Hardening
	if !hard.NoKubeletLimits {
		k["podPidsLimit"], k["eventRecordQPS"], k["seccompDefault"], k["readOnlyPort"] = 4096, 5, true, 0
	}
	if !hard.NoRestrictedTLS {
		k["tlsMinVersion"], k["tlsCipherSuites"] = "VersionTLS12", strongCiphers
	}
	if o.ResolvConf != "" {
		k["resolvConf"] = o.ResolvConf
	}
	return merge(k, o.Site.Kubernetes.Kubelet)
}

func (o KubeadmOptions) kubeProxy() table {
	p := table{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
	if o.FixedConntrack {
		p["conntrack"] = table{"maxPerCore": 0, "min": 0}
	}
	return merge(p, o.Site.Kubernetes.KubeProxy)
}

func encode(docs ...table) ([]byte, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	for _, d := range docs {
		if err := enc.Encode(d); err != nil {
			return nil, fmt.Errorf("encoding the configuration of kubeadm: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encoding the configuration of kubeadm: %w", err)
	}
	return buf.Bytes(), nil
}

var secretRE = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b|(--(?:token|certificate-key)[ =])\S+`)

// Redact takes join tokens and certificate keys out of what programs print.
func Redact(s string) string { return secretRE.ReplaceAllString(s, "${1}[secret]") }

// AuditPolicy logs who did what, never what secrets hold, and leaves out what
// only fills the disk.
const AuditPolicy = `# Written by naru.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: ["system:kube-proxy"]
    verbs: [watch]
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi*"]
  - level: None
    resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]
  - level: None
    verbs: [get, list, watch]
    userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
  - level: Metadata
    resources:
      - {group: "", resources: [secrets, configmaps, "serviceaccounts/token"]}
      - {group: authentication.k8s.io, resources: [tokenreviews]}
  - level: Metadata
    verbs: [get, list, watch]
  - level: Request
    verbs: [create, update, patch, delete, deletecollection]
  - level: Metadata
`

// EncryptionConfig encrypts secrets at rest with a key of 32 bytes, base64.
func EncryptionConfig(key string) []byte {
	return fmt.Appendf(nil, `# Written by naru. Without this key the secrets in etcd and its snapshots are lost.
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox:
          keys:
            - name: naru1
              secret: %s
      - identity: {}
`, key)
}

// KubeletUnits are the kubelet's unit and kubeadm's drop-in.
func KubeletUnits() []File {
	return []File{
		{Path: "/etc/systemd/system/kubelet.service", Mode: "0644", Content: []byte(`# Written by naru.
[Unit]
Description=kubelet, the node agent of Kubernetes
After=network-online.target containerd.service
Wants=network-online.target

[Service]
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=3

[Install]
WantedBy=multi-user.target
`)},
		{Path: "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", Mode: "0644", Content: []byte(`# Written by naru, as kubeadm expects it.
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
`)},
	}
}
